"""Folds inside train and val, for all choices: the test split is in none of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graft.errors import DataError
from graft.evaluation.folds import deal

Ints = NDArray[np.int64]
FOLDS = 5


@dataclass(frozen=True)
class Fold:
    """Rows (n,) of the images that may be searched on: `train` teaches, `val` picks the epoch,
    `held` is predicted. An image is in one of the three, and those of a group are together.
    """

    train: Ints
    val: Ints
    held: Ints


def inner_folds(unit: Ints, labels: Ints, seed: int, count: int = FOLDS) -> list[Fold]:
    """Folds of images with units (n,), numbers from 0 on of what must stay together, and class
    numbers (n,). Every image is held once. With fewer units there are fewer folds.

    Val is another pile than what is held: the images that pick the epoch must not rank the trials,
    or the one that was stopped most luckily wins.

    Raises DataError for fewer than four units.
    """
    units = len(np.unique(unit))
    if units < 4:
        raise DataError(
            f"cross-validation inside train and val needs 4 groups or different images, there are "
            f"{units}; add images, or use graft train"
        )
    # A group with most of the images may have a pile for itself; the rest must still be two groups.
    for piles in range(min(count, units // 2), units + 1):
        pile, _ = deal(unit, labels, piles, seed)
        if all(len(np.unique(unit[pile != number])) > 1 for number in np.unique(pile)):
            break
    found = []
    for number in np.unique(pile):
        rest = np.where(pile == number, -1, unit)
        parts = min(2 * count - 2, len(np.unique(unit[pile != number])))
        inner, _ = deal(rest, labels, parts, seed)

        # The pile that leaves the most classes to train on.
        def left(val: int, inner: Ints = inner) -> int:
            return len(np.unique(labels[(inner >= 0) & (inner != val)]))

        val = max(np.unique(inner[inner >= 0]), key=left)
        rows = [np.flatnonzero(m) for m in ((inner >= 0) & (inner != val), inner == val)]
        found.append(Fold(rows[0], rows[1], np.flatnonzero(pile == number)))
    return found
