"""Which backbone? Each candidate's features judged on the user's own pictures."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from graft.data.checks import check_listing
from graft.data.dataset import Dataset, class_numbers
from graft.errors import GraftError
from graft.evaluation.intervals import wilson
from graft.learning.audit import read_and_check
from graft.learning.frozen import Frozen
from graft.learning.judge import leave_one_out
from graft.learning.prepare import stop_if_blocked
from graft.models.backbone import find_backbone, resized
from graft.models.engine import LazyEngine
from graft.progress import Progress


def rank(
    dataset: Dataset,
    backbones: Sequence[str],
    cache: Path,
    progress: Progress,
    seconds: float | None = None,
    engine: str = "auto",
) -> list[dict[str, Any]]:
    """A row a backbone, the best first: leave-one-out accuracy of a ridge regression on its frozen
    features, with a 95 % interval, over the usable pictures (one of each near copy).

    The features stay in the cache, so training on the winner starts with them. No further
    candidate is begun after `seconds`; one that cannot be had is a row with its `problem`.
    Raises DataError for pictures that cannot be trained on.
    """
    stop_if_blocked(check_listing(dataset), dataset.source)
    began = time.perf_counter()
    found: list[dict[str, Any]] = []
    for name in backbones:
        if seconds is not None and found and time.perf_counter() - began > seconds:
            found.append({"backbone": name, "problem": "not begun: the time budget was spent"})
            continue
        progress.say(f"{name}:")
        try:
            found.append(_row(dataset, name, cache, progress, engine))
        except GraftError as error:
            if len(backbones) == 1:
                raise
            found.append({"backbone": name, "problem": str(error)})
    return sorted(found, key=lambda row: -row.get("accuracy", {}).get("value", -1.0))


def _row(
    dataset: Dataset, name: str, cache: Path, progress: Progress, engine: str
) -> dict[str, Any]:
    start = time.perf_counter()
    backbone = resized(find_backbone(name, cache), None)
    frozen = Frozen(cache, backbone, LazyEngine(backbone.build, engine), 1)
    audit = read_and_check(dataset, frozen, lambda index, digest: (0,), progress)
    stop_if_blocked(audit.issues(), dataset.source)
    again = {i for group in audit.copies().together() for i in group[1:]}
    again |= {i for group in audit.copies().equal for i in group[1:]}
    kept = [i for i in audit.usable() if i not in again]
    classes = sorted({dataset.examples[i].label for i in kept})
    labels = class_numbers((dataset.examples[i] for i in kept), classes)
    scores, _ = leave_one_out(
        frozen.gather([audit.digests[i] or b"" for i in kept]), labels, len(classes)
    )
    right = int((scores.argmax(1) == labels).sum())
    low, high = wilson(right, len(labels))
    return {
        "backbone": name,
        "accuracy": {"value": right / len(labels), "low": low, "high": high},
        "n": len(labels),
        "parameters": backbone.parameters,
        "features": backbone.features,
        "seconds": round(time.perf_counter() - start, 2),
    }
