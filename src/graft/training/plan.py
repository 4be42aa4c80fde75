"""What a run will train and how, decided before the images are read."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from graft.config import ResolvedConfig
from graft.data.dataset import Dataset
from graft.data.distortion import augmentation
from graft.errors import UsageError
from graft.features.backends import LazyBackend, backend_of
from graft.features.cached_encoder import CachedEncoder
from graft.models.backbone import Backbone
from graft.models.halves import split_backbone
from graft.models.image_text import zero_shot_weights
from graft.models.ranks import rank_0
from graft.models.runtime import Runtime, detect_runtime
from graft.models.split_point import SplitPoint, find_split_point
from graft.runs.run import Run
from graft.training.cache_or_compute import say_pixels, slower_from_disk, too_large
from graft.training.defaults import DROPOUT_IN, FROZEN, USUAL_DROPOUT_IN
from graft.training.loop import FitSettings
from graft.training.memory_needed import refuse_too_large
from graft.utils.cache_folder import cache_folder
from graft.utils.progress import Progress

# Images of at most this many pixels a side are augmented in memory.
SMALL = 32
WITHOUT_IMAGES = (
    "trained on features, without the images: close calls are not computed again in float32, and "
    "the report shows no images"
)


@dataclass(frozen=True)
class Plan:
    """The stages of a run and their settings.

    `encoder` computes what stays frozen, once; `backend` runs the whole frozen network, None where
    there is none. `probe` fits the head, `main` what else is trained. `cut` is None when the
    encoder stays frozen or trains from pixels. `cached` says whether activations at the cut are
    kept on disk or computed again in every epoch, by `prefix`. `zero_shot` has the weights (D,) of
    each class that a zero-shot head begins with. `shift` and `erased`, in pixels,
    are how small images are augmented in memory. `runtime` says what else is at the same work.
    """

    config: ResolvedConfig
    backbone: Backbone
    encoder: CachedEncoder
    backend: LazyBackend | None
    probe: FitSettings
    main: FitSettings
    cut: SplitPoint | None = None
    cached: bool = False
    prefix: LazyBackend | None = None
    zero_shot: Mapping[str, Tensor] = field(default_factory=dict)
    shift: int = 0
    erased: int = 0
    runtime: Runtime = field(default_factory=detect_runtime)

    @property
    def from_pixels(self) -> bool:
        """Whether a whole network is trained from scratch."""
        return self.backend is None

    @property
    def dropout_in(self) -> float:
        """The dropout of the features."""
        return DROPOUT_IN.get(self.backbone.architecture, USUAL_DROPOUT_IN)


def make_plan(
    config: ResolvedConfig,
    backbone: Backbone,
    dataset: Dataset,
    run: Run,
    progress: Progress,
    runtime: Runtime | None = None,
) -> Plan:
    """The plan of a run, from resolved settings; by default of one process.

    Raises ModelError or UsageError for an `unfreeze` that the backbone cannot follow.
    """
    runtime = runtime or detect_runtime()
    plan = replace(_planned(config, backbone, dataset, run, progress, runtime), runtime=runtime)
    plan.encoder.runtime = runtime if runtime.world > 1 else None
    if config.head == "new":
        return plan
    weights = zero_shot_weights(config.model, dataset.classes)
    return replace(plan, zero_shot=dict(zip(dataset.classes, weights, strict=True)))


def _planned(
    config: ResolvedConfig,
    backbone: Backbone,
    dataset: Dataset,
    run: Run,
    progress: Progress,
    runtime: Runtime,
) -> Plan:
    main = fit_settings(config)
    if dataset.features is not None:
        refuse_images_needed(config, backbone, dataset.features)
    if backbone.weights is None:
        return _plan_from_pixels(config, backbone, dataset, main, progress)
    backend = backend_of(backbone, config.backend)
    encoder = frozen_encoder(config, backbone, backend, shards=dataset.features)
    if config.unfreeze == "none":
        return Plan(config, backbone, encoder, backend, main, main)
    probe = FitSettings(
        epochs=FROZEN["epochs"],
        learning_rate=FROZEN["learning_rate"],
        weight_decay=FROZEN["weight_decay"],
        label_smoothing=config.label_smoothing,
        patience=config.patience,
        seed=config.seed,
    )
    cut = find_split_point(backbone.build(), config.unfreeze)
    progress.say(f"trained: {cut.described()}")
    if cut.unit is None:
        return Plan(config, backbone, encoder, backend, probe, main, cut)
    prefix = LazyBackend(lambda: split_backbone(backbone, cut)[0], config.backend)
    kept = _encoder_at_cut(config, backbone, prefix, cut, dataset, run, progress, runtime)
    return Plan(
        config, backbone, kept or encoder, backend, probe, main, cut, kept is not None, prefix
    )


def backend_notes(plan: Plan) -> list[str]:
    """What to say of the backend that ran, or would have run, the frozen network."""
    backend = plan.encoder.backend
    if backend is None:
        return []
    if plan.encoder.shards is not None:
        by = f"features: those of {plan.encoder.shards}, computed by {plan.encoder.engine}"
        return [by, WITHOUT_IMAGES]
    if backend.ready is None:
        return [f"backend: {backend.name}, everything was in the cache"]
    notes = [f"backend: {backend.name}"]
    return [*notes, f"backend: {backend.ready.note}"] if backend.ready.note else notes


def fit_settings(config: ResolvedConfig) -> FitSettings:
    """What the loop needs to know of resolved settings."""
    return FitSettings(
        epochs=config.epochs,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        optimizer=config.optimizer,
        schedule=config.schedule,
        mixup=config.mixup,
        cutmix=config.cutmix,
        ema=config.ema,
        label_smoothing=config.label_smoothing,
        patience=config.patience,
        seed=config.seed,
        sync_batch_norm=config.sync_batch_norm,
    )


def refuse_images_needed(config: ResolvedConfig, backbone: Backbone, folder: Path) -> None:
    """Raise UsageError for a training that a folder of features is not enough for."""
    if backbone.weights is None or config.unfreeze != "none":
        asked = f"--unfreeze {config.unfreeze}" if backbone.weights else f"--model {config.model}"
        raise UsageError(
            f"{asked} trains from the images, and {folder} holds the features of a frozen network; "
            "train on the source of the images, or leave it out"
        )


def frozen_encoder(
    config: ResolvedConfig, backbone: Backbone, backend: LazyBackend | None, **at: Any
) -> CachedEncoder:
    """What computes, once, the views of each image that these settings ask for."""
    views = 1 if config.augment == "none" else config.views
    views = at.pop("views", views)
    augmented = augmentation(config.augment, config.flip)
    return CachedEncoder(cache_folder(), backbone, backend, views, augmented, **at)


def _plan_from_pixels(
    config: ResolvedConfig,
    backbone: Backbone,
    dataset: Dataset,
    main: FitSettings,
    progress: Progress,
) -> Plan:
    if detect_runtime().device.type == "cpu":
        refuse_too_large(backbone, config.batch_size)
    shift, erased = _augmented_in_memory(config, backbone)
    encoder = frozen_encoder(config, backbone, None, **({"views": 1} if shift else {}))
    say_pixels(encoder, len(dataset.examples), progress)
    return Plan(config, backbone, encoder, None, main, main, shift=shift, erased=erased)


def _encoder_at_cut(
    config: ResolvedConfig,
    backbone: Backbone,
    prefix: LazyBackend,
    cut: SplitPoint,
    dataset: Dataset,
    run: Run,
    progress: Progress,
    runtime: Runtime,
) -> CachedEncoder | None:
    """The encoder that keeps activations at the cut; None where computing them again in every
    epoch is faster, or there is no room. The choice is remembered for whoever resumes.
    """
    size = math.prod(cut.shape)
    row = 2 * (size + backbone.features)
    views = 1 if config.augment == "none" else config.views
    count = len(dataset.examples)
    wanted, reason = too_large(row, count, views)
    remembered = run.remembered("activations")
    if remembered is not None:
        reason = remembered["computed because"]
    kept = None
    if not reason:
        kept = frozen_encoder(config, backbone, prefix, cut=cut.unit, cut_size=size)
        if remembered is None and runtime.rank == 0 and not any(map(len, kept.stores)):
            files = [example.file for example in dataset.examples]
            reason = slower_from_disk(row, views, config.epochs, prefix, backbone, files)
    measured = reason
    reason = rank_0(runtime, lambda: measured)
    run.remember("activations", {"computed because": reason})
    progress.say(
        f"activations before {cut.unit}: about {wanted / 1e9:.2f} GB for {count:,} images, "
        + (f"{reason}: computed in every epoch" if reason else "kept in the cache")
    )
    return (
        None
        if reason
        else kept or frozen_encoder(config, backbone, prefix, cut=cut.unit, cut_size=size)
    )


def _augmented_in_memory(config: ResolvedConfig, backbone: Backbone) -> tuple[int, int]:
    """How far small images are moved, and the side of what is erased, in pixels."""
    # Images of a few pixels are moved about as they lie in memory, anew in every epoch; cutting
    # crops out of the file pays for larger ones.
    side = backbone.preprocess.height
    if side > SMALL or config.views == 1:
        return 0, 0
    shift = {"none": 0, "light": side // 16}.get(config.augment, side // 8)
    return shift, 3 * side // 8 if config.augment == "strong" else 0
