"""Sketches: what an index of millions of thumbnails needs of each, in 256 + 126 bytes.

A thumbnail's means of 16 × 16 blocks, and of these, blurred to 8 × 8, the cosine transform without
its constant. In photos the coarsest few of these 63 numbers vary most: of 40,000 photos 1,600 have
one with a correlation above 0.75 with any given photo's variants. Divided by their usual size to
the power EVEN (partial whitening), 15 do, and an edited copy stays as near as it was.

Every variant in which an image is looked for (near_duplicates.py) is linear in the luminance, so
it is one matrix.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from graft.data.fingerprint import SIDE
from graft.quality.near_duplicates import BLUR, Floats, Ints, all_variants, unit

REDUCED = 16  # pixels a side of what is kept of a thumbnail
EVEN = 0.75
WIDTH = BLUR * BLUR - 1  # numbers a sketch
# Thumbnails whose sketches say how large each number usually is.
SAMPLE = 20_000
# The finer numbers of the 16 × 16 transform: waves from the first of these on in either direction,
# before the second.
FINE = (6, 12)
ROWS = 4096  # thumbnails at a time


class Thumbnails(Protocol):
    """Thumbnails (N, SIDE, SIDE) uint8, of which some rows at a time are in memory."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Ints, /) -> NDArray[np.uint8]: ...


def blocks(count: int, size: int = ROWS) -> Iterator[slice]:
    """The numbers from 0 to `count` in slices of `size`."""
    return (slice(i, min(i + size, count)) for i in range(0, count, size))


def reduced(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Thumbnails (n, SIDE, SIDE) as means of blocks, (n, REDUCED²)."""
    by = SIDE // REDUCED
    shape = (len(gray), REDUCED, by, REDUCED, by)
    means: Floats = gray.reshape(shape).mean((2, 4), dtype=np.float32)
    return np.rint(means).astype(np.uint8).reshape(len(gray), REDUCED**2)


@dataclass(frozen=True)
class Sketcher:
    """The matrices that make sketches of reduced thumbnails.

    `coarse` (V, REDUCED², WIDTH): the sketch in each variant. `fine` (V, REDUCED², F): finer
    detail, which look-alikes do not share. `uneven` (WIDTH,) undoes the whitening.
    """

    coarse: Floats
    fine: Floats
    uneven: Floats

    def rough(self, sketches: Floats) -> Floats:
        """Sketches (n, WIDTH) without the whitening, of length 1."""
        return unit(sketches * self.uneven)

    def whole(self, small: NDArray[np.uint8]) -> Floats:
        """The sketches (n, WIDTH), of length 1, of reduced thumbnails as they are."""
        return self.variant(small, 0)

    def variant(self, small: NDArray[np.uint8], number: int) -> Floats:
        """The same in one variant."""
        return unit(small.astype(np.float32) @ self.coarse[number])

    def detail(self, small: NDArray[np.uint8], number: int) -> Floats:
        """Fine detail (n, F), of length 1, in one variant."""
        return unit(small.astype(np.float32) @ self.fine[number])


def sketcher(small: NDArray[np.uint8]) -> Sketcher:
    """The matrices for reduced thumbnails like these, (N, REDUCED²), of which a sample is used."""
    sample = small[:: max(1, len(small) // SAMPLE)].astype(np.float32)
    coarse, fine = _waves(BLUR, 0, BLUR), _waves(REDUCED, *FINE)
    usual = _usual(unit(sample @ coarse[0]), *_band(BLUR, 0, BLUR))
    rough = _usual(sample @ fine[0], *_band(REDUCED, *FINE))
    uneven = (usual + 1e-2) ** EVEN
    return Sketcher(coarse / uneven, fine / (rough + 1), uneven)


@cache
def _waves(side: int, first: int, end: int) -> Floats:
    """What makes waves (V, REDUCED², F) of a band, in each variant, of reduced thumbnails."""
    # Single blocks of light: what becomes of these is what becomes of all.
    by = SIDE // REDUCED
    lit = np.eye(REDUCED**2, dtype=np.uint8).reshape(-1, REDUCED, REDUCED)
    lit = np.kron(lit, np.ones((by, by), np.uint8))
    at = (np.arange(side) + 0.5) / side
    one = np.cos(np.pi * np.outer(np.arange(side), at)) * (2 / side) ** 0.5
    one[0] /= 2**0.5  # the orthonormal cosine transform (DCT-II)
    across, along = _band(side, first, end)
    waves = np.kron(one, one).T[:, across * side + along].astype(np.float32)
    return all_variants(lit, side) @ waves


def _band(side: int, first: int, end: int) -> tuple[Ints, Ints]:
    """How often each wave from `first` to before `end` goes up and down, across and along."""
    across, along = np.indices((side, side)).reshape(2, -1)
    finest = np.maximum(across, along)
    chosen = (finest >= max(first, 1)) & (finest < end)
    return across[chosen], along[chosen]


def _usual(found: Floats, across: Ints, along: Ints) -> Floats:
    """How large each of the waves (n, F) usually is, the same across as along."""
    side = int(across.max()) + 1
    square = np.zeros((side, side), np.float32)
    square[across, along] = np.square(found).mean(0)
    return np.sqrt((square + square.T)[across, along] / 2)


@dataclass(frozen=True)
class Sketches:
    """The sketches `stored` (N, WIDTH), on disk, of which some are in memory at a time."""

    stored: NDArray[np.float16]
    sketcher: Sketcher

    def __len__(self) -> int:
        return len(self.stored)

    def __getitem__(self, rows: Ints) -> Floats:
        return self.stored[rows].astype(np.float32)

    def rough(self, rows: Ints) -> Floats:
        """These rows' sketches without the whitening."""
        return self.sketcher.rough(self[rows])
