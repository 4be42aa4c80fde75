"""Read, hash and decode many images on all cores, in order, holding only a few at a time."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from graft.data.augmentation import Augmentation, view
from graft.data.decode import Pixels, Preprocess, decoded, resized_shorter_side
from graft.data.fingerprint import fingerprint
from graft.data.image_file import BYTES, MAX_BYTES, UnusableImageError, read_bytes
from graft.utils.torchrun import place

PLAIN = Augmentation()
# Images in flight beyond the one awaited: enough to hide a slow disk and uneven files.
WINDOW = 128
# Files below this many bytes are decoded in no other thread: handing the interpreter's lock to and
# fro takes longer than such an image does (32 × 32: 640 against 310 µs, 160 × 160: 810 and 540).
SMALL = 8192


@dataclass(slots=True)
class Loaded:
    """What became of one file: its digest and pixels by view, or the problem."""

    index: int
    file: Path
    digest: bytes | None = None  # sha256 of the file's bytes
    views: dict[int, Pixels] = field(default_factory=dict)  # (height, width, 3) uint8 each
    size: tuple[int, int] | None = None
    fingerprint: NDArray[np.uint8] | None = None  # raw bytes of a FINGERPRINT
    problem: UnusableImageError | None = None


def cores() -> int:
    """The processor cores that this process may use: its share where torchrun started several."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (count or 1) // place().local_world)


def stream(
    files: Iterable[Path],
    preprocess: Preprocess,
    wanted: Callable[[int, bytes], Sequence[int]] = lambda index, digest: (0,),
    augmentation: Augmentation = PLAIN,
    fingerprinted: Callable[[bytes], bool] = lambda digest: False,
    ahead: int = WINDOW,
    whole: bool = False,
) -> Iterator[Loaded]:
    """Yield a Loaded for each file, in the order of `files`, `ahead` others at most in memory.

    `wanted` says, given a file's position and sha256, which views of it to make; a file of which
    none is wanted is hashed but not decoded. Pillow decodes and resamples outside the
    interpreter lock, so threads use all cores. A file that cannot be used comes with its
    problem, never with replacement pixels. `whole`: JPEGs are decoded at their full size.
    """
    shorter_side = None if whole else resized_shorter_side(preprocess)

    def load(index: int, file: Path, size: int) -> Loaded:
        loaded = Loaded(index, file)
        try:
            with BYTES.taken(size):
                fill(loaded, read_bytes(file))
        except UnusableImageError as problem:
            loaded.problem = problem
        return loaded

    def fill(loaded: Loaded, data: bytes) -> None:
        loaded.digest = hashlib.sha256(data).digest()
        numbers = wanted(loaded.index, loaded.digest)
        looked = fingerprinted(loaded.digest)
        if not (numbers or looked):
            return
        with decoded(data, shorter_side) as image:
            loaded.size = image.size
            if looked:
                loaded.fingerprint = fingerprint(data, image)
            for number in numbers:
                loaded.views[number] = view(image, number, preprocess, loaded.digest, augmentation)
            del image  # before another thread takes its place

    numbered = enumerate(files)
    with ThreadPoolExecutor(cores(), thread_name_prefix="graft-decode") as pool:

        def begun(index: int, file: Path) -> Callable[[], Loaded]:
            size = _size(file)
            if size < SMALL:
                return partial(load, index, file, size)
            return pool.submit(load, index, file, size).result

        window: deque[Callable[[], Loaded]] = deque()
        try:
            for index, file in islice(numbered, ahead):
                window.append(begun(index, file))
            while window:
                yield window.popleft()()
                for index, file in islice(numbered, 1):
                    window.append(begun(index, file))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _size(file: Path) -> int:
    try:
        return min(file.stat().st_size, MAX_BYTES)  # a larger one is not read
    except (OSError, ValueError):
        return 0  # `load` says what is wrong with it
