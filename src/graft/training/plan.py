"""What a run will train and how, decided before the images are read."""

import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from graft.config import TrainConfig, parse_unfreeze
from graft.data.dataset import Dataset
from graft.data.distortion import augmentation
from graft.errors import UsageError
from graft.features.backends import LazyBackend
from graft.features.cache import cache_limit
from graft.features.extraction import encode
from graft.features.table import FeatureTable
from graft.models.backbone import Backbone
from graft.models.halves import split_backbone
from graft.models.split_point import SplitPoint, find_split_point
from graft.training.loop import FitSettings
from graft.utils.files import write_json
from graft.utils.progress import Progress

# Measured in docs/recipes.md.
COMMON: dict[str, Any] = {
    "optimizer": "adamw",
    "weight_decay": 0.05,
    "batch_size": 256,
    "dropout_in": 0.2,
    "ema": 0.0,
}
FROZEN: dict[str, Any] = COMMON | {"epochs": 20, "views": 3, "learning_rate": 2e-3}
BASE: dict[str, Any] = COMMON | {"epochs": 40, "views": 5, "learning_rate": 3e-3}
DEEP: dict[str, Any] = COMMON | {
    "epochs": 22,
    "views": 5,
    "optimizer": "sgd",
    "learning_rate": 0.7,
    "weight_decay": 1.5e-3,
    "batch_size": 512,
    "dropout_in": 0.0,
    "ema": 0.99,
}
# deep_cnn by AdamW, for who asks for it.
DEEP_ADAMW: dict[str, Any] = DEEP | {
    "optimizer": "adamw",
    "learning_rate": 5e-3,
    "weight_decay": 0.15,
    "ema": 0.0,
}
TUNED: dict[str, Any] = COMMON | {
    "epochs": 10,
    "views": 5,
    "learning_rate": 1e-3,
    "batch_size": 64,
}
WHOLE: dict[str, Any] = COMMON | {
    "epochs": 8,
    "views": 3,
    "learning_rate": 4e-4,
    "batch_size": 32,
    "ema": 0.99,
}
# Images of at most this many pixels a side are augmented in memory.
SMALL = 32
# What the rates of computing and of the disk are measured with.
TIMED_IMAGES, TIMED_BYTES = 128, 2**25
# Pixels that take less disk than this are kept without a word.
WORTH_SAYING = 2**30
# Where the choice between cache and computing lies until the run is done.
CHOICE = ".choice.json"
# The share of free disk that a cache may take.
DISK_SHARE = 0.8


@dataclass(frozen=True)
class Plan:
    """The stages of a run and their settings.

    `backend` runs the whole frozen encoder; None when there is none. `cut` is None when the encoder
    stays frozen or trains from pixels. `cached` says whether activations at the cut are kept on
    disk or computed again in every epoch, by `prefix_backend`.
    """

    probe: FitSettings
    main: FitSettings
    backend: LazyBackend | None = None
    cut: SplitPoint | None = None
    cached: bool = False
    prefix_backend: LazyBackend | None = None
    shift: int = 0
    erased: int = 0
    events: Callable[[dict[str, Any]], None] | None = None


def defaults_for(config: TrainConfig, backbone: Backbone) -> dict[str, Any]:
    """The settings that depend on the kind of training.

    Raises UsageError for an optimizer that no rate was measured for, unless it is given one, and
    for CutMix where no images are trained on.
    """
    kind = parse_unfreeze(config.unfreeze)[0]
    if backbone.weights is None:
        found = DEEP if backbone.architecture == "deep_cnn" else BASE
    else:
        found = {"none": FROZEN, "all": WHOLE}.get(kind, TUNED)
        if config.cutmix and kind != "all":
            raise UsageError(
                "cutmix pastes images into images: it is for base_cnn, deep_cnn and --unfreeze "
                "all; mixup blends features, too"
            )
    if config.optimizer in (None, found["optimizer"]):
        return found
    if found is DEEP:
        return DEEP_ADAMW
    if config.learning_rate is None or config.weight_decay is None:
        raise UsageError(
            f"--optimizer {config.optimizer} has no measured rate here: give --learning-rate and "
            "--weight-decay, too"
        )
    return found


def make_plan(
    config: TrainConfig,
    backbone: Backbone,
    dataset: Dataset,
    cache: Path,
    progress: Progress,
    run: Path,
) -> tuple[Plan, FeatureTable]:
    """The plan of a run and the store of what it computes once.

    A choice that was measured is kept in the run, so that it is the same when the run is resumed.

    Raises ModelError or UsageError for an `unfreeze` that the backbone cannot follow.
    """
    common: dict[str, Any] = {
        "label_smoothing": config.label_smoothing,
        "patience": config.patience,
        "seed": config.seed,
    }
    main = FitSettings(
        epochs=config.epochs or 1,
        learning_rate=config.learning_rate or 0.0,
        weight_decay=config.weight_decay or 0.0,
        optimizer=config.optimizer or "",
        schedule=config.schedule,
        warmup=config.warmup,
        mixup=config.mixup,
        cutmix=config.cutmix,
        ema=config.ema or 0.0,
        max_grad_norm=config.max_grad_norm,
        **common,
    )
    augmented = augmentation(config.augment, config.flip)
    views = 1 if config.augment == "none" else config.views or 1
    if backbone.weights is None:
        shift, erased = _small_views(config, backbone)
        views = 1 if shift else views
        frozen = FeatureTable(cache, backbone, None, views, augmented)
        _say_pixels(frozen, len(dataset.examples), cache, progress)
        return Plan(main, main, shift=shift, erased=erased), frozen
    backend = LazyBackend(backbone.build, config.backend)
    if config.unfreeze == "none":
        return Plan(main, main, backend), FeatureTable(cache, backbone, backend, views, augmented)
    probe = FitSettings(
        epochs=FROZEN["epochs"],
        learning_rate=FROZEN["learning_rate"],
        weight_decay=FROZEN["weight_decay"],
        **common,
    )
    found = find_split_point(backbone.build(), config.unfreeze)
    progress.say(f"trained: {found.described()}")
    if found.unit is None:
        plan = Plan(probe, main, backend, found)
        return plan, FeatureTable(cache, backbone, backend, views, augmented)
    prefix = LazyBackend(lambda: split_backbone(backbone, found)[0], config.backend)
    size = math.prod(found.shape)
    row = 2 * (size + backbone.features)
    wanted, reason = _cache_fits(row, len(dataset.examples), views, cache)
    kept, choice = None, run / CHOICE
    if choice.is_file():
        reason = json.loads(choice.read_text())["computed because"]
    if not reason:
        kept = FeatureTable(cache, backbone, prefix, views, augmented, found.unit, size)
        if not choice.is_file() and not any(map(len, kept.stores)):
            files = [example.file for example in dataset.examples]
            reason = _slower_from_disk(row, views, main.epochs, prefix, backbone, files, cache)
    write_json(choice, {"computed because": reason})
    progress.say(
        f"activations before {found.unit}: about {wanted / 1e9:.2f} GB for "
        f"{len(dataset.examples):,} images, "
        + (f"{reason}: computed in every epoch" if reason else "kept in the cache")
    )
    plan = Plan(probe, main, backend, found, not reason, prefix)
    if kept is None or reason:
        return plan, FeatureTable(cache, backbone, backend, views, augmented)
    return plan, kept


def _rows(images: int, views: int) -> int:
    """Training images in every view, about 70 % of all, the others in one."""
    return int(images * (0.7 * views + 0.3))


def _cache_fits(row: int, images: int, views: int, cache: Path) -> tuple[int, str]:
    """The bytes that rows of `row` bytes will take, and why that is too much, if it is."""
    wanted = _rows(images, views) * row
    if wanted > cache_limit():
        return wanted, f"more than the cache's {cache_limit() / 1e9:.0f} GB (GRAFT_CACHE_LIMIT)"
    free = shutil.disk_usage(_existing(cache)).free
    if wanted > free * DISK_SHARE:
        return wanted, f"too much for the {free / 1e9:.0f} GB that the disk has left"
    return wanted, ""


def _say_pixels(frozen: FeatureTable, images: int, cache: Path, progress: Progress) -> None:
    """Say the disk that pixels which are not there yet will take, if it is much; UsageError if it
    is more than there is.
    """
    rows = _rows(images, frozen.views) - sum(map(len, frozen.stores))
    wanted = max(0, rows) * frozen.row_bytes()
    free = shutil.disk_usage(_existing(cache)).free
    size = f"pixels of {images:,} images in {frozen.views} views: about {wanted / 1e9:.2f} GB"
    if wanted > free * DISK_SHARE:
        raise UsageError(
            f"{size}, too much for the {free / 1e9:.0f} GB that the disk has left; take fewer "
            "--views or a smaller --image-size"
        )
    if wanted > WORTH_SAYING:
        over = ", of which the cache's limit is kept after the run" * (wanted > cache_limit())
        progress.say(f"{size} on disk{over}")


def _slower_from_disk(
    row: int,
    views: int,
    epochs: int,
    backend: LazyBackend,
    backbone: Backbone,
    files: Sequence[Path],
    cache: Path,
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
    _existing(cache).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=_existing(cache)) as file:
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


def _small_views(config: TrainConfig, backbone: Backbone) -> tuple[int, int]:
    """How far small images are moved, and the side of what is erased, in pixels."""
    # Images of a few pixels are moved about as they lie in memory, anew in every epoch; cutting
    # crops out of the file pays for larger ones.
    side = backbone.preprocess.height
    if side > SMALL or config.views == 1:
        return 0, 0
    shift = {"none": 0, "light": side // 16}.get(config.augment, side // 8)
    return shift, 3 * side // 8 if config.augment == "strong" else 0


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder
