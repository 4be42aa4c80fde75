"""Which backbone? Each candidate's frozen features tested on the user's own images."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.choices import PixelScale
from graft.config import SplitConfig
from graft.data.dataset import Dataset, class_numbers
from graft.data.groups import GIVEN, group_ids, numbered
from graft.errors import DataError, GraftError
from graft.evaluation.folds import deal
from graft.evaluation.intervals import fraction_interval
from graft.features.backends import backend_of
from graft.features.cached_encoder import CachedEncoder
from graft.features.table import FeatureTable, extract
from graft.models.backbone import resized
from graft.models.network_file import FILE
from graft.models.weights import find_backbone
from graft.quality.audit import Audit, audit
from graft.quality.finding import raise_if_blocked
from graft.quality.label_errors import leave_fold_out, leave_one_out
from graft.quality.listing import check_listing
from graft.training.head_fit import features_of
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
    pixels: PixelScale | None = None,
) -> list[dict[str, Any]]:
    """A row a backbone, the best first: leave-one-out accuracy of a ridge regression on its frozen
    features, with a 95 % interval, over the usable images (one of each near copy) outside a
    given test split: a backbone chosen by its test images would make their figures too good.
    With groups it is cross-validated in FOLDS folds of whole groups.

    The features stay in the cache, so training on the winner starts with them. No further
    candidate is begun after `seconds`; one that cannot be had is a row with its `problem`.
    `pixels`, of those that are files, as in find_backbone.

    Raises DataError for images that cannot be trained on.
    """
    raise_if_blocked(check_listing(dataset), dataset.source)
    began = time.perf_counter()
    found: list[dict[str, Any]] = []
    for name in backbones:
        if seconds is not None and found and time.perf_counter() - began > seconds:
            found.append({"backbone": name, "problem": "not begun: the time budget was spent"})
            continue
        progress.say(f"{name}:")
        try:
            found.append(_row(dataset, name, cache, progress, backend, pixels))
        except GraftError as error:
            if len(backbones) == 1:
                raise
            found.append({"backbone": name, "problem": str(error)})
    return sorted(found, key=lambda row: -row.get("accuracy", {}).get("value", -1.0))


def _row(
    dataset: Dataset,
    name: str,
    cache: Path,
    progress: Progress,
    backend: str,
    pixels: PixelScale | None,
) -> dict[str, Any]:
    start = time.perf_counter()
    backbone = resized(find_backbone(name, cache, pixels if name.startswith(FILE) else None), None)
    encoder = CachedEncoder(cache, backbone, backend_of(backbone, backend), 1)
    table = extract(dataset, encoder, SplitConfig(), progress)
    audited = audit(dataset, table, cache, labels=False)
    progress.say_all(f"{finding.kind}: {finding.message}" for finding in audited.findings)
    raise_if_blocked(audited.findings, dataset.source)
    table, groups = _ranked_on(table, audited)
    labels = class_numbers(table.dataset.examples, table.dataset.classes)
    count = len(table.dataset.classes)
    features = features_of(table, np.arange(len(table)))
    if groups is None:
        scores, _ = leave_one_out(features, labels, count)
    else:
        fold, _ = deal(groups, labels, min(FOLDS, int(groups.max()) + 1), 0)
        scores = leave_fold_out(features, labels, count, fold)
    return {
        "backbone": name,
        "accuracy": _accuracy(scores.argmax(1), labels, groups),
        "n": len(labels),
        "parameters": backbone.parameters,
        "features": backbone.features,
        "seconds": round(time.perf_counter() - start, 2),
    }


def _ranked_on(
    table: FeatureTable, audited: Audit
) -> tuple[FeatureTable, NDArray[np.int64] | None]:
    """The usable images outside a given test split, one of each copy, and the numbers (n,) of
    their groups; None where the source gives no groups.

    Raises DataError for fewer than two classes, or images of one group alone.
    """
    examples = table.dataset.examples
    copies = group_ids(
        [replace(example, group=None) for example in examples],
        [digest or b"%d" % row for row, digest in enumerate(table.digests)],
        audited.near,
    )
    first = {copies[i]: i for i in reversed(audited.usable)}
    kept = [i for i in audited.usable if first[copies[i]] == i and examples[i].split != "test"]
    table = table.select(kept)
    if len(table.dataset.classes) < 2:
        raise DataError(
            f"{table.dataset.source}: fewer than two classes have images outside of test"
        )
    ids = group_ids(table.dataset.examples, [table.digest(i) for i in range(len(table))])
    if not any(name.startswith(GIVEN) for name in ids):
        return table, None
    groups = numbered(ids)
    if not groups.any():
        raise DataError("all images are of one group: no other group can test it")
    return table, groups


def _accuracy(
    answers: NDArray[np.int64],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64] | None,
) -> dict[str, Any]:
    right = answers == labels
    low, high = fraction_interval(right, groups)
    method = "leave-one-out; Wilson, 95 %"
    if groups is not None:
        folds = min(FOLDS, int(groups.max()) + 1)
        method = f"{folds}-fold over groups; Jeffreys, groups by their design effect, 95 %"
    return {"value": float(right.mean()), "low": low, "high": high, "method": method}
