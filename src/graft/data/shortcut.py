"""Whether something beside the picture's content tells the classes apart.

A classifier takes the easiest way: if all cats were photographed at night, darkness is a cat
(Geirhos et al. 2020, arXiv:2004.07780). So each kind of trivia gets a model of its own, a naive
Bayes over binned values with five-fold cross-validation; one that beats chance by far is told.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import MATTERS, Issue
from graft.data.looks import TINY
from graft.data.sketch import Sketches

FOLDS, BINS = 5, 8
# Pictures a class that are needed to say anything.
FEWEST = 20
# Told if the mean recall lies this share of the way from chance to perfect.
FAR = 0.5


def shortcut_issues(
    labels: NDArray[np.int64], classes: Sequence[str], sketches: Sketches
) -> list[Issue]:
    """Which trivia predict the label, for pictures with labels (N,) and sketches (N,)."""
    counts = np.bincount(labels, minlength=len(classes))
    if len(classes) < 2 or counts.min() < FEWEST:
        return []
    issues = []
    for what, columns in _trivia(sketches).items():
        recall = _cross_validated(columns, labels, len(classes))
        mean, chance = float(recall.mean()), 1 / len(classes)
        if mean - chance >= FAR * (1 - chance):
            best = classes[int(recall.argmax())]
            issues.append(
                Issue(
                    "shortcut",
                    MATTERS,
                    (),
                    f"{what} alone tells the classes apart in {mean:.0%} of the cases (chance: "
                    f"{chance:.0%}; best for {best!r}, {recall.max():.0%}): the classifier may "
                    "learn that and fail on pictures without it; balance it over the classes, or "
                    "test on pictures from elsewhere",
                )
            )
    return issues


def _trivia(sketches: Sketches) -> dict[str, list[NDArray[np.int64]]]:
    """Each kind's values in bins, (N,) each."""
    wide, high = sketches["width"].astype(float), sketches["height"].astype(float)
    numbers = {
        "the size of the picture": [wide, high, wide / np.maximum(high, 1)],
        "the size of the file": [sketches["bytes"] / np.maximum(wide * high, 1)],
    }
    if np.median(np.minimum(wide, high)) >= TINY:  # the border of a tiny picture is the picture
        numbers |= {
            "the border": [*sketches["border"].T.astype(float), sketches["border_spread"]],
            "the brightness": [sketches["mean"].mean(1), sketches["spread"]],
            "the sharpness": [sketches["sharpness"]],
        }
    binned = {what: [_bins(column) for column in found] for what, found in numbers.items()}
    names = {"the file type": sketches["format"], "the camera (EXIF)": sketches["camera"]}
    for what, values in names.items():
        binned[what] = [np.unique(values, return_inverse=True)[1].astype(np.int64)]
    return binned


def _bins(column: NDArray[np.float64]) -> NDArray[np.int64]:
    edges = np.unique(np.quantile(column, np.linspace(0, 1, BINS + 1)[1:-1]))
    return np.searchsorted(edges, column, side="right").astype(np.int64)


def _cross_validated(
    columns: Sequence[NDArray[np.int64]], labels: NDArray[np.int64], count: int
) -> NDArray[np.float64]:
    """The recall of each class (K,), every picture judged by a model that has not seen it."""
    fold = np.empty(len(labels), np.int64)
    for number in range(count):  # each class dealt out evenly, in a fixed random order
        mine = np.flatnonzero(labels == number)
        fold[np.random.default_rng(number).permutation(mine)] = np.arange(len(mine)) % FOLDS
    answers = np.empty(len(labels), np.int64)
    for number in range(FOLDS):
        seen, asked = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        scores = np.zeros((len(asked), count))  # of classes equally likely beforehand
        for column in columns:
            table = np.ones((int(column.max()) + 1, count))
            np.add.at(table, (column[seen], labels[seen]), 1)
            scores += np.log(table / table.sum(0))[column[asked]]
        answers[asked] = scores.argmax(1)
    right = np.bincount(labels, answers == labels, minlength=count)
    return np.asarray(right / np.bincount(labels, minlength=count))
