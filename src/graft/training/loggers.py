"""TensorBoard event files, beside history.jsonl."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from graft.errors import UsageError

FOLDER = "tensorboard"


@contextmanager
def tensorboard_events(run: Path) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A function that writes a line of history.jsonl as scalars to RUN/tensorboard.

    Scalars are named train/loss, val/accuracy and so on; the step is the epoch. Raises UsageError
    if tensorboardX is not installed.
    """
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise UsageError(
            "--tensorboard needs tensorboardX: pip install 'graft[tensorboard]'"
        ) from error
    # A resumed run writes its earlier epochs again.
    shutil.rmtree(run / FOLDER, ignore_errors=True)
    writer = SummaryWriter(str(run / FOLDER))

    def write(line: dict[str, Any]) -> None:
        for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy"):
            writer.add_scalar(name.replace("_", "/"), line[name], line["epoch"])
        writer.add_scalar("learning_rate", line["learning_rate"], line["epoch"])

    try:
        yield write
    finally:
        writer.close()
