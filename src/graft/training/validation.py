"""The same head fitted again on other splits of the same features: what a leak, another split or
fewer images would have made of the result. Features are computed already, so each costs seconds.
"""

import tempfile
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.config import TrainConfig
from graft.data.dataset import SPLITS
from graft.data.split import assign_splits, unit_numbers
from graft.errors import UsageError
from graft.evaluation.calibration import fit_temperature
from graft.evaluation.intervals import percentile
from graft.evaluation.learning_curve import fit_curve, next_classes, points_of, resampled
from graft.evaluation.metrics import evaluate
from graft.inference.predictor import Predictor
from graft.training.prepare import Prepared, complete
from graft.training.stage import Job
from graft.training.stages import probe
from graft.utils.progress import Progress

Splits = NDArray[np.str_]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

# Below this share of test images with a copy in train a leak cannot show.
LEAKS = 0.01
# Shares of the training split that a learning curve tries, and how often each.
SHARES, TRIES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0), (4, 4, 3, 2, 1)
# Images of a class, at least, in the smallest share.
FEWEST = 3


def refit(job: Job, splits: Splits, seed: int, views: int) -> tuple[Ints, Floats]:
    """A head fitted and calibrated on these splits (N,); its test rows (n,) and their calibrated
    probabilities (n, K).
    """
    prepared = changed(job.prepared, splits=splits)
    complete(prepared.frozen, prepared.examples, prepared.digests, splits, views, job.progress)
    with tempfile.TemporaryDirectory() as folder:
        plan = changed(job.plan, probe=changed(job.plan.probe, seed=seed), events=None)
        config = changed(job.config, seed=seed)
        other = Job(prepared, plan, config, Path(folder), Progress(), False)
        head = probe(other, views).cpu()
    if job.plan.backend is None:
        raise ValueError("a network trained from pixels has no frozen features to fit again")
    classifier = Predictor(job.backbone, head, prepared.classes, job.plan.backend)
    val, test = (prepared.features(split).whole() for split in ("val", "test"))
    classifier.temperature = fit_temperature(classifier.logits(val), other.labels("val"))
    return prepared.rows("test"), classifier.probabilities(test)


def _score(job: Job, rows: Ints, probabilities: Floats) -> dict[str, Any]:
    prepared = job.prepared
    found = evaluate(
        probabilities, prepared.labels[rows], prepared.classes, groups=prepared.groups(rows)
    )
    return {
        "accuracy": found["accuracy"],
        "macro_f1": found["macro_f1"],
        "macro_f1_interval": found["intervals"]["macro_f1"],
        "ece": found["ece"],
        "n": found["n"],
        "per_class": {name: row["recall"] for name, row in found["per_class"].items()},
    }


def leaky(job: Job) -> dict[str, Any] | None:
    """What a split that ignores near duplicates would have shown; None where there are none, or
    the splits were given. `accuracy` is None where fewer than LEAKS of its test images have a
    copy in train: too few to show.
    """
    prepared = job.prepared
    given = any(example.split for example in prepared.examples)
    if not prepared.near or given or job.config.time_by is not None:
        return None
    splits, _ = assign_splits(
        prepared.examples, prepared.digests, job.config.seed, val_fraction=job.config.val_fraction
    )
    if set(splits) != set(SPLITS):
        return None
    seen = sum(
        splits[i] == "test"
        for cluster in prepared.near
        if {splits[i] for i in cluster} >= {"train", "test"}
        for i in cluster
    )
    found: dict[str, Any] = {
        "near": sum(map(len, prepared.near)),
        "test_seen": int(seen),
        "n": int((splits == "test").sum()),
        "accuracy": None,
    }
    if seen < LEAKS * found["n"]:
        return found
    rows, probabilities = refit(job, splits, job.config.seed, prepared.frozen.views)
    return found | _score(job, rows, probabilities)


def check_feasible(prepared: Prepared, config: TrainConfig) -> None:
    """Raise UsageError where these images allow no `config.folds` or `config.repeats`: known
    before anything is trained.
    """
    if config.folds:
        _fold_splits(prepared, config, config.folds)
    if config.repeats:
        _repeat_splits(prepared, config, config.repeats)


def folds(job: Job, count: int) -> dict[str, Any]:
    """k-fold cross-validation: every usable image is in test once, but for those of a given test
    split, which are left out (`left_out` says how many), for they must not be trained on.

    Images that belong together stay in one fold, and classes are as even as that allows. Raises
    UsageError as `check_feasible`.
    """
    prepared, config = job.prepared, job.config
    probabilities = np.zeros((len(prepared.labels), len(prepared.classes)))
    tested, each = np.zeros(len(prepared.labels), bool), []
    for number, splits in enumerate(_fold_splits(prepared, config, count), 1):
        rows, found = refit(job, splits, config.seed, prepared.frozen.views)
        probabilities[rows], tested[rows] = found, True
        each.append(float((found.argmax(1) == prepared.labels[rows]).mean()))
        job.progress.say(f"fold {number} of {count}: {each[-1]:.1%}")
    rows = np.flatnonzero(tested)
    left_out = len(tested) - len(rows)
    return _score(job, rows, probabilities[rows]) | {
        "folds": count,
        "each": each,
        "left_out": left_out,
    }


def _fold_splits(prepared: Prepared, config: TrainConfig, count: int) -> list[Splits]:
    """The splits (N,) of each fold: one of `count` piles of units is test, a half as many of the
    others val, or one unit where they are few, and the rest, 70 % for five folds, train.
    """
    if config.time_by is not None:
        raise UsageError(
            "--folds trains on images newer than those it tests, against --time-by; leave one out"
        )
    given = prepared.splits == "test"
    if not any(example.split == "test" for example in prepared.examples):
        given[:] = False
    unit = np.where(given, -1, _units(prepared))
    test, there = _dealt(unit, prepared.labels, count, config.seed)
    found = []
    for number in range(count):
        rest = np.where(test == number, -1, unit)
        pile, others = _dealt(rest, prepared.labels, 2 * count - 2, config.seed)
        if there < count or others < 2:
            raise UsageError(
                f"--folds {count} needs more groups or different images than the {there} that "
                "are there; ask for fewer folds, or add some"
            )

        # The pile that leaves the most classes to train on.
        def left(val: int, pile: Ints = pile) -> int:
            return len(np.unique(prepared.labels[(pile >= 0) & (pile != val)]))

        val = max(np.unique(pile[pile >= 0]).tolist(), key=left)
        splits = np.full(len(unit), "train", "<U5")
        splits[given] = "out"
        splits[test == number] = "test"
        splits[pile == val] = "val"
        found.append(splits)
    return found


def _units(prepared: Prepared) -> Ints:
    """The number (N,) of what each image belongs to: groups, equal files, near duplicates."""
    return unit_numbers(prepared.examples, prepared.digests, prepared.near)


def _dealt(unit: Ints, labels: Ints, piles: int, seed: int) -> tuple[Ints, int]:
    """Units dealt into piles, the large ones first, each where its classes are rarest: the pile
    (N,) of each image, -1 for an image of unit -1, and the number of units. No pile is empty
    if there are as many units.

    scikit-learn's StratifiedGroupKFold refuses classes of fewer images than piles.
    """
    order = np.argsort(unit, kind="stable")
    names, starts = np.unique(unit[order], return_index=True)
    members = np.split(order, starts[1:])
    members = members[1:] if names[0] < 0 else members
    total = np.bincount(labels, minlength=int(labels.max()) + 1)
    held, pile = np.zeros((piles, len(total))), np.full(len(unit), -1)
    shuffled = np.random.default_rng(seed).permutation(len(members))
    for i in sorted(shuffled, key=lambda i: -len(members[i])):
        own, counts = np.unique(labels[members[i]], return_counts=True)
        crowd = (held[:, own] * (counts / total[own] ** 2)).sum(1)
        chosen = np.lexsort((held.sum(1), crowd))[0]
        held[chosen, own] += counts
        pile[members[i]] = chosen
    return pile, len(members)


def repeats(job: Job, count: int) -> dict[str, Any]:
    """The accuracy with the `count` seeds that follow, on the test splits of the splits that they
    make; or, `what` being "seeds" and not "splits", on the same test split, where the source gives
    it or time makes it.

    `mean` is that of `each`, `low` and `high` its 95 % interval by a Bayesian bootstrap over the
    units that were tested; `n` the number of images tested by each. Raises UsageError as
    `check_feasible`.
    """
    prepared = job.prepared
    every = _repeat_splits(prepared, job.config, count)
    right = np.full((count, len(prepared.labels)), np.nan)
    each = []
    for number, splits in enumerate(every):
        seed = job.config.seed + number + 1
        rows, found = refit(job, splits, seed, prepared.frozen.views)
        right[number, rows] = found.argmax(1) == prepared.labels[rows]
        each.append(float(right[number, rows].mean()))
        job.progress.say(f"repeat {number + 1} of {count}, seed {seed}: {each[-1]:.1%}")
    mean = float(np.mean(each))
    low, high = percentile(resampled(right, _units(prepared)).mean(1))
    same = all(np.array_equal(splits == "test", prepared.splits == "test") for splits in every)
    return {
        "what": "seeds" if same else "splits",
        "each": each,
        "n": [int((splits == "test").sum()) for splits in every],
        "mean": mean,
        "low": min(low, mean),
        "high": max(high, mean),
        "method": "Bayesian bootstrap over the images tested, or their groups, 95 %",
        "standard_deviation": float(np.std(each, ddof=1)) if count > 1 else None,
    }


def _repeat_splits(prepared: Prepared, config: TrainConfig, count: int) -> list[Splits]:
    """The splits (N,) of each repeat; those of the run where time made them."""
    if config.time_by is not None:
        return [prepared.splits] * count
    found = []
    for seed in range(config.seed + 1, config.seed + count + 1):
        splits, _ = assign_splits(
            prepared.examples, prepared.digests, seed, prepared.near, config.val_fraction
        )
        if lacking := [split for split in SPLITS if split not in splits]:
            raise UsageError(
                f"--repeats {count}: the split of seed {seed} leaves {' and '.join(lacking)} "
                "empty; there are too few groups or different images, try --folds"
            )
        found.append(splits)
    return found


def learning_curve(job: Job) -> dict[str, Any]:
    """Accuracy on test against the number of training images, and what twice as many would give.

    Nested random subsets of each class, each fitted anew on one view.
    """
    prepared, config = job.prepared, job.config
    train, test = prepared.rows("train"), prepared.rows("test")
    labels = prepared.labels[test]
    unit = np.unique(_units(prepared)[test], return_inverse=True)[1]
    sizes, right = [], []
    for share, tries in zip(SHARES, TRIES, strict=True):
        for number in range(tries):
            kept = _subset(prepared.labels[train], share, config.seed + number)
            splits = prepared.splits.copy()
            splits[train] = "out"
            splits[train[kept]] = "train"
            found = refit(job, splits, config.seed + number, 1)[1]
            sizes.append(len(kept))
            right.append((found.argmax(1) == labels).astype(np.float64))
        job.progress.say(f"{len(kept):,} training images: {right[-1].mean():.1%}")
    fits = np.array(right)
    return {
        "points": points_of(sizes, fits, labels, unit, prepared.classes),
        "n": len(test),
        **fit_curve(np.array(sizes, np.float64), fits, unit),
        "next": next_classes(np.array(sizes), fits, labels, unit, prepared.classes),
    }


def _subset(labels: Ints, share: float, seed: int) -> Ints:
    random = np.random.default_rng(seed)
    kept = []
    for label in np.unique(labels):
        mine = random.permutation(np.flatnonzero(labels == label))
        kept.append(mine[: max(FEWEST, round(share * len(mine)))])
    return np.sort(np.concatenate(kept))
