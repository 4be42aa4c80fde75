"""Seconds of each step of the audit but near-duplicates, for tables of images that do not exist."""

import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import show
from graft.data.dataset import Dataset, Example, class_numbers
from graft.data.groups import group_ids
from graft.features.activations import Activations
from graft.quality.appearance import appearance_findings
from graft.quality.class_sizes import class_size_findings
from graft.quality.duplicates import Duplicates, equal_groups
from graft.quality.listing import listing_findings
from graft.quality.looks import LOOKS
from graft.quality.lost_classes import lost_class_findings
from graft.quality.near_duplicates import clusters
from graft.quality.shortcuts import shortcut_findings

WIDTH = 64  # numbers a row of features


def long_tailed(count: int, classes: int, random: np.random.Generator) -> np.ndarray:
    """Labels (N,): the k-th class has 1 / k of what the first has, and each has one at least."""
    share = 1 / np.arange(1, classes + 1)
    labels = random.choice(classes, count, p=share / share.sum())
    labels[:classes] = np.arange(classes)
    return labels


def made(count: int, random: np.random.Generator) -> np.ndarray:
    """Fingerprints (N,) without thumbnails."""
    found = np.zeros(count, LOOKS)
    for name in ("width", "height", "bytes"):
        found[name] = random.integers(100, 4000, count)
    for name in ("mean", "border"):
        found[name] = random.uniform(0, 255, (count, 3))
    for name in ("spread", "border_spread"):
        found[name] = random.uniform(3, 60, count)
    found["sharpness"] = random.uniform(0, 1, count)
    found["camera"], found["format"] = random.integers(0, 200, count), 1
    return found


def features(labels: np.ndarray, folder: Path, random: np.random.Generator) -> Activations:
    """Rows (N, WIDTH) in a file, clustered by class."""
    middles = random.normal(0, 1, (int(labels.max()) + 1, WIDTH)).astype(np.float32)
    rows = np.lib.format.open_memmap(folder / "x.npy", "w+", np.float16, (len(labels), WIDTH))
    for start in range(0, len(labels), 2**15):
        own = middles[labels[start : start + 2**15]]
        rows[start : start + 2**15] = own + random.normal(0, 0.5, own.shape)
    return Activations.of(rows)


def steps(count: int, classes: int) -> None:
    """A line of seconds for each step; one in twenty images is stored twice, or nearly."""
    from graft.quality.label_errors import label_findings

    random = np.random.default_rng(0)
    labels = long_tailed(count, classes, random)
    examples = [
        Example(f"{k}/{i}.jpg", Path(f"{k}/{i}.jpg"), f"{k:05}")
        for i, k in enumerate(labels.tolist())
    ]
    dataset = Dataset("source", tuple(examples))
    digests = [n.to_bytes(32, "big") for n in random.integers(0, 10 * count, count).tolist()]
    pairs = np.sort(random.integers(0, count, (count // 20, 2)), 1)
    looks = made(count, random)
    spent: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = work()
        spent[name] = round(time.perf_counter() - start, 2)
        return result

    names = timed("class_names", lambda: dataset.classes)
    equal = timed("equal_groups", lambda: equal_groups(enumerate(digests)))
    near = timed("clusters", lambda: clusters(pairs, count))
    timed("group_ids", lambda: group_ids(examples, digests, near))
    timed("duplicates", lambda: Duplicates(examples, equal, near).findings())
    timed("listing", lambda: listing_findings(dataset))
    timed("lost_classes", lambda: lost_class_findings(dataset, range(count)))
    timed("class_sizes", lambda: class_size_findings(examples, "source", digests))
    timed("appearance", lambda: appearance_findings(examples, looks))
    numbers = timed("class_numbers", lambda: class_numbers(examples, names))
    timed("shortcuts", lambda: shortcut_findings(numbers, names, looks))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    with tempfile.TemporaryDirectory(prefix="graft-bench-") as folder:
        rows = features(numbers, Path(folder), random)
        timed("label_errors", lambda: label_findings(examples, numbers, names, rows))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    show(
        "steps",
        images=count,
        classes=classes,
        **spent,
        memory_mb=round(before),
        memory_with_label_errors_mb=round(after),
    )
