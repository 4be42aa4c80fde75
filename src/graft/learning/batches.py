"""Batches of cached activations."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from graft.learning.cache import Activations
from graft.learning.fit import EVALUATION_BATCH, Batches


def shuffled(
    views: Sequence[Activations], labels: NDArray[np.int64], batch: int, seed: int, epoch: int
) -> Batches:
    """An epoch of training: every picture once, each in the view whose turn it is.

    Picture i of epoch e comes in view (i + e) mod V, so that all V views are seen equally often.
    The order depends on the seed and the epoch alone. A last batch of a single picture joins the
    one before it: batch normalisation cannot learn from one.
    """
    order = np.random.default_rng([seed, epoch]).permutation(len(labels))
    stops = list(range(batch, len(order), batch))
    if stops and len(order) - stops[-1] == 1:
        stops.pop()
    for rows in np.split(order, stops):
        numbers = (rows + epoch) % len(views)
        x = np.empty((len(rows), *views[0].shape), views[0].dtype)
        for number, view in enumerate(views):
            chosen = np.flatnonzero(numbers == number)
            if len(chosen):
                x[chosen] = view[rows[chosen]]
        yield x, labels[rows]


def in_order(view: Activations, labels: NDArray[np.int64]) -> Batches:
    """Every picture once, plain view, in order."""
    for start in range(0, len(labels), EVALUATION_BATCH):
        rows = np.arange(start, min(start + EVALUATION_BATCH, len(labels)))
        yield view[rows], labels[rows]


def statistics(view: Activations) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each feature, (D,) float32 each, in one pass of blocks."""
    total = np.zeros(view.shape, np.float64)
    squares = np.zeros(view.shape, np.float64)
    for start in range(0, len(view), EVALUATION_BATCH):
        rows = np.arange(start, min(start + EVALUATION_BATCH, len(view)))
        block = view[rows].astype(np.float32)
        total += block.sum(0, dtype=np.float64)
        squares += np.square(block, dtype=np.float64).sum(0)
    mean = total / len(view)
    std = np.sqrt(np.maximum(squares / len(view) - mean**2, 0))
    return torch.from_numpy(mean).float(), torch.from_numpy(std).float()


def steps_of(count: int, batch: int) -> int:
    """The number of batches that `shuffled` makes of `count` pictures."""
    full, rest = divmod(count, batch)
    return max(1, full + (rest > 1))
