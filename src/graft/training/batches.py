"""Batches: of cached activations, of small images in memory, or of files read again."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from graft.data.augmentation import Augmentation
from graft.data.decode import Preprocess
from graft.data.reader import stream
from graft.errors import DataError
from graft.features.activations import Activations
from graft.features.backends import Backend
from graft.features.blocks import blocks_of
from graft.features.extraction import infer_float16
from graft.training.loop import Batches


def batch_rows(
    labels: NDArray[np.int64], batch: int, seed: int, epoch: int, balanced: bool = False
) -> list[NDArray[np.int64]]:
    """The row numbers of each batch of an epoch, for images with class numbers (N,).

    Every image comes once, in an order that depends on the seed and the epoch alone; if
    `balanced`, N images are drawn with replacement, every class equally often. A last batch of a
    single image joins the one before it: batch normalization cannot learn from one.
    """
    count, random = len(labels), np.random.default_rng([seed, epoch])
    order = equally_often(labels, random) if balanced else random.permutation(count)
    return np.split(order, batch_stops(count, batch))


def equally_often(labels: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
    """As many row numbers as there are labels (N,), drawn with replacement, every class equally
    often.
    """
    weights = 1 / np.bincount(labels)[labels]
    return random.choice(len(labels), len(labels), p=weights / weights.sum())


def batch_stops(count: int, batch: int) -> list[int]:
    """Where the batches of `count` images end, but the last; see `batch_rows`."""
    stops = list(range(batch, count, batch))
    if stops and count - stops[-1] == 1:
        stops.pop()
    return stops


def shuffled(
    views: Sequence[Activations],
    labels: NDArray[np.int64],
    batches: Sequence[NDArray[np.int64]],
    epoch: int,
) -> Batches:
    """Batches of cached activations (N, …), one set a view.

    In epoch e, image i comes in view (i + e) mod V, so that all V views are seen equally often.
    """
    for rows in batches:
        yield in_turn(views, rows, epoch), labels[rows]


def in_turn(
    views: Sequence[Activations], rows: NDArray[np.int64], epoch: int
) -> NDArray[np.float16]:
    """These rows (n, …), each in the view that is due in an epoch; see `shuffled`."""
    numbers = (rows + epoch) % len(views)
    x = np.empty((len(rows), *views[0].shape), views[0].dtype)
    for number, view in enumerate(views):
        chosen = np.flatnonzero(numbers == number)
        if len(chosen):
            x[chosen] = view[rows[chosen]]
    return x


def jittered(
    view: Activations,
    labels: NDArray[np.int64],
    batches: Sequence[NDArray[np.int64]],
    epoch: int,
    *,
    seed: int,
    shift: int,
    flip: bool,
    erased: int = 0,
    own: Callable[[int], slice] = slice,
) -> Batches:
    """Batches of small images, (n, H, W, 3) uint8, augmented in memory.

    Each image is moved by up to `shift` pixels, its reflection filling the margin, and, if `flip`,
    mirrored in every other epoch (Jordan 2024, arXiv:2404.00498). With `erased`, a gray square of
    so many pixels a side lies on it, perhaps half beyond its edge (Cutout: DeVries & Taylor 2017,
    arXiv:1708.04552). `own` says which images of a batch of so many are made, by default all; what
    is drawn is drawn for all of it.
    """
    mirrored = np.random.default_rng(seed).integers(0, 2, len(labels))
    for rows in batches:
        random = np.random.default_rng([seed, epoch, int(rows[0])])
        part = own(len(rows))
        x = view[rows[part]]
        height, width = x.shape[1:3]
        padded = np.pad(x, ((0, 0), (shift, shift), (shift, shift), (0, 0)), "reflect")
        moved = random.integers(0, 2 * shift + 1, (len(rows), 2))[part]
        for place, (top, left) in enumerate(moved):
            x[place] = padded[place, top : top + height, left : left + width]
        if flip:
            now = (mirrored[rows[part]] + epoch) % 2 == 1
            x[now] = x[now, :, ::-1]
        if erased:
            corners = random.integers(0, (height, width), (len(rows), 2))[part] - erased // 2
            for image, (top, left) in zip(x, corners, strict=True):
                image[max(0, top) : top + erased, max(0, left) : left + erased] = 128
        yield x, labels[rows]


def streamed(
    files: Sequence[Path],
    labels: NDArray[np.int64],
    batches: Sequence[NDArray[np.int64]],
    preprocess: Preprocess,
    view_of: Callable[[int], int],
    augmentation: Augmentation,
    backend: Callable[[], Backend] | None = None,
) -> Batches:
    """Batches of images, read and decoded again in every epoch, each in the view of its row; with
    `backend`, of the frozen prefix, batches of its outputs.

    All cores decode a batch between two steps of training, not during them: two pools of threads
    on the same cores cost more than they hide. Raises DataError for a file that has become
    unusable.
    """
    for rows in batches:
        views = [view_of(int(row)) for row in rows]
        pixels = []
        for loaded in stream(
            [files[row] for row in rows],
            preprocess,
            lambda index, digest, views=views: (views[index],),  # type: ignore[misc]
            augmentation,
        ):
            if loaded.problem is not None:
                raise DataError(f"{loaded.file}: changed during training: {loaded.problem}")
            pixels.append(loaded.views[views[loaded.index]])
        x = np.stack(pixels)
        if backend is None:
            yield x, labels[rows]
            continue
        most = backend().batch
        blocks = ((None, x[i : i + most]) for i in range(0, len(x), most))
        yield np.concatenate([out for _, out in infer_float16(backend, blocks)]), labels[rows]


def in_order(view: Activations, labels: NDArray[np.int64]) -> Batches:
    """Every image once, in order."""
    for rows in blocks_of(len(labels), view.shape):
        yield view[rows], labels[rows]


def steps_of(count: int, batch: int) -> int:
    """How many batches `batch_rows` makes of `count` images."""
    full, rest = divmod(count, batch)
    return max(1, full + (rest > 1))
