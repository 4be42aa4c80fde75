"""Near-duplicates among more images than `near_pairs` can compare: up to tens of millions.

The same variants, and the same check of each pair by alignment, as in near_duplicates.py; but a
pair is found by its sketches (near_sketches.py) in an index of cells (near_cells.py), so the work
and the memory grow with N and not with N². All is done in stages, each kept as a file in a work
folder: what was done before an interruption is not done again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from graft.data.reader import cores
from graft.quality.alignment import agreement
from graft.quality.near_cells import Cells, cells_of
from graft.quality.near_duplicates import Floats, Ints, lively, starts, strongest
from graft.quality.near_sketches import (
    REDUCED,
    WIDTH,
    Sketches,
    Thumbnails,
    blocks,
    reduced,
    sketcher,
)
from graft.utils.files import replacing
from graft.utils.progress import Progress

# Raise when other pairs would be found.
SEARCH_FORMAT = 1
# Correlation of sketches above which a pair is looked at, and of their fine detail: of 640 edited
# copies of photos 0.5 % lie below the latter, of look-alikes 70 %.
ALIKE, DETAIL = 0.7, 0.3
# Others an image, those most like it, of which fine detail is compared.
NEAREST = 8
# The regions that a variant is looked for in, and the cells of each.
REGIONS, CELLS = 3, 2
# Images whose others are looked for at once, and kept as one file; pairs that are aligned so.
SLAB, PAIRS = 2**17, 2**15
# Queries at once, and those that are compared with a cell at once.
QUERIES, ROWS = 2**16, 2**12

# A pair that may be near-duplicates: `first` looks in `variant` like the whole of `second`.
FOUND = np.dtype([("first", "<u4"), ("second", "<u4"), ("variant", "u1"), ("alike", "<f4")])
Found = NDArray[np.void]


@dataclass(frozen=True)
class NearSearch:
    """What is compared: the images at `rows` (n,) of all, their reduced thumbnails and sketches,
    and the cells of these.
    """

    rows: Ints
    small: NDArray[np.uint8]  # (n, REDUCED²)
    sketches: Sketches
    cells: Cells

    def found(self, slab: slice) -> Found:
        """The likely pairs whose first is in this slab, each with the best variant."""
        near = self._regions(slab)
        order = np.argsort(near.ravel(), kind="stable")
        ends = np.searchsorted(near.ravel()[order], np.arange(len(self.cells.regions) + 1))
        hits, waiting = np.empty(0, FOUND), []
        for region in range(len(self.cells.regions)):
            asked = order[ends[region] : ends[region + 1]]
            for queries in blocks(len(asked), QUERIES):
                variant, _, row = np.unravel_index(asked[queries], near.shape)
                waiting += self._in_region(region, variant, row + slab.start)
                if sum(map(len, waiting)) > 16 * SLAB:
                    hits, waiting = _best(np.concatenate([hits, *waiting])), []
        hits = _best(np.concatenate([hits, *waiting]))
        return hits[self._agrees(hits)]

    def _regions(self, slab: slice) -> NDArray[np.int16]:
        """The nearest regions of each variant of each image of the slab, (V, REGIONS, n)."""
        small, make = self.small[slab], self.sketches.sketcher
        count = min(REGIONS, len(self.cells.regions))
        near = np.empty((len(make.coarse), count, len(small)), np.int16)
        for block in blocks(len(small)):
            for variant in range(len(near)):
                asked = make.rough(make.variant(small[block], variant))
                near[variant, :, block] = _nearest(asked @ self.cells.regions.T, count).T
        return near

    def _in_region(self, region: int, variant: Ints, row: Ints) -> list[Found]:
        """Hits of these variants, in order, of these rows (q,) in the nearest cells of a region."""
        asked = np.empty((len(row), WIDTH), np.float32)
        for number in np.unique(variant):
            own = slice(*np.searchsorted(variant, [number, number + 1]))
            asked[own] = self.sketches.sketcher.variant(self.small[row[own]], number)
        first, last = self.cells.first[region : region + 2]
        to = self.sketches.sketcher.rough(asked) @ self.cells.centers[first:last].T
        cell = _nearest(to, min(CELLS, last - first))
        query = np.repeat(np.arange(len(row)), cell.shape[1])
        order = np.argsort(cell.ravel(), kind="stable")
        ends = np.searchsorted(cell.ravel()[order], np.arange(last - first + 1))
        hits = []
        for number in np.flatnonzero(np.diff(ends)):
            members = self.cells.cell(int(first + number))
            there = self.sketches[members].T
            mine = query[order[ends[number] : ends[number + 1]]]
            for block in blocks(len(mine), ROWS):
                q = mine[block]
                hits.append(_hits(asked[q] @ there, row[q], members, variant[q]))
        return hits

    def _agrees(self, hits: Found) -> NDArray[np.bool_]:
        """Whether the fine detail of the two of each hit has anything in common."""
        agrees = np.zeros(len(hits), bool)
        for variant in np.unique(hits["variant"]):
            own = np.flatnonzero(hits["variant"] == variant)
            for block in blocks(len(own)):
                at = own[block]
                one = self.sketches.sketcher.detail(self.small[hits["first"][at]], int(variant))
                other = self.sketches.sketcher.detail(self.small[hits["second"][at]], 0)
                agrees[at] = (one * other).sum(1) > DETAIL
        return agrees


def near_pairs_in_cells(
    gray: Thumbnails, candidates: Ints, work: Path, progress: Progress
) -> tuple[Ints, int]:
    """The pairs of near duplicates (P, 2) among the images at these positions (N,) of `gray`, and
    the number of images in crowds: so alike that they were compared with some of these only.

    Blank ones are left out. What is found is kept in the folder `work`, which the caller removes;
    where it is there from before, the search goes on.
    """
    search = _prepared(gray, candidates, work, progress)
    if search is None:
        return np.empty((0, 2), np.int64), 0
    slabs = list(blocks(len(search.rows), SLAB))
    progress.start("looking for near-duplicates", len(search.rows))
    found = []
    for number, slab in enumerate(slabs):
        found.append(_kept(work / f"found-{number:05d}.npy", partial(search.found, slab)))
        progress.advance(slab.stop)
    progress.finish()
    likely = _one_way(np.concatenate(found))
    progress.start("comparing likely pairs", len(likely))
    pairs = []
    for number, block in enumerate(blocks(len(likely), PAIRS)):
        part = likely[block]
        file = work / f"pairs-{number:05d}.npy"
        pairs.append(_kept(file, partial(_copies, gray, search.rows, part)))
        progress.advance(block.stop)
    progress.finish()
    whole = np.concatenate([np.empty((0, 2), np.int64), *pairs])
    return whole[np.lexsort(whole.T[::-1])], search.cells.crowd()


def _copies(gray: Thumbnails, rows: Ints, likely: Found) -> Ints:
    """The pairs, positions in `gray`, that alignment finds to be copies."""
    pairs = np.stack([rows[likely["first"]], rows[likely["second"]]], 1)
    variants = likely["variant"].astype(np.int64)
    some = cast("NDArray[np.uint8]", gray)  # of which it takes rows alone
    return np.sort(pairs[agreement(some, pairs, starts(variants), cores()) > 0], 1)


def _prepared(
    gray: Thumbnails, candidates: Ints, work: Path, progress: Progress
) -> NearSearch | None:
    """Thumbnails reduced, sketched and sorted into cells; None if fewer than two show anything."""
    files = [work / f"{name}.npy" for name in ("rows", "small", "sketches")]
    if not all(file.is_file() for file in files[:2]):
        _reduce(gray, candidates, files[0], files[1], progress)
    rows = np.load(files[0])
    if len(rows) < 2:
        return None
    small = np.load(files[1], mmap_mode="r")[: len(rows)]
    make = sketcher(small)
    if not files[2].is_file():
        with replacing(files[2]) as beside:
            made = np.lib.format.open_memmap(beside, "w+", np.float16, (len(rows), WIDTH))
            for block in blocks(len(rows)):
                made[block] = make.whole(small[block])
            made.flush()
    sketches = Sketches(np.load(files[2], mmap_mode="r"), make)
    stored = work / "cells.npz"
    if not stored.is_file():
        cells = cells_of(sketches)
        with replacing(stored) as beside, beside.open("wb") as stream:
            np.savez(stream, **vars(cells))
    with np.load(stored) as parts:
        cells = Cells(**{name: parts[name] for name in parts.files})
    return NearSearch(rows, small, sketches, cells)


def _reduce(
    gray: Thumbnails, candidates: Ints, rows: Path, small: Path, progress: Progress
) -> None:
    progress.start("reading thumbnails", len(candidates))
    shown, count = np.zeros(len(candidates), bool), 0
    with replacing(small) as beside:
        # No file of 0 bytes can be mapped.
        shape = (max(1, len(candidates)), REDUCED**2)
        kept = np.lib.format.open_memmap(beside, "w+", np.uint8, shape)
        for block in blocks(len(candidates)):
            read = gray[candidates[block]]
            shown[block] = lively(read)
            found = reduced(read[shown[block]])
            kept[count : count + len(found)] = found
            count += len(found)
            progress.advance(block.stop)
        kept.flush()
    _kept(rows, lambda: candidates[shown])
    progress.finish()


def _hits(alike: Floats, row: Ints, members: Ints, variant: Ints) -> Found:
    """The best member of a cell for each query (q, M), if it is good enough."""
    place = np.minimum(np.searchsorted(members, row), len(members) - 1)
    own = np.flatnonzero(members[place] == row)
    alike[own, place[own]] = -1  # each image is most like itself
    best = alike.argmax(1)
    value = alike[np.arange(len(row)), best]
    at = np.flatnonzero(value > ALIKE)
    return _found(row[at], members[best[at]], variant[at], value[at])


def _nearest(to: Floats, count: int) -> Ints:
    """The numbers of the `count` largest of each row (n, C), the largest first; `to` is used up."""
    chosen, rows = np.empty((len(to), count), np.int64), np.arange(len(to))
    for place in range(count):
        chosen[:, place] = to.argmax(1)
        to[rows, chosen[:, place]] = -2
    return chosen


def _best(hits: Found) -> Found:
    return _found(*strongest(*(hits[name] for name in FOUND.names or ()), nearest=NEAREST))


def _one_way(hits: Found) -> Found:
    """Of a pair that was found from either side the better one, in order of the pairs."""
    low, high = np.minimum(hits["first"], hits["second"]), np.maximum(hits["first"], hits["second"])
    order = np.lexsort((-hits["alike"], high, low))
    low, high = low[order], high[order]
    once = np.ones(len(order), bool)
    once[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    return hits[order[once]]


def _found(first: Ints, second: Ints, variant: Ints, alike: Floats) -> Found:
    hits = np.empty(len(first), FOUND)
    hits["first"], hits["second"], hits["variant"], hits["alike"] = first, second, variant, alike
    return hits


def _kept(file: Path, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """What is stored in a file, or is made and stored."""
    if not file.is_file():
        with replacing(file) as beside, beside.open("wb") as stream:
            np.save(stream, make())
    return np.asarray(np.load(file))
