"""Trials that are fitted as `graft train` would, on a fold: fine-tunings from activations in the
cache, heads that begin at the names of classes, networks from pixels.
"""

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from graft.data.split import Split
from graft.features.table import FeatureTable
from graft.models.adapters import add_adapters
from graft.models.halves import Suffix
from graft.models.head import Head
from graft.models.runtime import Runtime
from graft.runs.run import Run
from graft.training.batches import batch_rows, in_order, shuffled
from graft.training.defaults import DROPOUT_HIDDEN, HIDDEN
from graft.training.head_fit import features_of
from graft.training.loop import Batches, fit, logits_of
from graft.training.optim import Group
from graft.training.plan import Plan
from graft.training.recorder import Recorder
from graft.training.stages import Trained, fit_stages, stage_batches
from graft.tuning.candidate import Candidate, Members
from graft.tuning.costs import Clock
from graft.tuning.inner_folds import Fold
from graft.tuning.search_data import Encodings
from graft.tuning.trial_files import Pass, pass_name
from graft.utils.files import replacing
from graft.utils.progress import Progress

Ints = NDArray[np.int64]
# A preview sees so much of the images and the epochs.
PREVIEW = 0.5
PROBE_STEPS = 3
WEIGHTS = "weights"  # in the folder of the search: what was fine-tuned, until its winner is known


def preview(one: Candidate) -> Candidate:
    """The cheaper candidate that stands for this one: half the epochs."""
    return one.model_copy(update={"epochs": max(2, round(one.epochs * PREVIEW))})


def fold_split(split: Split, fold: Fold, share: float, seed: int) -> Split:
    """The split (n,) of a fold, what is held being test; of train a share of each class."""
    assignment = np.full(len(split.labels), "out", "<U5")
    random = np.random.default_rng(seed)
    for label in np.unique(split.labels[fold.train]):
        mine = random.permutation(fold.train[split.labels[fold.train] == label])
        assignment[mine[: max(2, round(share * len(mine)))]] = "train"
    assignment[fold.val], assignment[fold.held] = "val", "test"
    return replace(split, assignment=assignment)


def run_as_train(
    one: Candidate,
    fold: int,
    encodings: Encodings,
    runtime: Runtime,
    rung: int | None = None,
) -> Pass:
    """A candidate fitted on a fold, as `graft train` would, and what it says of what is held.

    With `rung` a preview: on a share of the images, in a share of the epochs. What a whole fold
    fine-tuned is kept for fine_tuned_average.py.
    """
    data, run_one = encodings.data, one if rung is None else preview(one)
    split = fold_split(data.split, data.folds[fold], 1.0 if rung is None else PREVIEW, fold)
    plan, table = encodings.plan(run_one), encodings.table(run_one)
    for name in ("val", "test"):
        table.complete(split.rows(name), range(1), encodings.progress)
    folder = Path(tempfile.mkdtemp(prefix="work-", dir=encodings.run.path))
    try:
        described: Mapping[str, str] = {}
        recorder = Recorder(Run(folder), Progress(), runtime, described, False)
        trained = fit_stages(plan, table, split, recorder)
        logits = held_logits(plan, trained, table, split, runtime)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    trials: tuple[Members, ...] = ((one,),)
    name = pass_name(trials, fold, rung)
    if rung is None and trained.encoder_state is not None and plan.cut is not None:
        keep_weights(encodings.run, name, trained)
    main = "fine-tune" if plan.cut is not None else "fit"
    curve = [line["val_accuracy"] for line in recorder.history if line["stage"] == main]
    return Pass(
        name,
        trials,
        split.rows("test"),
        logits[np.newaxis],
        0.0,
        0.0,
        fold,
        rung,
        [curve],
    )


def held_logits(
    plan: Plan, trained: Trained, table: FeatureTable, split: Split, runtime: Runtime
) -> NDArray[np.float32]:
    """Logits (r, K) of a split's test images: of the head alone, or of what was trained below it,
    too.
    """
    own = replace(split, assignment=np.where(split.assignment == "test", "val", "out"))
    if plan.from_pixels and trained.encoder_state is not None:
        encoder = plan.backbone.build()
        encoder.body.load_state_dict(trained.encoder_state)
        whole = nn.Sequential(encoder, trained.head).to(memory_format=torch.channels_last).eval()
        held = own.rows("val")
        return logits_of(whole, in_order(table.activations(held), own.labels[held]), runtime)[0]
    if trained.encoder_state is None or plan.cut is None:
        with torch.inference_mode():
            rows = torch.from_numpy(features_of(table, own.rows("val")).whole())
            return np.asarray(trained.head.cpu()(rows).float().numpy())
    suffix = Suffix(plan.backbone.build(), plan.cut, moving=plan.config.batch_norm == "train")
    suffix.encoder.body.load_state_dict(trained.encoder_state)
    model = nn.Sequential(suffix, trained.head).to(memory_format=torch.channels_last).eval()
    return logits_of(model, stage_batches(plan, table, own, 1).val(), runtime)[0]


def keep_weights(run: Run, name: str, trained: Trained) -> None:
    """Keep what a pass fine-tuned in the search's work folder."""
    state = {f"encoder/{k}": v for k, v in (trained.encoder_state or {}).items()}
    state |= {f"head/{k}": v for k, v in trained.head.state_dict().items()}
    with replacing(run.path / WEIGHTS / f"{name}.safetensors") as beside:
        save_file({k: v.detach().cpu().contiguous().clone() for k, v in state.items()}, beside)


def kept_weights(run: Run, name: str) -> tuple[dict[str, Tensor], dict[str, Tensor]] | None:
    """The states of body and head that a pass fine-tuned; None where there are none: what it
    fine-tuned was not better than the frozen network, or another process has them.
    """
    file = run.path / WEIGHTS / f"{name}.safetensors"
    if not file.is_file():
        return None
    found = load_file(file)
    parts = [
        {k.removeprefix(part): v for k, v in found.items() if k.startswith(part)}
        for part in ("encoder/", "head/")
    ]
    return parts[0], parts[1]


def step_seconds(one: Candidate, encodings: Encodings, runtime: Runtime, clock: Clock) -> float:
    """Seconds an image of a fine-tuning epoch, by a few steps that are thrown away: the first warms
    up, the rest are measured.
    """
    data, plan = encodings.data, encodings.plan(one)
    fold = data.folds[0]
    rows = fold.train[: plan.config.batch_size * (PROBE_STEPS + 1)]
    assignment = np.full(len(data), "out", "<U5")
    assignment[rows], assignment[fold.val[:1]] = "train", "val"
    split = replace(data.split, assignment=assignment)
    encodings.complete(one, np.flatnonzero(assignment != "out"))
    size = max(1, min(plan.config.batch_size, len(rows) // 2))
    below, given, val = _probed(plan, encodings.table(one), split, size)
    classes, hidden = len(split.classes), 0 if plan.from_pixels else HIDDEN
    head = Head(plan.backbone.features, classes, hidden, plan.dropout_in, DROPOUT_HIDDEN)
    model = nn.Sequential(below, head).to(memory_format=torch.channels_last)
    asked: list[float] = []
    seen: list[int] = []

    def train(epoch: int, start: int) -> Batches:
        for x, labels in islice(given(epoch, start), PROBE_STEPS + 1):
            asked.append(clock())
            seen.append(len(labels))
            yield x, labels
        asked.append(clock())

    steps = min(PROBE_STEPS + 1, -(-len(rows) // size))
    groups = [Group([p for p in model.parameters() if p.requires_grad])]
    once = replace(plan.main, epochs=1)
    fit(model, train, steps, val, once, runtime, groups=groups)
    if len(seen) == 1:
        return (asked[1] - asked[0]) / seen[0]
    return (asked[-1] - asked[1]) / sum(seen[1:])


def _probed(
    plan: Plan, table: FeatureTable, split: Split, size: int
) -> tuple[nn.Module, Callable[[int, int], Batches], Callable[[], Batches]]:
    """What is trained below the head, and the batches of train and of val that it is fed."""
    if plan.from_pixels:
        rows, labels = split.rows("train"), split.labels_of("train")
        pixels, val = table.activations(rows), table.activations(split.rows("val"))

        def train(epoch: int, start: int) -> Batches:
            return shuffled([pixels], labels, batch_rows(labels, size, 0, epoch)[start:], epoch)

        return plan.backbone.build(), train, lambda: in_order(val, split.labels_of("val"))
    if plan.cut is None:
        raise ValueError("a frozen network has no steps of fine-tuning")
    suffix = Suffix(plan.backbone.build(), plan.cut)
    if plan.config.unfreeze == "lora":
        add_adapters(suffix.encoder, plan.config.seed)
    found = stage_batches(plan, table, split, size)
    return suffix, found.train, found.val
