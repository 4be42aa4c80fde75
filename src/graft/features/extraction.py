"""From files to features: the one path that training, evaluation and prediction all take."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.data.augmentation import Augmentation
from graft.data.decode import Pixels, Preprocess
from graft.data.reader import PLAIN, WINDOW, Loaded, stream
from graft.errors import ModelError
from graft.features.backends import BATCH, Backend, infer
from graft.utils.in_blocks import in_blocks


@dataclass(slots=True)
class Encoded:
    """A file's outcome and its values by view: features (D,) float16, or pixels without backend."""

    loaded: Loaded
    values: dict[int, NDArray[Any]] = field(default_factory=dict)
    due: int = 0


def encode(
    files: Iterable[Path],
    preprocess: Preprocess,
    backend: Callable[[], Backend] | None,
    *,
    wanted: Callable[[int, bytes], Sequence[int]] = lambda index, digest: (0,),
    augmentation: Augmentation = PLAIN,
    on_loaded: Callable[[Loaded], None] = lambda loaded: None,
    fingerprinted: Callable[[bytes], bool] = lambda digest: False,
    batch: int = BATCH,
    ahead: int = WINDOW,
    whole: bool = False,
) -> Iterator[Encoded]:
    """Read, decode and encode files, in order, a bounded number at a time.

    `backend` is called for the compiled encoder (of that `batch` size) when the first batch is
    full; None gives the pixels themselves, (H, W, 3) uint8. Features are rounded to float16 here
    and nowhere else, so a value from the cache equals one computed now. `on_loaded` sees every
    file as soon as it is read; `fingerprinted`, `ahead` and `whole` as in `stream`. Raises
    ModelError for features that are not finite.
    """
    waiting: deque[Encoded] = deque()

    def batches() -> Iterator[tuple[list[tuple[Encoded, int]], Pixels]]:
        tags: list[tuple[Encoded, int]] = []
        pixels: list[Pixels] = []
        for loaded in stream(files, preprocess, wanted, augmentation, fingerprinted, ahead, whole):
            item = Encoded(loaded, due=len(loaded.views))
            waiting.append(item)
            for number, image in loaded.views.items():
                tags.append((item, number))
                pixels.append(image)
                if len(pixels) == batch:
                    yield tags, np.stack(pixels)
                    tags, pixels = [], []
            loaded.views = {}  # the pixels are in the batch now
            on_loaded(loaded)
        if pixels:
            yield tags, np.stack(pixels)

    for tags, values in infer_float16(backend, batches()) if backend else batches():
        for (item, number), value in zip(tags, values, strict=True):
            item.values[number] = value
            item.due -= 1
        while waiting and not waiting[0].due:
            yield waiting.popleft()
    yield from waiting


def encode_pixels(
    pixels: Iterable[Pixels], backend: Callable[[], Backend], batch: int = BATCH
) -> Iterator[NDArray[np.float16]]:
    """As `encode`, of pixels (height, width, 3) as the network is fed them: the features (D,)
    float16 of each, in order.
    """

    def batches() -> Iterator[tuple[None, Pixels]]:
        for group in in_blocks(pixels, batch):
            yield None, np.stack(group)

    for _, values in infer_float16(backend, batches()):
        yield from values


def infer_float16(
    backend: Callable[[], Backend], batches: Iterator[tuple[Any, NDArray[Any]]]
) -> Iterator[tuple[Any, NDArray[np.float16]]]:
    """`infer`, rounded to float16; ModelError for what float16 cannot hold."""
    for tags, outputs in infer(backend, batches):
        with np.errstate(over="ignore"):
            values = outputs.astype(np.float16)
        if not np.isfinite(values).all():
            raise ModelError(
                "the encoder gives features that are not finite numbers of at most 65504; check "
                "the weights, or try --backend torch"
            )
        yield tags, values
