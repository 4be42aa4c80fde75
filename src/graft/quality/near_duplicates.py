"""Near duplicates: images resized, recompressed, cropped, mirrored, turned or brightened.

First `candidates`: each image's blurred thumbnail, in eight orientations and, upright or
mirrored, in nine crops of 85 %, and rotated by a few degrees with black corners, is compared with
the whole thumbnails of the others; the nearest few are kept. Then `agreement`: an affine map from
one thumbnail to the other is fitted (Lucas & Kanade 1981, by Gauss-Newton on intensities of equal
mean and spread, outliers weighted down), from coarse to fine, and the fine detail of the two must
agree under it: flowers in the middle of a meadow look alike when blurred, but no two share the
detail.

Comparing is done within cells of similar thumbnails, so the work grows with N and not with N².
"""

import numpy as np
from numpy.typing import NDArray

from graft.data.fingerprint import SIDE, Fingerprints
from graft.data.reader import cores
from graft.quality.alignment import Maps, agreement

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

# Raise when other pairs would be found.
NEAR_FORMAT = 4
BLUR = 8  # pixels a side of a blurred thumbnail
CROP = 0.85
# Degrees, counter-clockwise, by which an image is rotated to look for a copy rotated by about as
# much. A quarter of the blocks of such a copy hold some of its black corners, which leaves its
# correlation with the image as it was about ALIKE, on either side. With black corners of its own
# the image is far above, and the fit starts near its end.
ROTATED = (-7, 7)
# Correlation of blurred thumbnails above which a pair is looked at, and how many an image.
ALIKE, NEAREST = 0.75, 2
# Images a cell of similar ones, and the cells that an image is looked for in.
CELL, CELLS = 512, 3
BLOCK = 256
# Below this spread of luminance (0..255) there is nothing to compare: such images are blank.
FLAT = 4.0
# Smaller images have too little detail to tell copies from look-alikes, and come by the ten
# thousands: CIFAR-10 would take a minute.
LEAST_SIDE = 48


def near_pairs(fingerprints: Fingerprints) -> Ints:
    """The pairs of near duplicates among images with these fingerprints (N,): positions (P, 2).

    Blank images, and those of fewer than LEAST_SIDE pixels a side, are left out: digits of eight
    pixels a side are alike without being copies.
    """
    among = np.flatnonzero(np.minimum(fingerprints["width"], fingerprints["height"]) >= LEAST_SIDE)
    if len(among) < 2:
        return np.empty((0, 2), np.int64)
    gray = np.ascontiguousarray(fingerprints["gray"])
    # In blocks, here and below: NumPy would make numbers of eight bytes out of all at once.
    blocks = (among[i : i + BLOCK] for i in range(0, len(among), BLOCK))
    among = among[np.concatenate([lively(gray[block]) for block in blocks])]
    if len(among) < 2:
        return np.empty((0, 2), np.int64)
    pairs, variants = candidates(gray, among)
    kept = agreement(gray, pairs, starts(variants), cores()) > 0
    pairs = np.sort(pairs[kept], 1)
    return pairs[np.lexsort(pairs.T[::-1])]


def clusters(pairs: Ints, count: int) -> list[list[int]]:
    """The connected groups of two or more of `count` images, each in order."""
    low, high = pairs.T
    least = np.arange(count)  # the least image that each is known to be connected with
    while (least[low] != least[high]).any():
        both = np.minimum(least[low], least[high])
        for ends in (least[low], least[high]):
            np.minimum.at(least, ends, both)
        while (least[least] != least).any():
            least = least[least]
    alone = np.ones(count, bool)
    alone[pairs.ravel()] = False
    members = np.flatnonzero(~alone)
    members = members[np.argsort(least[members], kind="stable")]
    starts = np.flatnonzero(np.diff(least[members])) + 1
    return [group.tolist() for group in np.split(members, starts) if len(group)]


# An orientation takes (y, x), measured from the middle, to where the same spot was before it.
_QUARTERS = ([[1, 0], [0, 1]], [[0, 1], [-1, 0]], [[-1, 0], [0, -1]], [[0, -1], [1, 0]])
_TURNS = [np.array(q) @ np.diag([1, side]) for side in (1, -1) for q in _QUARTERS]
_UPRIGHT = (0, 4)
_OFF = (1 - CROP) / 2
# (scale, middle) of what is compared of a side: all of it, or a crop at either end or between.
_WINDOWS = ((1.0, 0.0), (CROP, -_OFF), (CROP, 0.0), (CROP, _OFF))
# The same for each of ROTATED.
_ROTATIONS = [
    np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]) for a in np.radians(ROTATED)
]
# (orientation, window of y, window of x).
VARIANTS = [(turn, 0, 0) for turn in range(8)] + [
    (turn, y, x) for turn in _UPRIGHT for y in (1, 2, 3) for x in (1, 2, 3)
]


def candidates(gray: NDArray[np.uint8], among: Ints) -> tuple[Ints, Ints]:
    """Pairs (P, 2) whose blurred thumbnails look alike, and the variant of the first (P,) in which
    it looks like the whole of the second.
    """
    blurred = _blurred(gray, among)  # (N, windows, windows, BLUR, BLUR)
    rotated = _rotated(gray, among)  # (N, angles, BLUR²)
    whole = _unit(blurred[:, 0, 0])
    centers = _centers(whole)
    # Of centers that are equal, as those of equal thumbnails, all but the first are empty.
    used, home = np.unique((whole @ centers.T).argmax(1), return_inverse=True)
    centers = centers[used]
    cells = [np.flatnonzero(home == cell) for cell in range(len(centers))]
    found = []
    for start in range(0, len(among), BLOCK):
        block = blurred[start : start + BLOCK]
        upright = [_unit(_turned(block[:, y, x], t)) for t, y, x in VARIANTS]
        slanted = [_unit(one) for one in rotated[start : start + BLOCK].swapaxes(0, 1)]
        asked = np.stack(upright + slanted)  # (V, b, D)
        to_centers = asked @ centers.T
        least = np.sort(to_centers, axis=2)[:, :, -min(CELLS, len(centers)), np.newaxis]
        hits = []
        for number, cell in enumerate(cells):
            variant, row = np.nonzero(to_centers[:, :, number] >= least[:, :, 0])
            alike = asked[variant, row] @ whole[cell].T
            alike[cell == start + row[:, np.newaxis]] = -1  # each image is most like itself
            best = alike.argmax(1)
            value = alike[np.arange(len(row)), best]
            a = np.flatnonzero(value > ALIKE)
            hits.append((row[a] + start, cell[best[a]], variant[a], value[a]))
        found.append(strongest(*(np.concatenate(block) for block in zip(*hits, strict=True))))
    first, second, variant, alike = (np.concatenate(block) for block in zip(*found, strict=True))
    # One of the two directions, the better one.
    order = np.argsort(-alike, kind="stable")
    low, high = np.minimum(first, second)[order], np.maximum(first, second)[order]
    _, once = np.unique(low * len(among) + high, return_index=True)
    kept = order[once]
    return np.stack([among[first[kept]], among[second[kept]]], 1), variant[kept]


def strongest(
    first: Ints, second: Ints, variant: Ints, alike: Floats, *, nearest: int = NEAREST
) -> tuple[Ints, Ints, Ints, Floats]:
    """For each first image the `nearest` others, each in its best variant."""
    order = np.lexsort((-alike, second, first))
    first, second, variant, alike = first[order], second[order], variant[order], alike[order]
    once = np.ones(len(first), bool)
    once[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    first, second, variant, alike = first[once], second[once], variant[once], alike[once]
    order = np.lexsort((-alike, first))
    first, second, variant, alike = first[order], second[order], variant[order], alike[order]
    place = np.arange(len(first)) - np.searchsorted(first, first)
    best = place < nearest
    return first[best], second[best], variant[best], alike[best]


def all_variants(gray: NDArray[np.uint8], blur: int) -> Floats:
    """Mean luminance of `blur` × `blur` blocks of each image (N, S, S) in every variant, in the
    order that `starts` counts them: (V, N, blur²). It is linear in the luminance.
    """
    among = np.arange(len(gray))
    blurred = _blurred(gray, among, blur)
    upright = [_turned(blurred[:, y, x], t).reshape(len(gray), -1) for t, y, x in VARIANTS]
    return np.stack([*upright, *_rotated(gray, among, blur).swapaxes(0, 1)])


def _blurred(gray: NDArray[np.uint8], among: Ints, blur: int = BLUR) -> Floats:
    """Mean luminance of `blur` × `blur` blocks in every pair of windows of the images at these
    positions (N,): (N, 4, 4, blur, blur).
    """
    edges = np.arange(SIDE + 1) / SIDE - 0.5
    means = []
    for scale, middle in _WINDOWS:
        ends = (np.arange(blur + 1) / blur - 0.5) * scale + middle
        overlap = np.minimum(ends[1:, np.newaxis], edges[1:]) - np.maximum(
            ends[:-1, np.newaxis], edges[:-1]
        )
        means.append(np.maximum(overlap, 0) * blur / scale)
    rows = np.concatenate(means).astype(np.float32)  # (4 blur, SIDE)
    out = np.empty((len(among), len(rows), len(rows)), np.float32)
    for start in range(0, len(among), BLOCK):
        block = gray[among[start : start + BLOCK]].astype(np.float32)
        out[start : start + BLOCK] = rows @ block @ rows.T
    windows = len(_WINDOWS)
    return out.reshape(-1, windows, blur, windows, blur).transpose(0, 1, 3, 2, 4)


def _rotated(gray: NDArray[np.uint8], among: Ints, blur: int = BLUR) -> Floats:
    """Mean luminance of `blur` × `blur` blocks of the images at these positions (N,), rotated by
    each of ROTATED with black corners: (N, angles, blur²).
    """
    at = (np.arange(SIDE) + 0.5) / SIDE - 0.5
    places = np.stack(np.meshgrid(at, at, indexing="ij"), -1).reshape(-1, 2)
    row, column = np.indices((SIDE, SIDE)).reshape(2, -1) * blur // SIDE
    means = np.zeros((SIDE * SIDE, len(ROTATED), blur * blur), np.float32)
    for mean, linear in zip(means.swapaxes(0, 1), _ROTATIONS, strict=True):
        before = places @ linear.T
        inside = (np.abs(before) < 0.5).all(1)  # the corners come from nowhere: they stay 0, black
        y, x = ((before[inside] + 0.5) * SIDE).astype(int).T
        np.add.at(mean, (y * SIDE + x, (row * blur + column)[inside]), (blur / SIDE) ** 2)
    flat = means.reshape(SIDE * SIDE, -1)
    out = np.empty((len(among), flat.shape[1]), np.float32)
    for start in range(0, len(among), BLOCK):
        block = gray[among[start : start + BLOCK]].reshape(-1, SIDE * SIDE)
        out[start : start + BLOCK] = block.astype(np.float32) @ flat
    return out.reshape(len(among), *means.shape[1:])


def _turned(blocks: Floats, turn: int) -> Floats:
    """Square blocks (N, S, S) in one of eight orientations."""
    middle = (blocks.shape[1] - 1) / 2
    at = np.stack(np.meshgrid(*[np.arange(blocks.shape[1])] * 2, indexing="ij"), -1) - middle
    before = np.round(at @ _TURNS[turn].T + middle).astype(int)
    return blocks[:, before[..., 0], before[..., 1]]


def lively(gray: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which thumbnails (n, SIDE, SIDE) show anything, (n,)."""
    return np.asarray(gray.std((1, 2)) >= FLAT)


def unit(rows: Floats) -> Floats:
    """The rows (n, D) at length 1."""
    of_length: Floats = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
    return of_length


def _unit(blocks: Floats) -> Floats:
    """Rows of mean 0 and length 1, (N, BLUR²)."""
    rows = blocks.reshape(len(blocks), -1)
    return unit(rows - rows.mean(1, keepdims=True))


def _centers(rows: Floats) -> Floats:
    """Middles of the cells, at most one per CELL rows: k-means of a sample (Lloyd 1982), started
    from evenly spaced rows (N, BLUR²), which stay as they are.
    """
    count = max(1, -(-len(rows) // CELL))
    sample = rows[:: max(1, len(rows) // (32 * count))]
    centers = sample[:: max(1, len(sample) // count)][:count].copy()
    for _ in range(5 if count > 1 else 0):
        home = (sample @ centers.T).argmax(1)
        for cell in range(count):
            if (home == cell).any():
                centers[cell] = _unit(sample[home == cell].mean(0, keepdims=True))[0]
    return centers


def starts(variants: Ints) -> Maps:
    """The map from the whole of a second image to a variant of a first, for each variant."""
    upright = [_TURNS[t] * _WINDOWS[y][0] for t, y, _ in VARIANTS]
    linear = np.array(upright + _ROTATIONS, np.float32)
    middles = [(_WINDOWS[y][1], _WINDOWS[x][1]) for _, y, x in VARIANTS]
    shift = np.array(middles + [(0.0, 0.0)] * len(ROTATED), np.float32)
    return Maps(linear[variants], shift[variants])
