"""Whether two thumbnails show one image: the second fitted to the first by an affine map."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from graft.data.fingerprint import SIDE

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

# Pixels of a chunk of pairs, so that a step's numbers stay in the cache.
CHUNK = 2**16
# Images whose detail is taken at once.
BLOCK = 256
# Size, steps, whether detail alone is compared (what a blur of DETAIL pixels takes away), and the
# agreement below which a pair is given up: chosen on 200 edited copies among 2,000 photos
# (benchmarks/planted.py), of which 2 fall below one of these, and of other pairs nearly all.
LEVELS = (
    (16, 0, False, 0.8),
    (16, 3, False, 0.92),
    (32, 0, True, 0.5),
    (32, 3, False, 0.9),
    (32, 0, True, 0.65),
    (64, 0, True, 0.5),
    (64, 3, True, 0.75),
)
DETAIL = 2.0
# A residual of this many standard deviations counts half.
OUTLIER = 0.5
# No step moves by more than this share of a side.
LONGEST = 0.15
# Agreement is asked for in blocks, too, BLOCKS a side: in LEAST of those whose detail has at
# least this spread (of 0..255), and less by SLACK, as few pixels vary more.
BLOCKS, LIVELY, LEAST, SLACK = 4, 2.0, 0.2, 0.4
# Closer to the edge of the first image than this many pixels, nothing is compared. Where an image
# was rotated, the pixels along its slanted edge are half black, and at the coarse levels these are
# many: they would drag the fit away. 0.5 would leave it to rounding whether a row along the edge
# counts.
RIM = 0.6
# The share of the second image that must lie on the first, and the scales believed.
OVERLAP, SCALES = 0.45, (0.5, 2.0)


@dataclass
class Maps:
    """Affine maps (P,) from the second image to the first: y = linear @ x + shift, in sides."""

    linear: Floats  # (P, 2, 2)
    shift: Floats  # (P, 2)


def agreement(gray: NDArray[np.uint8], pairs: Ints, start: Maps, threads: int) -> Floats:
    """How well the detail of each pair (P, 2) of thumbnails (N, S, S) agrees once the second is
    fitted to the first, (P,); 0 for pairs that are no copies.
    """
    out = np.zeros(len(pairs), np.float32)
    alive, maps = np.arange(len(pairs)), start
    with ThreadPoolExecutor(threads) as pool:
        for size, steps, fine, least in LEVELS:
            if not len(alive):
                return out
            used, where = np.unique(pairs[alive], return_inverse=True)
            images = np.empty((len(used), size, size), np.float32)
            for i in range(0, len(used), BLOCK):  # detail takes five times what it gives
                block = _reduced(gray[used[i : i + BLOCK]], size)
                images[i : i + BLOCK] = detail(block) if fine else block
            work = partial(_fitted, images, where.reshape(-1, 2), maps, steps=steps)
            chunk = CHUNK // size**2
            done = list(pool.map(work, (slice(i, i + chunk) for i in range(0, len(alive), chunk))))
            linear, shift = (
                np.concatenate([getattr(m, name) for m, _ in done]) for name in ("linear", "shift")
            )
            agrees = np.concatenate([fit for _, fit in done])
            kept = np.flatnonzero(agrees >= least)
            alive, maps = alive[kept], Maps(linear[kept], shift[kept])
        believed = _believed(maps)
        out[alive[believed]] = agrees[kept[believed]]
    return out


def detail(images: Floats) -> Floats:
    """What a Gaussian blur takes away, (N, S, S), clipped where single spots stand out."""
    size = images.shape[1]
    at = np.arange(size)
    blur = np.exp(-((at[:, np.newaxis] - at) ** 2) / (2 * DETAIL**2)).astype(np.float32)
    blur /= blur.sum(1, keepdims=True)
    # Two large products, along rows and then columns, instead of two small ones an image.
    wide = (images.reshape(-1, size) @ blur.T).reshape(images.shape).swapaxes(1, 2)
    both = (wide.reshape(-1, size) @ blur.T).reshape(images.shape).swapaxes(1, 2)
    fine = images - both
    limit = 2.5 * fine.std((1, 2), keepdims=True)
    clipped: Floats = np.clip(fine, -limit, limit)
    return clipped


def _reduced(gray: NDArray[np.uint8], size: int) -> Floats:
    by = gray.shape[1] // size
    means: Floats = gray.reshape(len(gray), size, by, size, by).mean((2, 4), dtype=np.float32)
    return means


def _believed(maps: Maps) -> NDArray[np.bool_]:
    """Whether a map is near enough to a turn with an even scale to come from an edited copy."""
    scales = np.linalg.svd(maps.linear, compute_uv=False)  # (P, 2), the larger first
    even = scales[:, 0] < 1.5 * scales[:, 1]
    return np.asarray(even & (scales[:, 1] > SCALES[0]) & (scales[:, 0] < SCALES[1]))


def _fitted(
    images: Floats, where: Ints, maps: Maps, rows: slice, steps: int
) -> tuple[Maps, Floats]:
    first, second = where[rows].T
    linear, shift = maps.linear[rows].copy(), maps.shift[rows].copy()
    size = images.shape[1]
    at = ((np.arange(size) + 0.5) / size - 0.5).astype(np.float32)
    y, x = (axis.ravel() for axis in np.meshgrid(at, at, indexing="ij"))
    used, mine = np.unique(first, return_inverse=True)
    plain = images[used]
    slopes = np.gradient(plain, axis=(1, 2))
    target = images[second].reshape(len(second), -1)
    fit: Floats = np.zeros(len(second), np.float32)
    for step in range(steps + 1):
        down = linear[:, 0, :1] * y + linear[:, 0, 1:] * x + shift[:, :1]
        right = linear[:, 1, :1] * y + linear[:, 1, 1:] * x + shift[:, 1:]
        edge = 0.5 - RIM / size
        inside = ((np.abs(down) <= edge) & (np.abs(right) <= edge)).astype(np.float32)
        look = _Sampler(mine, down, right, size)
        seen, wanted = _standard(look(plain), inside), _standard(target, inside)
        gain = (seen[0] * wanted[0] * inside).sum(1, keepdims=True) / wanted[2]
        miss = wanted[0] * gain - seen[0]
        weight = inside / (1 + (miss / OUTLIER) ** 2)
        if step == steps:
            fit = _correlation(seen[0], wanted[0], weight).astype(np.float32)
            if size == SIDE:
                fit = np.minimum(fit, _everywhere(seen, wanted, inside))
            fit = np.where(wanted[2][:, 0] >= OVERLAP * size * size, fit, 0).astype(np.float32)
            break
        dy, dx = (look(slope) * (size / seen[1]) for slope in slopes)
        jacobian = np.stack([dy * y, dy * x, dy, dx * y, dx * x, dx], 1)  # (P, 6, S²)
        weighted = jacobian * weight[:, np.newaxis]
        normal = weighted @ jacobian.transpose(0, 2, 1) + 1e-2 * np.eye(6, dtype=np.float32)
        move = np.linalg.solve(normal, (weighted @ miss[:, :, np.newaxis]))[:, :, 0]
        move = np.clip(move, -LONGEST, LONGEST)
        linear += move[:, [0, 1, 3, 4]].reshape(-1, 2, 2)
        shift += move[:, [2, 5]]
    return Maps(linear, shift), fit


def _correlation(a: Floats, b: Floats, weight: Floats) -> Floats:
    norm = (a * a * weight).sum(-1) * (b * b * weight).sum(-1)
    agrees: Floats = (a * b * weight).sum(-1) / np.sqrt(norm + 1e-9)
    return agrees


def _everywhere(
    seen: tuple[Floats, Floats, Floats], wanted: tuple[Floats, Floats, Floats], inside: Floats
) -> Floats:
    """A low quantile of the correlation in blocks that show detail, (P,): images in
    like frames agree along the frame alone.
    """
    count, size = len(inside), SIDE // BLOCKS
    pieces = [
        v.reshape(count, BLOCKS, size, BLOCKS, size).swapaxes(2, 3).reshape(count, BLOCKS**2, -1)
        for v in (seen[0] * seen[1], wanted[0] * wanted[1], inside)
    ]
    covered = pieces[2].mean(2) > 0.5
    lively = covered & (((pieces[0] ** 2 + pieces[1] ** 2) * pieces[2]).mean(2) > 2 * LIVELY**2)
    agrees = np.where(lively, _correlation(*pieces), np.nan)
    agrees[~lively.any(1)] = 1  # nothing to hold against it
    return np.nanquantile(agrees, LEAST, axis=1).astype(np.float32) + SLACK


def _standard(values: Floats, inside: Floats) -> tuple[Floats, Floats, Floats]:
    """Values of mean 0 and spread 1 inside, the spread, and the number of pixels inside."""
    count = np.maximum(inside.sum(1, keepdims=True), 1)
    centred = values - (values * inside).sum(1, keepdims=True) / count
    spread = np.sqrt((centred * centred * inside).sum(1, keepdims=True) / count + 1e-2)
    return centred / spread, spread, count


class _Sampler:
    """Bilinear samples of (N, S, S) images `mine` (P,) at (P, S²) places, in sides."""

    def __init__(self, mine: Ints, down: Floats, right: Floats, size: int):
        y = np.clip((down + 0.5) * size - 0.5, 0, size - 1.001)
        x = np.clip((right + 0.5) * size - 0.5, 0, size - 1.001)
        top, left = y.astype(np.int32), x.astype(np.int32)
        self.fy, self.fx = y - top, x - left
        self.corner = (mine.astype(np.int32)[:, np.newaxis] * size + top) * size + left
        self.size = size

    def __call__(self, images: Floats) -> Floats:
        flat = images.reshape(-1)
        above = _between(flat, self.corner, self.fx)
        below = _between(flat, self.corner + self.size, self.fx)
        sampled: Floats = above + (below - above) * self.fy
        return sampled


def _between(flat: Floats, at: NDArray[np.int32], share: Floats) -> Floats:
    left = flat.take(at)
    mixed: Floats = left + (flat.take(at + 1) - left) * share
    return mixed
