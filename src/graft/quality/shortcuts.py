"""Whether something beside the image's content tells the classes apart, or one from the rest.

A classifier takes the easiest way: if all cats were photographed at night, darkness is a cat
(Geirhos et al. 2020, arXiv:2004.07780). So each kind of trivia gets its own model, a naive Bayes
over binned values with five-fold cross-validation; one that beats chance by far is reported.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from graft.data.fingerprint import Fingerprints
from graft.quality.appearance import TINY
from graft.quality.finding import Finding, some

FOLDS, BINS = 5, 8
# Names of a kind, such as cameras, that are told apart.
NAMES = 1000
# Scores in memory at once.
BLOCK = 2**23
# Images that a class needs to be looked at.
FEWEST = 20
# Reported if the mean recall lies this fraction of the way from chance to perfect.
FAR = 0.5
# Reported for one class if its balanced accuracy against the rest reaches this (of the classes of
# flowers, cats and dogs, and CIFAR-10 none exceeds 0.68). Of 20 images against 20 or more, chance
# reaches it less than once in three million times (Fisher's exact test): after Holm's correction
# for seven kinds of trivia and ten thousand classes still below 0.05, so none is computed.
GIVEN_AWAY = 0.9


def shortcut_findings(
    labels: NDArray[np.int64], classes: Sequence[str], fingerprints: Fingerprints
) -> list[Finding]:
    """Which trivia predict the label, for images with labels (N,) and fingerprints (N,).

    Classes of fewer than FEWEST images are left out. A kind of trivia is a finding if it tells the
    other classes apart, or one of them from the rest.
    """
    large = np.bincount(labels, minlength=len(classes)) >= FEWEST
    if large.sum() < 2:
        return []
    kept = large[labels]
    labels, fingerprints = (np.cumsum(large) - 1)[labels[kept]], fingerprints[kept]
    names = [classes[i] for i in np.flatnonzero(large).tolist()]
    findings = []
    for what, columns in _trivia(fingerprints).items():
        recall, alone = _cross_validated(columns, labels, len(names))
        mean, chance = float(recall.mean()), 1 / len(names)
        if mean - chance >= FAR * (1 - chance):
            best = names[int(recall.argmax())]
            message = (
                f"{what} alone tells the classes apart in {mean:.0%} of the cases (chance: "
                f"{chance:.0%}; best for {best!r}, {recall.max():.0%}); the classifier may learn "
                "that and fail on images without it; balance it over the classes, or test on "
                "images from elsewhere"
            )
        elif alone.max() >= GIVEN_AWAY:
            given = [names[i] for i in np.argsort(-alone) if alone[i] >= GIVEN_AWAY]
            message = (
                f"{what} alone tells {some(given)} from the other classes in "
                f"{alone.max():.0%} of the cases (balanced accuracy, chance: 50%); the classifier "
                "may learn that instead of the object and fail on images without it; take images "
                "of all classes from the same sources, or test on images from elsewhere"
            )
        else:
            continue
        findings.append(Finding("shortcut", message))
    return findings


def _trivia(fingerprints: Fingerprints) -> dict[str, list[NDArray[np.int64]]]:
    """Each kind's values in bins, (N,) each."""
    wide, high = fingerprints["width"].astype(float), fingerprints["height"].astype(float)
    numbers = {
        "the size of the image": [wide, high, wide / np.maximum(high, 1)],
        "the size of the file": [fingerprints["bytes"] / np.maximum(wide * high, 1)],
    }
    if np.median(np.minimum(wide, high)) >= TINY:  # the border of a tiny image is the image
        numbers |= {
            "the border": [*fingerprints["border"].T.astype(float), fingerprints["border_spread"]],
            "the brightness": [fingerprints["mean"].mean(1), fingerprints["spread"]],
            "the sharpness": [fingerprints["sharpness"]],
        }
    binned = {what: [_bins(column) for column in found] for what, found in numbers.items()}
    names = {"the file type": fingerprints["format"], "the camera (EXIF)": fingerprints["camera"]}
    for what, values in names.items():
        _, number, sizes = np.unique(values, return_inverse=True, return_counts=True)
        # Of many thousands of cameras those with few images are one.
        common = np.argsort(-sizes, kind="stable")[:NAMES]
        place = np.full(len(sizes), NAMES)
        place[np.sort(common)] = np.arange(len(common))
        binned[what] = [place[number]]
    return binned


def _bins(column: NDArray[np.float64]) -> NDArray[np.int64]:
    edges = np.unique(np.quantile(column, np.linspace(0, 1, BINS + 1)[1:-1]))
    return np.searchsorted(edges, column, side="right").astype(np.int64)


def _cross_validated(
    columns: Sequence[NDArray[np.int64]], labels: NDArray[np.int64], count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The recall of each class among all, and its balanced accuracy against the rest, (K,) each;
    every image is predicted by a model that has not seen it.
    """
    sizes = np.bincount(labels, minlength=count)
    fold = np.empty(len(labels), np.int64)
    order = np.argsort(labels, kind="stable")
    for number, mine in enumerate(np.split(order, np.cumsum(sizes)[:-1])):
        # Each class dealt out evenly, in a fixed random order.
        fold[np.random.default_rng(number).permutation(mine)] = np.arange(len(mine)) % FOLDS
    # Images that are equal in all columns get one score.
    sides = [int(column.max()) + 1 for column in columns]
    codes, kind = np.unique(np.ravel_multi_index(columns, sides), return_inverse=True)
    kinds = np.stack(np.unravel_index(codes, sides), 1)
    right, hits, called = np.zeros((3, count))
    for number in range(FOLDS):
        seen, asked = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        tables = [
            _log_shares(column[seen], labels[seen], count, side)
            for column, side in zip(columns, sides, strict=True)
        ]
        asked = asked[np.argsort(kind[asked], kind="stable")]
        block = max(1, BLOCK // count)
        for start in range(0, len(kinds), block):
            # Scores of classes equally likely beforehand, of a block of kinds, (b, K) each.
            values = kinds[start : start + block]
            scores, odds = np.zeros((2, len(values), count))
            for (own, rest), value in zip(tables, values.T, strict=True):
                scores += own[value]
                odds += (own - rest)[value]
            ends = np.searchsorted(kind[asked], [start, start + len(values)])
            rows = asked[slice(*ends)]
            truth, which = labels[rows], kind[rows] - start
            right += np.bincount(truth, scores.argmax(1)[which] == truth, minlength=count)
            hits += np.bincount(truth, odds[which, truth] > 0, minlength=count)
            called += np.bincount(which, minlength=len(values)) @ (odds > 0)
    false = (called - hits) / (len(labels) - sizes)
    return right / sizes, (hits / sizes + 1 - false) / 2


def _log_shares(
    column: NDArray[np.int64], labels: NDArray[np.int64], count: int, size: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The logarithm of the share that each of `size` values has of a class, and of all others,
    (V, K) each; a value may occur among other images alone.
    """
    table = np.bincount(column * count + labels, minlength=size * count).reshape(size, count)
    rest = table.sum(1, keepdims=True) - table + 1
    return np.log((table + 1) / (table + 1).sum(0)), np.log(rest / rest.sum(0))
