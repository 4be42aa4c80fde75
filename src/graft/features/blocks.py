"""Blocks of rows that fit comfortably in memory, and what is summed up over them."""

import numpy as np
import torch
from numpy.typing import NDArray

from graft.features.activations import Activations

# Numbers in a block of rows: bounds the memory that it takes.
NUMBERS_IN_ORDER = 2**21
MOST_IN_ORDER = 512


def blocks_of(count: int, shape: tuple[int, ...]) -> list[NDArray[np.int64]]:
    """Rows 0 to `count` in order, as many at once as fit comfortably, each of this shape."""
    size = int(np.clip(NUMBERS_IN_ORDER // max(1, int(np.prod(shape))), 16, MOST_IN_ORDER))
    return [np.arange(i, min(i + size, count)) for i in range(0, count, size)]


def statistics(view: Activations) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each feature, (D,) float32 each, in one pass of blocks."""
    total: NDArray[np.float64] = np.zeros(view.shape, np.float64)
    squares: NDArray[np.float64] = np.zeros(view.shape, np.float64)
    for rows in blocks_of(len(view), view.shape):
        block = view[rows].astype(np.float32)
        total += block.sum(0, dtype=np.float64)
        squares += np.square(block, dtype=np.float64).sum(0)
    mean = total / len(view)
    std = np.sqrt(np.maximum(squares / len(view) - mean**2, 0))
    return torch.from_numpy(mean).float(), torch.from_numpy(std).float()
