"""What the stages of a run share, and one stage: a fit with its history and checkpoints."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from graft.config import TrainConfig
from graft.models.backbone import Backbone
from graft.training.batches import turns
from graft.training.loop import Batches, Epoch, FitSettings, Resumable, fit
from graft.training.optim import Group
from graft.training.plan import Plan
from graft.training.prepare import Prepared
from graft.utils.progress import Progress

# Small sets take smaller steps, so that an epoch has several.
STEPS_AN_EPOCH = 8
SMALLEST_BATCH = 16


@dataclass
class Job:
    """What the stages of a run share."""

    prepared: Prepared
    plan: Plan
    config: TrainConfig
    run: Path
    progress: Progress
    resume: bool
    history: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def backbone(self) -> Backbone:
        """The backbone that is trained, or stays frozen."""
        return self.prepared.frozen.backbone

    def labels(self, split: str) -> NDArray[np.int64]:
        """The class numbers of a split, (n,)."""
        return self.prepared.labels[self.prepared.rows(split)]

    def batch_size(self) -> int:
        """Images a step of the main stage."""
        return batch_size(self.config.batch_size or 1, len(self.labels("train")))

    def turns(self, batch: int, epoch: int) -> list[NDArray[np.int64]]:
        """The rows of train of each batch of an epoch."""
        balanced = self.config.balance == "sampling"
        return turns(self.labels("train"), batch, self.config.seed, epoch, balanced)


def fit_stage(
    job: Job,
    stage: str,
    model: nn.Module,
    train: Callable[[int, int], Batches],
    steps: int,
    val: Callable[[], Batches],
    settings: FitSettings,
    groups: Sequence[Group] | None = None,
) -> list[Epoch]:
    """`fit`, its epochs written to history.jsonl and shown, its checkpoints kept in the run.

    Stages are "probe" and "fine-tune", or "fit" where there is but one.
    """
    progress = job.progress
    earlier = len(job.history)
    progress.start(
        {"fit": "fitting", "probe": "fitting the head"}.get(stage, "fine-tuning"),
        settings.epochs * steps,
    )
    news = ""

    def on_epoch(epoch: Epoch) -> None:
        nonlocal news
        line = {"stage": stage, **asdict(epoch)}
        line["epoch"] += earlier
        job.history.append(line)
        news = (
            f"epoch {epoch.epoch}: val accuracy {epoch.val_accuracy:.1%}, loss {epoch.val_loss:.3f}"
        )
        with (job.run / "history.jsonl").open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(line) + "\n")
        if job.plan.events:
            job.plan.events(line)

    def on_step(step: int, loss: float) -> None:
        progress.advance(step, news or f"loss {loss:.3f}")

    if job.config.balance == "weights":
        counts = np.bincount(job.labels("train"), minlength=len(job.prepared.classes))
        weights = counts.sum() / (len(counts) * np.maximum(counts, 1))
        settings = changed(settings, class_weights=tuple(float(w) for w in weights))
    described = [job.config.to_json(), stage, _data_identity(job.prepared), job.backbone.digest]
    history = fit(
        model,
        train,
        steps,
        val,
        settings,
        on_epoch,
        on_step,
        groups,
        Resumable(job.run / f".{stage}.safetensors", json.dumps(described), job.resume),
    )
    progress.finish()
    return history


def _data_identity(prepared: Prepared) -> str:
    key = hashlib.sha256()
    for digest, split, label in zip(
        prepared.digests, prepared.splits, prepared.labels, strict=True
    ):
        key.update(digest + f"{split} {label};".encode())
    return key.hexdigest()


def batch_size(most: int, images: int) -> int:
    """The batch: a power of two that gives about STEPS_AN_EPOCH steps, 16 to `most`."""
    wanted = 2 ** int(np.log2(max(1, images / STEPS_AN_EPOCH)))
    return int(min(most, max(SMALLEST_BATCH, wanted)))
