"""Whether activations are kept on disk or computed again in every epoch, by measurement."""

import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from graft.errors import UsageError
from graft.features.backends import LazyBackend
from graft.features.cached_encoder import CachedEncoder
from graft.features.extraction import encode
from graft.models.backbone import Backbone
from graft.utils.cache_folder import cache_folder, cache_limit
from graft.utils.progress import Progress

# What the rates of computing and of the disk are measured with.
TIMED_IMAGES, TIMED_BYTES = 128, 2**25
# Pixels that take less disk than this are kept without a word.
WORTH_SAYING = 2**30
# The fraction of free disk that a cache may take.
DISK_FRACTION = 0.8


def _rows(images: int, views: int) -> int:
    """Training images in every view, about 70 % of all, the others in one."""
    return int(images * (0.7 * views + 0.3))


def too_large(row: int, images: int, views: int) -> tuple[int, str]:
    """The bytes that rows of `row` bytes will take, and why that is too much, if it is."""
    wanted = _rows(images, views) * row
    if wanted > cache_limit():
        return wanted, f"more than the cache's {cache_limit() / 1e9:.0f} GB (GRAFT_CACHE_LIMIT)"
    free = shutil.disk_usage(_existing(cache_folder())).free
    if wanted > free * DISK_FRACTION:
        return wanted, f"too much for the {free / 1e9:.0f} GB that the disk has left"
    return wanted, ""


def say_pixels(frozen: CachedEncoder, images: int, progress: Progress) -> None:
    """Say the disk that pixels which are not there yet will take, if it is much; UsageError if it
    is more than there is.
    """
    rows = _rows(images, frozen.views) - sum(map(len, frozen.stores))
    wanted = max(0, rows) * frozen.row_bytes()
    free = shutil.disk_usage(_existing(cache_folder())).free
    size = f"pixels of {images:,} images in {frozen.views} views: about {wanted / 1e9:.2f} GB"
    if wanted > free * DISK_FRACTION:
        raise UsageError(
            f"{size}, too much for the {free / 1e9:.0f} GB that the disk has left; take fewer "
            "--views or a smaller --image-size"
        )
    if wanted > WORTH_SAYING:
        over = ", of which the cache's limit is kept after the run" * (wanted > cache_limit())
        progress.say(f"{size} on disk{over}")


def slower_from_disk(
    row: int,
    views: int,
    epochs: int,
    backend: LazyBackend,
    backbone: Backbone,
    files: Sequence[Path],
) -> str:
    """Why computing rows in every epoch is faster than keeping them, if it is: by measurement,
    reading the images included.
    """
    backend()  # the first pays for what the others find ready
    some = [files[i] for i in np.linspace(0, len(files) - 1, TIMED_IMAGES).astype(int)]
    start = time.perf_counter()
    for _ in encode(some, backbone.preprocess, backend, batch=backend.batch):
        pass
    computed = len(some) / (time.perf_counter() - start)
    _existing(cache_folder()).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=_existing(cache_folder())) as file:
        start = time.perf_counter()
        file.write(bytes(TIMED_BYTES))
        file.flush()
        os.fsync(file.fileno())
        written = TIMED_BYTES / row / (time.perf_counter() - start)
        if hasattr(os, "posix_fadvise"):  # or memory would be measured, not the disk
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        start = time.perf_counter()
        file.seek(0)
        file.read()
        read = TIMED_BYTES / row / (time.perf_counter() - start)
    # Seconds an image, over all epochs.
    from_disk = views * (1 / computed + 1 / written) + epochs / read
    if from_disk <= epochs / computed:
        return ""
    return (
        f"at {computed:,.0f} rows/s computed against {written:,.0f} written and {read:,.0f} read, "
        f"slower from disk in {epochs} epochs"
    )


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder
