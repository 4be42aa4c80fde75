"""Cells: millions of sketches sorted by likeness, so that each is compared with few others.

k-means (Lloyd 1982) twice: all rows into regions, each region into cells. A query goes to its
nearest regions and to the nearest cells of each (an inverted file, as of Jégou et al. 2011,
doi:10.1109/TPAMI.2010.57). No part is larger than MOST times what it should be: one that k-means
does not part, as many frames of one camera, is cut along its longest direction.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graft.quality.near_duplicates import Floats, Ints, unit
from graft.quality.near_sketches import Sketches, blocks

# Rows a cell, and how many times as many one has at most.
CELL, MOST = 512, 4
# Parts that one k-means makes at most, rows that it learns each from, and its steps.
PARTS, LEARNED, STEPS = 256, 40, 6
# k-means has parted nothing if so much of it is still together.
TOGETHER = 0.9
ROWS = 2**15  # at a time


class Part(NamedTuple):
    """Rows that are alike, the middle of them, and whether they were cut off from others."""

    rows: Ints
    center: Floats
    cut: bool


@dataclass(frozen=True)
class Cells:
    """Rows sorted by likeness.

    `members` (N,) are the rows cell by cell, cell c those from `starts[c]` to `starts[c + 1]`, in
    order; `centers` (C, D) of length 1. `first` (R + 1,): region r has the cells from `first[r]`
    on; `regions` (R, D) are their middles. `crowded` (C,): cells cut because their rows are
    too alike to be parted.
    """

    members: Ints
    starts: Ints
    centers: Floats
    regions: Floats
    first: Ints
    crowded: NDArray[np.bool_]

    def cell(self, number: int) -> Ints:
        """The rows of a cell."""
        return self.members[self.starts[number] : self.starts[number + 1]]

    def crowd(self) -> int:
        """How many rows lie in crowded cells."""
        return int(np.diff(self.starts)[self.crowded].sum())


def cells_of(sketches: Sketches, size: int = CELL) -> Cells:
    """The cells of N > 0 sketches: about N / `size`."""
    count = len(sketches)
    # As many regions as cells a region.
    wide = max(size, int((count * size) ** 0.5))
    found, regions, first = [], [], [0]
    for region in _parted(sketches, np.arange(count), wide):
        parts = _parted(sketches, region.rows, size)
        found += [Part(part.rows, part.center, part.cut or region.cut) for part in parts]
        regions.append(region.center)
        first.append(len(found))
    return Cells(
        np.concatenate([part.rows for part in found]),
        np.cumsum([0, *(len(part.rows) for part in found)]),
        np.stack([part.center for part in found]),
        np.stack(regions),
        np.array(first),
        np.array([part.cut for part in found], bool),
    )


def _parted(sketches: Sketches, rows: Ints, size: int) -> list[Part]:
    """The rows in parts of about `size`, at most MOST times as many: each row in the part whose
    center is nearest, but where a part that is still too large was cut.
    """
    done = []
    for alike, center in _nearest_rows(sketches, rows, _all_centers(sketches, rows, size)):
        if len(alike) <= size * MOST:
            done.append(Part(alike, center, False))
            continue
        for piece in _cut(sketches, alike, size):
            sample = sketches.rough(piece[:: max(1, len(piece) // 4096)])
            done.append(Part(np.sort(piece), unit(sample.mean(0, keepdims=True))[0], True))
    return done


def _all_centers(sketches: Sketches, rows: Ints, size: int) -> Floats:
    """Centers of parts of these rows; of one that is too large for `size`, of its own parts."""
    centers = _centers(sketches, rows, min(PARTS, -(-len(rows) // size)))
    if len(rows) <= size * MOST:
        return centers
    found = []
    for alike, center in _nearest_rows(sketches, rows, centers):
        # What k-means did not part it would not part at the next try either.
        if size * MOST < len(alike) < TOGETHER * len(rows):
            found.append(_all_centers(sketches, alike, size))
        else:
            found.append(center[np.newaxis])
    return np.concatenate(found)


def _nearest_rows(sketches: Sketches, rows: Ints, centers: Floats) -> Iterator[tuple[Ints, Floats]]:
    """The rows nearest to each center that has some, in order, with the center."""
    homes = [(sketches.rough(rows[b]) @ centers.T).argmax(1) for b in blocks(len(rows), ROWS)]
    home = np.concatenate(homes)
    order = np.argsort(home, kind="stable")
    ends = np.searchsorted(home[order], np.arange(len(centers) + 1))
    for number in np.flatnonzero(np.diff(ends)):
        yield rows[order[ends[number] : ends[number + 1]]], centers[number]


def _cut(sketches: Sketches, rows: Ints, size: int) -> list[Ints]:
    """The rows in order along their longest direction, `size` at a time."""
    sample = sketches.rough(rows[:: max(1, len(rows) // 2000)])
    middle = sample.mean(0)
    direction = np.linalg.svd(sample - middle, full_matrices=False)[2][0]
    along = np.concatenate(
        [(sketches.rough(rows[b]) - middle) @ direction for b in blocks(len(rows), ROWS)]
    )
    # Rows that are equal but for rounding stay in their order, so that a burst stays together.
    order = np.argsort(np.round(along, 4), kind="stable")
    return np.split(rows[order], range(size, len(rows), size))


def _centers(sketches: Sketches, rows: Ints, count: int) -> Floats:
    sample = sketches.rough(rows[:: max(1, len(rows) // (LEARNED * count))])
    centers = sample[:: max(1, len(sample) // count)][:count].copy()
    for _ in range(STEPS):
        home = (sample @ centers.T).argmax(1)
        order = np.argsort(home, kind="stable")
        there, start = np.unique(home[order], return_index=True)
        centers[there] = unit(np.add.reduceat(sample[order], start))
    return centers
