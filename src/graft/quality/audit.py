"""The audit: everything that is wrong with a dataset, found in one place."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from graft.data.dataset import Dataset, class_numbers
from graft.features.table import FeatureTable
from graft.quality.appearance import appearance_findings
from graft.quality.class_sizes import class_size_findings
from graft.quality.duplicates import Duplicates, crowd_findings, equal_groups
from graft.quality.finding import Finding, by_severity
from graft.quality.listing import listing_findings
from graft.quality.looks import TableThumbnails, looks_of
from graft.quality.lost_classes import lost_class_findings
from graft.quality.near_cache import (
    LARGE,
    NearClusters,
    near_clusters,
    near_clusters_of_many,
)
from graft.quality.shortcuts import shortcut_findings
from graft.quality.unreadable import unreadable_findings
from graft.utils.progress import SILENT, Progress


@dataclass(frozen=True)
class Audit:
    """What the audit found.

    `findings`: the most severe first. `usable`: positions of the images that can be decoded and
    have one label. `near`: clusters of near-duplicates, positions with every byte-equal copy.
    """

    findings: tuple[Finding, ...]
    usable: list[int]
    near: list[list[int]]


def audit(
    dataset: Dataset,
    table: FeatureTable,
    cache: Path | None = None,
    *,
    labels: bool = True,
    confirmed: Collection[bytes] = (),
    progress: Progress = SILENT,
) -> Audit:
    """Find what is wrong with the images of a dataset, given their rows in `table`.

    `cache` keeps the near-duplicates, which take as long to find as a head to fit; for more than
    LARGE images `progress` is told of the search. Label errors and outliers need a table with
    features; `labels=False` leaves them out all the same. Images whose sha256 is `confirmed` are
    neither: a person has looked at them.
    """
    examples = dataset.examples
    readable = [i for i in range(len(examples)) if i not in table.problems]
    equal = equal_groups((i, table.digests[i]) for i in readable)
    if len(readable) <= LARGE:
        looks = table.fingerprints(readable)
        found = NearClusters(near_clusters(readable, looks, equal, cache))
    else:
        looks, gray = looks_of(table, readable), TableThumbnails(table, readable)
        digests = [table.digests[i] for i in readable]
        found = near_clusters_of_many(readable, looks, gray, digests, equal, cache, progress)
    near = found.clusters
    duplicates = Duplicates(examples, equal, near, readable)
    two_labels = duplicates.two_labels()
    usable = [i for i in readable if i not in two_labels]

    shown = [examples[i] for i in readable]
    kept = [examples[i] for i in usable]
    units = [examples[i].group or table.digests[i] for i in usable]
    findings = [
        *listing_findings(dataset),
        *lost_class_findings(dataset, usable, table.problems),
        *unreadable_findings(examples, table.problems),
        *duplicates.findings(),
        *crowd_findings(found.crowd),
        *appearance_findings(shown, looks),
        *shortcut_findings(class_numbers(shown, dataset.classes), dataset.classes, looks),
        *class_size_findings(kept, dataset.source, units),
    ]
    if labels and (features := table.features(usable)) is not None:
        # Here, because it imports PyTorch, which takes as long as a small check.
        from graft.quality.label_errors import label_findings

        classes = sorted({example.label for example in kept})
        seen = np.array([table.digests[i] in confirmed for i in usable], bool)
        numbers = class_numbers(kept, classes)
        findings += label_findings(kept, numbers, classes, features, seen)
    return Audit(by_severity(findings), usable, near)
