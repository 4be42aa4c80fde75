"""Options that commands share, and those of `graft train`: one for each setting of TrainConfig
that people change.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from graft.config import (
    BACKENDS,
    BALANCES,
    BATCH_NORMS,
    OPTIMIZERS,
    PRESETS,
    RESIZES,
    SCHEDULES,
)

if TYPE_CHECKING:
    from graft.utils.progress import Progress

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
BACKEND = click.option(
    "--backend",
    default="auto",
    type=click.Choice(BACKENDS),
    help="What runs the encoder; auto takes the fastest there is and says which.",
)

OPTIONS = [
    click.option("--model", default="mobilenetv2_100", show_default=True, help="See graft models."),
    click.option("--out", help="The run folder to make.  [default: runs/SOURCE-MODEL]"),
    click.option("--seed", default=42, show_default=True, help="Of split, weights and order."),
    click.option("--epochs", type=int, help="At most; early stopping keeps the best."),
    click.option("--views", type=int, help="Views of each training image; 1: no augmentation."),
    click.option("--flip/--no-flip", default=True, help="May views be mirrored?  [default: flip]"),
    click.option("--image-size", type=int, help="Input pixels a side."),
    click.option(
        "--resize",
        type=click.Choice(RESIZES),
        help="Show the network the middle of an image that is not square, or squash all of it "
        "into the square.  [default: as its weights were trained, mostly crop]",
    ),
    click.option(
        "--unfreeze",
        default="none",
        show_default=True,
        help="What is trained below the head: none, all, a share of the last layers (20%), or a "
        "number of last stages (2).",
    ),
    click.option("--batch-size", type=int, help="Images a step, at most."),
    click.option("--learning-rate", type=float, help="The peak of the schedule."),
    click.option("--optimizer", type=click.Choice(OPTIMIZERS)),
    click.option("--weight-decay", type=float, help="AdamW's is decoupled, SGD's is not."),
    click.option(
        "--schedule", default="one-cycle", show_default=True, type=click.Choice(SCHEDULES)
    ),
    click.option("--augment", default="standard", show_default=True, type=click.Choice(PRESETS)),
    click.option(
        "--balance",
        default="none",
        show_default=True,
        type=click.Choice(BALANCES),
        help="Let rare classes count more in the loss, or draw them more often.",
    ),
    click.option(
        "--group-by",
        help="What stays in one split (patient, video, burst): folder, a column of the table, or a "
        "regular expression on the file name, such as '^[^_]+'.",
    ),
    click.option("--time-by", help="Test on the newest images: exif, or a column of the table."),
    click.option("--folds", type=int, help="Also k-fold cross-validation."),
    click.option("--repeats", type=int, help="Also as many other splits and seeds."),
    click.option("--learning-curve", is_flag=True, help="Also: would more images help?"),
    click.option(
        "--val-fraction",
        default=0.15,
        show_default=True,
        help="The share of all images that choose the epoch and calibrate; 0.05 leaves more to "
        "learn from where there are tens of thousands.",
    ),
    click.option(
        "--batch-norm",
        default="frozen",
        show_default=True,
        type=click.Choice(BATCH_NORMS),
        help="Statistics of the trained blocks: those they came with, or each batch's.",
    ),
    click.option("--layer-decay", default=1.0, help="How much slower each earlier block learns."),
    click.option(
        "--backbone-rate", default=1.0, help="The trained blocks' rate as a share of the head's."
    ),
    click.option("--label-smoothing", default=0.1, show_default=True, help="In [0, 1)."),
    click.option("--warmup", default=0.1, show_default=True, help="Share of steps, in [0, 1)."),
    click.option("--patience", default=10, show_default=True, help="Epochs without a gain."),
    click.option("--max-grad-norm", default=5.0, show_default=True, help="Of gradients; 0: any."),
    click.option("--mixup", default=0.0, help="Alpha of mixup; 0: none."),
    click.option("--cutmix", default=0.0, help="Alpha of CutMix; 0: none."),
    click.option("--ema", type=float, help="Decay of the weights' running mean; 0: none."),
]


def train_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command all of OPTIONS, in that order."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def on_stderr_progress() -> "Progress":
    """Progress for people; imported late, as `graft --help` needs none."""
    from graft.utils.progress import on_stderr

    return on_stderr()
