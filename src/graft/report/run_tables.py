"""The tables of a run's report: counts, and images picked to be shown."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from graft.data.dataset import SPLITS
from graft.evaluation.image_results import ImageResult, image_results
from graft.evaluation.intervals import wilson
from graft.quality.finding import SEVERITIES
from graft.report.numbers import measured
from graft.runs.run import Record, Run

UNUSED = "unused"
# Kinds of findings whose names are not words yet.
NAMES = {
    "near_duplicates": "near-duplicates",
    "near_two_labels": "near-duplicates with two labels",
    "near_two_splits": "near-duplicates in two splits",
    "group_two_splits": "group in two splits",
    "few": "few images",
    "too_few": "too few images",
}
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ClassCount:
    """The number of images of one class in each split."""

    name: str
    splits: Mapping[str, int]
    total: int


@dataclass(frozen=True, slots=True)
class Confusion:
    """Two classes that are confused: of the `n` test images of class `label`, `count` are predicted
    as `predicted`; `low` to `high` is Wilson's 95 % interval of that fraction.
    """

    label: str
    predicted: str
    count: int
    n: int
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class FindingKind:
    """All findings of one kind."""

    name: str
    severity: str
    findings: list[Record]


def split_of(image: Mapping[str, str]) -> str:
    """The split that an image is in, or UNUSED."""
    return image.get("split") or UNUSED


def split_counts(images: Sequence[Mapping[str, str]]) -> dict[str, int]:
    """The number of images in each split: train, val, test, then any others."""
    counts = Counter(map(split_of, images))
    return {split: counts[split] for split in [*SPLITS, *sorted(set(counts) - set(SPLITS))]}


def class_counts(images: Sequence[Mapping[str, str]]) -> list[ClassCount]:
    """The number of images of each class in each split, by class name."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for image in images:
        counts[image["label"]][split_of(image)] += 1
    return [ClassCount(name, counts[name], counts[name].total()) for name in sorted(counts)]


def spread(items: Sequence[T], most: int) -> list[T]:
    """At most `most` of the items, taken evenly from first to last."""
    if len(items) <= most:
        return list(items)
    return [items[i * len(items) // most] for i in range(most)]


def samples(images: Sequence[Mapping[str, str]], label: str, most: int) -> list[str]:
    """The paths of at most `most` different images of a class, always the same ones.

    They come in the order of their checksums, which is as good as random.
    """
    own = {p.get("sha256") or p["path"]: p["path"] for p in images if p["label"] == label}
    return [path for _, path in sorted(own.items())[:most]]


def mistakes(run: Run) -> list[ImageResult]:
    """All mistakes on the test split, the most confident first."""
    return [each for each in image_results(run, "test") if not each.correct]


def confusions(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> list[Confusion]:
    """The pairs of classes that were confused, the most frequent first."""
    found = [
        Confusion(classes[i], classes[j], row[j], sum(row), *wilson(row[j], sum(row)))
        for i, row in enumerate(matrix)
        for j in range(len(row))
        if i != j and row[j]
    ]
    return sorted(found, key=lambda c: (-c.count, c.n, c.label, c.predicted))


def confused_images(mistakes: Sequence[ImageResult], pair: Confusion) -> list[str]:
    """The paths of the images of one confusion, the most confident first."""
    return [m.path for m in mistakes if (m.label, m.predicted) == (pair.label, pair.predicted)]


def label_errors(findings: Sequence[Record]) -> list[str]:
    """The paths of probable label errors, the surest first."""
    return [
        path
        for finding in findings
        if finding["kind"] == "label_error"
        for path in finding["paths"]
    ]


def weakest_first(per_class: Mapping[str, Record]) -> list[str]:
    """The classes by F1, the lowest first; those without test images come last."""

    def weakness(name: str) -> tuple[bool, float, str]:
        row = per_class[name]
        return not row["n"], measured(row["f1"]) or 0.0, name

    return sorted(per_class, key=weakness)


def best_epoch(history: Sequence[Record], kept: int | None = None) -> Record | None:
    """The epoch whose weights were kept: number `kept` if it is known, else the one with the lowest
    validation loss; None if no validation loss was recorded.
    """
    known = [row for row in history if measured(row.get("val_loss")) is not None]
    known = [row for row in known if row["epoch"] == kept] or known
    return min(known, key=lambda row: float(row["val_loss"]), default=None)


def finding_name(kind: str) -> str:
    """A kind of finding as words."""
    return NAMES.get(kind, kind.replace("_", " "))


def finding_kinds(findings: Sequence[Record]) -> list[FindingKind]:
    """The findings by kind, the most severe first, else in the order of the list."""
    kinds: defaultdict[tuple[int, str], list[Record]] = defaultdict(list)
    for finding in findings:
        kinds[SEVERITIES.index(finding["severity"]), finding["kind"]].append(finding)
    ordered = sorted(kinds.items(), key=lambda item: item[0][0])
    return [FindingKind(kind, SEVERITIES[level], found) for (level, kind), found in ordered]


def in_two_splits(images: Sequence[Mapping[str, str]], column: str) -> tuple[int, int]:
    """Of the values of a column that several images have in common, such as a group ID: how many
    there are, and how many of them occur in more than one split. A fair split has none of those.
    """
    sizes: Counter[str] = Counter()
    splits: defaultdict[str, set[str]] = defaultdict(set)
    for image in images:
        if (value := image.get(column)) and split_of(image) != UNUSED:
            sizes[value] += 1
            splits[value].add(split_of(image))
    several = [value for value, size in sizes.items() if size > 1]
    return len(several), sum(len(splits[value]) > 1 for value in several)


def time_split(seconds: Mapping[str, float]) -> list[tuple[str, float]]:
    """Seconds spent in each stage, and on the rest."""
    known = {
        "decode_and_backbone": "reading images and running the backbone",
        "fit": "training",
    }
    stages = [
        (known.get(name, name.replace("_", " ")), value)
        for name, value in seconds.items()
        if name != "total" and value is not None
    ]
    rest = (seconds.get("total") or 0.0) - sum(value for _, value in stages)
    return [*stages, ("everything else", rest)] if stages and rest > 0.005 else stages
