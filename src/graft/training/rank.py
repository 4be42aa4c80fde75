"""Which backbone? Each candidate's features judged on the user's own images."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import Dataset, Example, belonging, class_numbers
from graft.errors import DataError, GraftError
from graft.evaluation.intervals import share_interval
from graft.features.backends import LazyBackend
from graft.features.table import FeatureTable
from graft.models.backbone import resized
from graft.models.weights import find_backbone
from graft.quality.audit import check_listing
from graft.quality.label_errors import leave_fold_out, leave_one_out
from graft.quality.model_audit import read_and_check
from graft.training.prepare import stop_if_blocked
from graft.utils.progress import Progress

# Into which groups are dealt, and left out together.
FOLDS = 20


def rank(
    dataset: Dataset,
    backbones: Sequence[str],
    cache: Path,
    progress: Progress,
    seconds: float | None = None,
    backend: str = "auto",
) -> list[dict[str, Any]]:
    """A row a backbone, the best first: leave-one-out accuracy of a ridge regression on its frozen
    features, with a 95 % interval, over the usable images (one of each near copy) outside a
    given test split: a backbone chosen by its test images would make their figures too good.
    With groups it is cross-validated in FOLDS folds of whole groups.

    The features stay in the cache, so training on the winner starts with them. No further
    candidate is begun after `seconds`; one that cannot be had is a row with its `problem`.
    Raises DataError for images that cannot be trained on.
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
            found.append(_row(dataset, name, cache, progress, backend))
        except GraftError as error:
            if len(backbones) == 1:
                raise
            found.append({"backbone": name, "problem": str(error)})
    return sorted(found, key=lambda row: -row.get("accuracy", {}).get("value", -1.0))


def _row(
    dataset: Dataset, name: str, cache: Path, progress: Progress, backend: str
) -> dict[str, Any]:
    start = time.perf_counter()
    backbone = resized(find_backbone(name, cache), None)
    frozen = FeatureTable(cache, backbone, LazyBackend(backbone.build, backend), 1)
    audit = read_and_check(dataset, frozen, lambda index, digest: (0,), progress)
    stop_if_blocked(audit.findings(), dataset.source)
    again = {i for group in audit.copies().together() for i in group[1:]}
    again |= {i for group in audit.copies().equal for i in group[1:]}
    kept = [i for i in audit.usable() if i not in again and dataset.examples[i].split != "test"]
    examples = [dataset.examples[i] for i in kept]
    classes = sorted({example.label for example in examples})
    if len(classes) < 2:
        raise DataError(f"{dataset.source}: fewer than two classes have images outside of test")
    labels = class_numbers(examples, classes)
    features = frozen.gather([audit.digests[i] or b"" for i in kept])
    groups = _groups(examples)
    if groups is None:
        scores, _ = leave_one_out(features, labels, len(classes))
    else:
        scores = leave_fold_out(features, labels, len(classes), _folds(groups, labels))
    return {
        "backbone": name,
        "accuracy": _accuracy(scores.argmax(1), labels, groups),
        "n": len(labels),
        "parameters": backbone.parameters,
        "features": backbone.features,
        "seconds": round(time.perf_counter() - start, 2),
    }


def _groups(examples: Sequence[Example]) -> NDArray[np.int64] | None:
    """The number of each image's group (N,), of its own if it has none; None without groups.

    Raises DataError if all are of one group.
    """
    names = belonging((example.path, example.group) for example in examples)
    if names is None:
        return None
    numbers = np.unique(names, return_inverse=True)[1].astype(np.int64)
    if not numbers.any():
        raise DataError("all images are of one group: none can be judged by the others")
    return numbers


def _folds(groups: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The fold of each image (N,): groups dealt in a fixed random order, class by class."""
    _, first = np.unique(groups, return_index=True)
    order = np.lexsort((np.random.default_rng(0).permutation(len(first)), labels[first]))
    fold = np.empty(len(first), np.int64)
    fold[order] = np.arange(len(first)) % FOLDS
    return np.asarray(fold[groups])


def _accuracy(
    answers: NDArray[np.int64],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64] | None,
) -> dict[str, Any]:
    right = answers == labels
    low, high = share_interval(right, groups)
    method = "leave-one-out; Wilson, 95 %"
    if groups is not None:
        folds = min(FOLDS, int(groups.max()) + 1)
        method = f"{folds}-fold over groups; Jeffreys, groups by their design effect, 95 %"
    return {"value": float(right.mean()), "low": low, "high": high, "method": method}
