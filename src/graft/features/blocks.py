"""Activations read block by block, so that no more of them is in memory than a block."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from graft.features.activations import Activations

# Numbers, and rows, in a block.
BLOCK_SIZE, MOST_ROWS = 2**21, 512


def blocks_of(count: int, shape: tuple[int, ...]) -> list[NDArray[np.int64]]:
    """The numbers of `count` rows of this shape, in order, block by block."""
    size = int(np.clip(BLOCK_SIZE // max(1, int(np.prod(shape))), 16, MOST_ROWS))
    return [np.arange(i, min(i + size, count)) for i in range(0, count, size)]


def as_on_disk(
    features: Activations, size: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
    """Every row once, `size` at a time in the order in which they lie on disk: their numbers and
    values. What was read is not kept in memory.
    """
    order = features.order_on_disk()
    for first in range(0, len(order), size):
        rows = order[first : first + size]
        yield rows, features[rows]
        features.forget()


def statistics(features: Activations, on_disk: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each feature, (D,) float32 each, in one pass.

    `on_disk`: the rows are read in the order in which they lie there, and not kept in memory.
    """
    order = features.order_on_disk() if on_disk else np.arange(len(features))
    total: NDArray[np.float64] = np.zeros(features.shape, np.float64)
    squares: NDArray[np.float64] = np.zeros(features.shape, np.float64)
    for rows in blocks_of(len(features), features.shape):
        block = features[order[rows]].astype(np.float32)
        total += block.sum(0, dtype=np.float64)
        squares += np.square(block, dtype=np.float64).sum(0)
        if on_disk:
            features.forget()
    mean = total / len(features)
    std = np.sqrt(np.maximum(squares / len(features) - mean**2, 0))
    return torch.from_numpy(mean).float(), torch.from_numpy(std).float()
