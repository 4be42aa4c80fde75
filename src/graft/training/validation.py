"""`graft validate`: what another split, another seed, fewer images or a leak would have made of a
run's result. Features are computed already, so each fit costs seconds.
"""

from typing import Any

import numpy as np

from graft.data.dataset import SPLITS
from graft.data.groups import group_ids, members_of, numbered
from graft.data.split import assign_splits
from graft.errors import UsageError
from graft.evaluation.folds import deal
from graft.evaluation.intervals import percentile
from graft.evaluation.learning_curve import fit_curve, next_classes, points_of, resampled
from graft.runs.run import Run
from graft.training.refit import Assignment, Ints, Refit, load_refit
from graft.utils.cache_folder import cache_in_use
from graft.utils.progress import Progress

# Below this share of test images with a copy in train a leak cannot show.
LEAKS = 0.01
# Shares of the training split that a learning curve tries, and how often each.
SHARES, TRIES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0), (4, 4, 3, 2, 1)
# Images of a class, at least, in the smallest share.
FEWEST = 3


@cache_in_use()
def validate(
    run: Run,
    progress: Progress,
    folds: int | None = None,
    repeats: int | None = None,
    learning_curve: bool = False,
) -> dict[str, Any]:
    """Cross-validation in `folds`, `repeats` with other splits and seeds, a learning curve, and
    what a split that ignores near-duplicates would have shown; kept in the run.

    Raises UsageError for what these images do not allow, before anything is fitted, and as
    `load_refit`.
    """
    refit = load_refit(run, progress)
    if folds:
        fold_splits(refit, folds)
    if repeats:
        repeat_splits(refit, repeats)
    found: dict[str, Any] = dict(run.validation)
    if (leak := leaky_split(refit)) is not None:
        found["leaky_split"] = leak
    if folds:
        found["folds"] = cross_validate(refit, folds)
    if repeats:
        found["repeats"] = repeat(refit, repeats)
    if learning_curve:
        found["learning_curve"] = fit_learning_curve(refit)
    run.write_validation(found)
    return found


def leaky_split(refit: Refit) -> dict[str, Any] | None:
    """What a split that ignores near-duplicates would have shown; None where there are none, or
    the splits were given. `accuracy` is None where fewer than LEAKS of its test images have a
    copy in train: too few to show.
    """
    examples, ids = refit.table.dataset.examples, refit.split.group_ids
    alone = group_ids(examples, [refit.table.digest(i) for i in range(len(examples))])
    clusters = [rows for rows in members_of(ids).values() if len({alone[i] for i in rows}) > 1]
    given = any(example.split for example in examples)
    if not clusters or given or refit.config.time_by is not None:
        return None
    seed = refit.config.seed
    splits, _ = assign_splits(examples, alone, seed, refit.config.val_fraction)
    if set(splits) != set(SPLITS):
        return None
    seen = sum(
        splits[i] == "test"
        for cluster in clusters
        if {splits[i] for i in cluster} >= {"train", "test"}
        for i in cluster
    )
    found: dict[str, Any] = {
        "near": sum(map(len, clusters)),
        "test_seen": int(seen),
        "n": int((splits == "test").sum()),
        "accuracy": None,
    }
    if seen < LEAKS * found["n"]:
        return found
    return found | refit.score(*refit.test(splits, seed))


def cross_validate(refit: Refit, count: int) -> dict[str, Any]:
    """k-fold cross-validation: every usable image is in test once, but for those of a given test
    split, which are left out (`left_out` says how many), for they must not be trained on.

    Images that belong together stay in one fold, and classes are as even as that allows. Raises
    UsageError as `fold_splits`.
    """
    split = refit.split
    probabilities = np.zeros((len(split.labels), len(split.classes)))
    tested, each = np.zeros(len(split.labels), bool), []
    for number, splits in enumerate(fold_splits(refit, count), 1):
        rows, found = refit.test(splits, refit.config.seed)
        probabilities[rows], tested[rows] = found, True
        each.append(float((found.argmax(1) == split.labels[rows]).mean()))
        refit.progress.say(f"fold {number} of {count}: {each[-1]:.1%}")
    rows = np.flatnonzero(tested)
    left_out = len(tested) - len(rows)
    return refit.score(rows, probabilities[rows]) | {
        "folds": count,
        "each": each,
        "left_out": left_out,
    }


def fold_splits(refit: Refit, count: int) -> list[Assignment]:
    """The splits (N,) of each fold: one of `count` piles of units is test, a half as many of the
    others val, or one unit where they are few, and the rest, 70 % for five folds, train.
    """
    if refit.config.time_by is not None:
        raise UsageError(
            "--folds trains on images newer than those it tests, against --time-by; leave one out"
        )
    split = refit.split
    given = split.assignment == "test"
    if not any(example.split == "test" for example in refit.table.dataset.examples):
        given[:] = False
    unit = np.where(given, -1, numbered(split.group_ids))
    test, there = deal(unit, split.labels, count, refit.config.seed)
    found = []
    for number in range(count):
        rest = np.where(test == number, -1, unit)
        pile, others = deal(rest, split.labels, 2 * count - 2, refit.config.seed)
        if there < count or others < 2:
            raise UsageError(
                f"--folds {count} needs more groups or different images than the {there} that "
                "are there; ask for fewer folds, or add some"
            )

        # The pile that leaves the most classes to train on.
        def left(val: int, pile: Ints = pile) -> int:
            return len(np.unique(split.labels[(pile >= 0) & (pile != val)]))

        val = max(np.unique(pile[pile >= 0]).tolist(), key=left)
        splits = np.full(len(unit), "train", "<U5")
        splits[given] = "out"
        splits[test == number] = "test"
        splits[pile == val] = "val"
        found.append(splits)
    return found


def repeat(refit: Refit, count: int) -> dict[str, Any]:
    """The accuracy with the `count` seeds that follow, on the test splits of the splits that they
    make; or, `what` being "seeds" and not "splits", on the same test split, where the source gives
    it or time makes it.

    `mean` is that of `each`, `low` and `high` its 95 % interval by a Bayesian bootstrap over the
    units that were tested; `n` the number of images tested by each. Raises UsageError as
    `repeat_splits`.
    """
    split = refit.split
    every = repeat_splits(refit, count)
    right = np.full((count, len(split.labels)), np.nan)
    each = []
    for number, splits in enumerate(every):
        seed = refit.config.seed + number + 1
        rows, found = refit.test(splits, seed)
        right[number, rows] = found.argmax(1) == split.labels[rows]
        each.append(float(right[number, rows].mean()))
        refit.progress.say(f"repeat {number + 1} of {count}, seed {seed}: {each[-1]:.1%}")
    mean = float(np.mean(each))
    low, high = percentile(resampled(right, numbered(split.group_ids)).mean(1))
    same = all(np.array_equal(splits == "test", split.assignment == "test") for splits in every)
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


def repeat_splits(refit: Refit, count: int) -> list[Assignment]:
    """The splits (N,) of each repeat; those of the run where time made them."""
    split = refit.split
    if refit.config.time_by is not None:
        return [split.assignment] * count
    found = []
    for seed in range(refit.config.seed + 1, refit.config.seed + count + 1):
        splits, _ = assign_splits(
            refit.table.dataset.examples, split.group_ids, seed, refit.config.val_fraction
        )
        if lacking := [name for name in SPLITS if name not in splits]:
            raise UsageError(
                f"--repeats {count}: the split of seed {seed} leaves {' and '.join(lacking)} "
                "empty; there are too few groups or different images, try --folds"
            )
        found.append(splits)
    return found


def fit_learning_curve(refit: Refit) -> dict[str, Any]:
    """Accuracy on test against the number of training images, and what twice as many would give.

    Nested random subsets of each class, each fitted anew on one view.
    """
    split = refit.split
    train, test = split.rows("train"), split.rows("test")
    labels = split.labels[test]
    unit = np.unique(numbered(split.group_ids)[test], return_inverse=True)[1]
    sizes, right = [], []
    for share, tries in zip(SHARES, TRIES, strict=True):
        for number in range(tries):
            kept = _subset(split.labels[train], share, refit.config.seed + number)
            splits = split.assignment.copy()
            splits[train] = "out"
            splits[train[kept]] = "train"
            found = refit.test(splits, refit.config.seed + number, 1)[1]
            sizes.append(len(kept))
            right.append((found.argmax(1) == labels).astype(np.float64))
        refit.progress.say(f"{len(kept):,} training images: {right[-1].mean():.1%}")
    fits = np.array(right)
    return {
        "points": points_of(sizes, fits, labels, unit, split.classes),
        "n": len(test),
        **fit_curve(np.array(sizes, np.float64), fits, unit),
        "next": next_classes(np.array(sizes), fits, labels, unit, split.classes),
    }


def _subset(labels: Ints, share: float, seed: int) -> Ints:
    random = np.random.default_rng(seed)
    kept = []
    for label in np.unique(labels):
        mine = random.permutation(np.flatnonzero(labels == label))
        kept.append(mine[: max(FEWEST, round(share * len(mine)))])
    return np.sort(np.concatenate(kept))
