"""Trials that fine-tune: the stages of `graft train` on a fold, from activations in the cache."""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from graft.data.split import Split
from graft.features.table import FeatureTable
from graft.models.halves import Suffix
from graft.models.head import Head
from graft.models.runtime import Runtime
from graft.runs.run import Run
from graft.training.defaults import DROPOUT_HIDDEN, HIDDEN
from graft.training.head_fit import features_of
from graft.training.loop import Batches, fit, logits_of
from graft.training.plan import Plan
from graft.training.recorder import Recorder
from graft.training.stages import Trained, fit_stages, stage_batches
from graft.tuning.candidate import Candidate, Members
from graft.tuning.costs import Clock
from graft.tuning.inner_folds import Fold
from graft.tuning.search_data import Encodings
from graft.tuning.trial_files import Pass, pass_name
from graft.utils.progress import Progress

Ints = NDArray[np.int64]
# A preview sees so much of the images and the epochs.
PREVIEW = 0.5
PROBE_STEPS = 3


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


def run_fine_tuning(
    one: Candidate,
    fold: int,
    encodings: Encodings,
    runtime: Runtime,
    rung: int | None = None,
) -> Pass:
    """A candidate fine-tuned on a fold, as `graft train` would, and what it says of what is held.

    With `rung` a preview: on a share of the images, in a share of the epochs.
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
    curve = [line["val_accuracy"] for line in recorder.history if line["stage"] == "fine-tune"]
    return Pass(
        pass_name(trials, fold, rung),
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
    """Logits (r, K) of a split's test images: of the head alone, or of what was fine-tuned."""
    own = replace(split, assignment=np.where(split.assignment == "test", "val", "out"))
    if trained.encoder_state is None or plan.cut is None:
        with torch.inference_mode():
            rows = torch.from_numpy(features_of(table, own.rows("val")).whole())
            return np.asarray(trained.head.cpu()(rows).float().numpy())
    suffix = Suffix(plan.backbone.build(), plan.cut, moving=plan.config.batch_norm == "train")
    suffix.encoder.body.load_state_dict(trained.encoder_state)
    model = nn.Sequential(suffix, trained.head).to(memory_format=torch.channels_last).eval()
    return logits_of(model, stage_batches(plan, table, own, 1).val(), runtime)[0]


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
    found = stage_batches(plan, encodings.table(one), split, size)
    if plan.cut is None:
        return 0.0
    suffix = Suffix(plan.backbone.build(), plan.cut)
    classes = len(split.classes)
    head = Head(plan.backbone.features, classes, HIDDEN, plan.dropout_in, DROPOUT_HIDDEN)
    model = nn.Sequential(suffix, head).to(memory_format=torch.channels_last)
    asked: list[float] = []
    seen: list[int] = []

    def train(epoch: int, start: int) -> Batches:
        for x, labels in islice(found.train(epoch, start), PROBE_STEPS + 1):
            asked.append(clock())
            seen.append(len(labels))
            yield x, labels
        asked.append(clock())

    steps = min(PROBE_STEPS + 1, -(-len(rows) // size))
    fit(model, train, steps, found.val, replace(plan.main, epochs=1), runtime)
    if len(seen) == 1:
        return (asked[1] - asked[0]) / seen[0]
    return (asked[-1] - asked[1]) / sum(seen[1:])
