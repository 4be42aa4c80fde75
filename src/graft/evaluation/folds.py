"""Dealing images into folds that keep groups together and classes even."""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def deal(unit: Ints, labels: Ints, piles: int, seed: int) -> tuple[Ints, int]:
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
