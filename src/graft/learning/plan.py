"""What a run will train and how, decided before the pictures are read."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from graft.config import TrainConfig, parse_unfreeze
from graft.data.dataset import Dataset
from graft.learning.cache import cache_limit
from graft.learning.fit import FitSettings
from graft.learning.frozen import Frozen
from graft.models.backbone import Backbone
from graft.models.cut import Cut, cut, find_cut, shape_at
from graft.models.distort import augmentation
from graft.models.engine import LazyEngine
from graft.progress import Progress

# Measured in docs/recipes.md.
COMMON: dict[str, Any] = {
    "optimiser": "adamw",
    "weight_decay": 0.05,
    "batch_size": 256,
    "dropout_in": 0.2,
}
FROZEN: dict[str, Any] = COMMON | {"epochs": 20, "views": 3, "learning_rate": 2e-3}
BASE: dict[str, Any] = COMMON | {"epochs": 40, "views": 5, "learning_rate": 3e-3}
DEEP: dict[str, Any] = COMMON | {
    "epochs": 28,
    "views": 5,
    "learning_rate": 5e-3,
    "weight_decay": 0.15,
    "batch_size": 512,
    "dropout_in": 0.0,
}
TUNED: dict[str, Any] = COMMON | {
    "epochs": 10,
    "views": 5,
    "learning_rate": 1e-3,
    "batch_size": 64,
}
WHOLE: dict[str, Any] = COMMON | {
    "epochs": 5,
    "views": 3,
    "learning_rate": 2e-4,
    "batch_size": 32,
}
# The share of free disk that a cache may take.
DISK_SHARE = 0.8


@dataclass(frozen=True)
class Plan:
    """The stages of a run and their settings.

    `cut` is None when the encoder stays frozen or trains from pixels. `shape` is that of an
    activation at the cut; `cached` says whether activations are kept on disk or computed again
    in every epoch, by `prefix_engine`.
    """

    probe: FitSettings
    main: FitSettings
    cut: Cut | None = None
    shape: tuple[int, ...] = ()
    cached: bool = False
    prefix_engine: LazyEngine | None = None
    shift: int = 0
    events: Callable[[dict[str, Any]], None] | None = None
    _engine: LazyEngine | None = None

    def frozen_engine(self, backbone: Backbone, wanted: str) -> LazyEngine:
        """What runs the whole frozen encoder."""
        return self._engine or LazyEngine(backbone.build, wanted)


def defaults_for(config: TrainConfig, backbone: Backbone) -> dict[str, Any]:
    """The settings that depend on the kind of training."""
    if backbone.weights is None:
        return DEEP if backbone.architecture == "deep_cnn" else BASE
    if config.unfreeze == "none":
        return FROZEN
    return WHOLE if parse_unfreeze(config.unfreeze)[0] == "all" else TUNED


def make_plan(
    config: TrainConfig, backbone: Backbone, dataset: Dataset, cache: Path, progress: Progress
) -> tuple[Plan, Frozen]:
    """The plan of a run and the store of what it computes once.

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
        optimiser=config.optimiser or "",
        schedule=config.schedule,
        warm_up=config.warm_up,
        mixup=config.mixup,
        cutmix=config.cutmix,
        averaging=config.averaging,
        **common,
    )
    augmented = augmentation(config.augment, config.flip)
    views = 1 if config.augment == "none" else config.views or 1
    if backbone.weights is None:
        shift = _shift(config, backbone)
        frozen = Frozen(cache, backbone, None, 1 if shift else views, augmented)
        return Plan(main, main, shift=shift), frozen
    engine = LazyEngine(backbone.build, config.engine)
    if config.unfreeze == "none":
        return Plan(main, main, _engine=engine), Frozen(cache, backbone, engine, views, augmented)
    probe = FitSettings(
        epochs=FROZEN["epochs"],
        learning_rate=FROZEN["learning_rate"],
        weight_decay=FROZEN["weight_decay"],
        **common,
    )
    encoder = backbone.build()
    found = find_cut(encoder, config.unfreeze)
    progress.say(f"trained: {found.described()}")
    if found.unit is None:
        plan = Plan(probe, main, found, _engine=engine)
        return plan, Frozen(cache, backbone, engine, views, augmented)
    unit, shape = found.unit, shape_at(encoder, found.unit)
    prefix = LazyEngine(lambda: cut(backbone, unit)[0], config.engine)  # type: ignore[arg-type,return-value]
    size = int(np.prod(shape))
    pictures = len(dataset.examples)
    # Training pictures in every view, about 70 % of all, the others in one.
    wanted = int(pictures * (0.7 * views + 0.3)) * 2 * (size + backbone.features)
    free = int(shutil.disk_usage(_existing(cache)).free * DISK_SHARE)
    cached = wanted <= min(cache_limit(), free)
    progress.say(
        f"activations before {unit}: about {wanted / 1e9:.2f} GB for {pictures:,} pictures, "
        + ("kept in the cache" if cached else "more than the cache may take: computed every epoch")
    )
    plan = Plan(probe, main, found, shape, cached, prefix, _engine=engine)
    if not cached:
        return plan, Frozen(cache, backbone, engine, views, augmented)
    return plan, Frozen(cache, backbone, prefix, views, augmented, unit, size)


def _shift(config: TrainConfig, backbone: Backbone) -> int:
    # Pictures of a few pixels are moved about as they lie in memory, anew in every epoch; cutting
    # crops out of the file pays for larger ones.
    return (
        0
        if backbone.preprocess.height > 32 or config.views == 1
        else backbone.preprocess.height // 8
    )


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder
