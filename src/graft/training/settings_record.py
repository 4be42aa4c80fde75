"""What a run keeps of how it was made: config.json, and which fit a checkpoint belongs to."""

import hashlib
import sys
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from graft.config import ResolvedConfig, SplitConfig, TrainConfig
from graft.data.dataset import Dataset
from graft.data.reader import cores
from graft.data.remote_address import public_address
from graft.data.split import Split
from graft.features.table import FeatureTable
from graft.models.backbone import Backbone, new_body
from graft.models.runtime import Runtime
from graft.training.block_shuffle import in_memory
from graft.training.plan import WITHOUT_IMAGES, Plan
from graft.training.stages import Trained
from graft.utils.json_digest import json_digest

PACKAGES = ("graft", "torch", "timm", "openvino", "pillow", "numpy")


def settings_record(
    source: str | Path,
    asked: TrainConfig,
    split_config: SplitConfig,
    runtime: Runtime,
    plan: Plan,
    split: Split,
    notes: Sequence[str],
    started: datetime,
) -> dict[str, Any]:
    """config.json: settings as asked and as resolved, versions, device, seed."""
    backend = plan.encoder.backend
    versions = {name: version(name) for name in PACKAGES}
    return {
        "source": public_address(source),
        "settings": {**asked.to_json(), **split_config.to_json()},
        "resolved": {**plan.config.to_json(), **split_config.to_json()},
        "notes": list(split.notes),
        "training_notes": [*notes, *([WITHOUT_IMAGES] if plan.encoder.shards else [])],
        "graft": version("graft"),
        "versions": versions | {"python": sys.version.split()[0]},
        "device": str(runtime.device),
        "processes": runtime.world,
        "backend": plan.encoder.engine if backend else "torch",
        "threads": cores(),
        "seed": asked.seed,
        "started": started.isoformat(timespec="seconds"),
    }


def described_fit(
    config: ResolvedConfig,
    split_config: SplitConfig,
    backbone: Backbone,
    split: Split,
    table: FeatureTable,
) -> dict[str, Any]:
    """What is fitted: settings, and digests of the images with their splits and labels and of the
    network.
    """
    key = hashlib.sha256()
    for digest, name, label in zip(table.digests, split.assignment, split.labels, strict=True):
        key.update((digest or b"") + f"{name} {label};".encode())
    settings = {**config.to_json(), **split_config.to_json()}
    found = table.features(split.rows("train"))
    if found is not None and table.encoder and not in_memory([found] * table.encoder.views):
        # Another machine may shuffle in another way.
        settings["shuffle"] = "blocks"
        key.update(b"blocks")
    return {
        "settings": settings,
        "images": key.hexdigest(),
        "network": backbone.digest,
    }


def dataset_digest(dataset: Dataset) -> str:
    """How many images a listing has, and a digest of their paths and labels."""
    told = [[e.path, e.label, e.split, e.group] for e in dataset.examples]
    return f"{len(told):,} of digest {json_digest(told)[:12]}"


def trained_parameters(plan: Plan, trained: Trained) -> int:
    """How many parameters of the classifier were trained."""
    head = sum(p.numel() for p in trained.head.parameters())
    if trained.encoder_state is None:
        return head
    if plan.cut:
        return head + plan.cut.parameters[0]
    # deep_cnn's whitening filters are computed, not learned.
    body = new_body(plan.backbone.architecture, plan.backbone.arguments)
    return head + sum(p.numel() for p in body.parameters() if p.requires_grad)
