"""What the report counts and picks out of a run's files."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from graft.data.dataset import SPLITS
from graft.evaluation.intervals import wilson
from graft.quality.finding import SEVERITIES
from graft.report.numbers import measured
from graft.report.run_files import Record, RunFiles

UNUSED = "unused"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ClassCount:
    """How many images of one class each split holds."""

    name: str
    splits: Mapping[str, int]
    total: int


@dataclass(frozen=True, slots=True)
class Mistake:
    """A test image whose most probable class is not its label."""

    path: str
    label: str
    label_probability: float
    called: str
    probability: float


@dataclass(frozen=True, slots=True)
class Pair:
    """How often images of one class were called another: `count` of the class's `n`; `low` and
    `high` of that share by Wilson.
    """

    label: str
    called: str
    count: int
    n: int
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class IssueKind:
    """All findings of one kind."""

    name: str
    severity: str
    findings: list[Record]


def split_of(image: Mapping[str, str]) -> str:
    """The split an image is in; UNUSED if in none."""
    return image.get("split") or UNUSED


def split_counts(images: Sequence[Mapping[str, str]]) -> dict[str, int]:
    """Images a split: train, val, test, and whatever else there is."""
    counts = Counter(map(split_of, images))
    return {split: counts[split] for split in [*SPLITS, *sorted(set(counts) - set(SPLITS))]}


def class_counts(images: Sequence[Mapping[str, str]]) -> list[ClassCount]:
    """Images a class and split, in the order of the names."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for image in images:
        counts[image["label"]][split_of(image)] += 1
    return [ClassCount(name, counts[name], counts[name].total()) for name in sorted(counts)]


def spread(items: Sequence[T], most: int) -> list[T]:
    """At most `most` of the items, evenly through their order."""
    if len(items) <= most:
        return list(items)
    return [items[i * len(items) // most] for i in range(most)]


def samples(images: Sequence[Mapping[str, str]], label: str, most: int) -> list[str]:
    """The paths of a few different images of a class, as if drawn by lot, always the same ones.

    The order of the checksums has nothing to do with what is in the images.
    """
    own = {p.get("sha256") or p["path"]: p["path"] for p in images if p["label"] == label}
    return [path for _, path in sorted(own.items())[:most]]


def mistakes(run: RunFiles) -> list[Mistake]:
    """All mistakes on the test split, the most confident first."""
    called = run.probabilities.argmax(axis=1)
    found = [
        Mistake(
            run.tested[i],
            run.classes[run.labels[i]],
            float(run.probabilities[i, run.labels[i]]),
            run.classes[called[i]],
            float(run.probabilities[i, called[i]]),
        )
        for i in np.flatnonzero(called != run.labels)
    ]
    return sorted(found, key=lambda mistake: (-mistake.probability, mistake.path))


def confused_pairs(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> list[Pair]:
    """The confusions that happened, the most frequent first."""
    found = [
        Pair(classes[i], classes[j], row[j], sum(row), *wilson(row[j], sum(row)))
        for i, row in enumerate(confusion)
        for j in range(len(row))
        if i != j and row[j]
    ]
    return sorted(found, key=lambda p: (-p.count, p.n, p.label, p.called))


def confusions(mistakes: Sequence[Mistake], pair: Pair) -> list[str]:
    """The paths of the mistakes of one kind, the most confident first."""
    return [m.path for m in mistakes if (m.label, m.called) == (pair.label, pair.called)]


def suspects(findings: Sequence[Record]) -> list[str]:
    """The paths of likely wrong labels, the surest first."""
    return [
        path
        for finding in findings
        if finding["kind"] == "label_error"
        for path in finding["paths"]
    ]


def weakest_first(per_class: Mapping[str, Record]) -> list[str]:
    """The classes by F1, the lowest first; those without an image to measure them on come last."""

    def weakness(name: str) -> tuple[bool, float, str]:
        row = per_class[name]
        return not row["n"], measured(row["f1"]) or 0.0, name

    return sorted(per_class, key=weakness)


def best_epoch(history: Sequence[Record], kept: int | None = None) -> Record | None:
    """The epoch whose weights were kept: number `kept` where that is known, else the first with
    the lowest validation loss; None where none was measured.
    """
    known = [row for row in history if measured(row.get("val_loss")) is not None]
    known = [row for row in known if row["epoch"] == kept] or known
    return min(known, key=lambda row: float(row["val_loss"]), default=None)


def finding_kinds(findings: Sequence[Record]) -> list[IssueKind]:
    """The findings by kind, the severest first, otherwise in the order they were noticed."""
    kinds: defaultdict[tuple[int, str], list[Record]] = defaultdict(list)
    for finding in findings:
        kinds[SEVERITIES.index(finding["severity"]), finding["kind"]].append(finding)
    ordered = sorted(kinds.items(), key=lambda item: item[0][0])
    return [IssueKind(kind, SEVERITIES[level], found) for (level, kind), found in ordered]


def in_two_splits(images: Sequence[Mapping[str, str]], column: str) -> tuple[int, int]:
    """Of the values of a column that several images share: how many, and how many straddle splits.

    For `group` the second number is what a fair split keeps at nought; for `sha256` likewise.
    """
    sizes: Counter[str] = Counter()
    splits: defaultdict[str, set[str]] = defaultdict(set)
    for image in images:
        if (value := image.get(column)) and split_of(image) != UNUSED:
            sizes[value] += 1
            splits[value].add(split_of(image))
    shared = [value for value, size in sizes.items() if size > 1]
    return len(shared), sum(len(splits[value]) > 1 for value in shared)


def time_split(seconds: Mapping[str, float]) -> list[tuple[str, float]]:
    """The measured stages and the rest of the total, in seconds."""
    known = {
        "decode_and_backbone": "reading the images and running the backbone",
        "fit": "fitting the classifier",
    }
    stages = [
        (known.get(name, name.replace("_", " ")), value)
        for name, value in seconds.items()
        if name != "total" and value is not None
    ]
    rest = (seconds.get("total") or 0.0) - sum(value for _, value in stages)
    return [*stages, ("everything else", rest)] if stages and rest > 0.005 else stages
