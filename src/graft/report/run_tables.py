"""The tables of a run's report: counts, and images picked to be shown."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from graft.data.dataset import SPLITS
from graft.evaluation.image_results import Answers, ImageResult
from graft.evaluation.intervals import wilson
from graft.quality.finding import SEVERITIES
from graft.report.numbers import measured
from graft.runs.confusion_counts import ConfusionCounts, Stored
from graft.runs.image_table import Images, ImageTable, coded
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


def split_counts(images: Images) -> dict[str, int]:
    """The number of images in each split: train, val, test, then any others."""
    codes, names = coded(images, "split")
    found = np.bincount(codes, minlength=len(names)).tolist()
    counts = Counter({name or UNUSED: n for name, n in zip(names, found, strict=True)})
    return {split: counts[split] for split in [*SPLITS, *sorted(set(counts) - set(SPLITS))]}


def class_counts(images: Images) -> list[ClassCount]:
    """The number of images of each class in each split, by class name."""
    codes, names = coded(images, "label")
    split_codes, splits = coded(images, "split")
    width = len(splits)
    # int64: of very many classes the cells are more than int32 can number.
    cells = np.bincount(codes.astype(np.int64) * width + split_codes, minlength=len(names) * width)
    rows = zip(map(str, names), cells.reshape(len(names), width).tolist(), strict=True)
    found = {
        name: Counter({split or UNUSED: n for split, n in zip(splits, row, strict=True) if n})
        for name, row in rows
    }
    return [ClassCount(name, found[name], found[name].total()) for name in sorted(found)]


def spread(items: Sequence[T], most: int) -> list[T]:
    """At most `most` of the items, taken evenly from first to last."""
    if len(items) <= most:
        return list(items)
    return [items[i * len(items) // most] for i in range(most)]


def samples(images: Images, label: str, most: int) -> list[str]:
    """The paths of at most `most` different images of a class, always the same ones.

    They come in the order of their checksums, which is as good as random; of a run whose table is
    on disk they are drawn with the seed 0.
    """
    if isinstance(images, ImageTable):
        codes, names = coded(images, "label")
        own = np.flatnonzero(codes == list(map(str, names)).index(label))
        drawn = np.random.default_rng(0).choice(own, min(most, len(own)), replace=False)
        return list(dict.fromkeys(row["path"] for row in images.take(drawn)))
    own_paths = {p.get("sha256") or p["path"]: p["path"] for p in images if p["label"] == label}
    return [path for _, path in sorted(own_paths.items())[:most]]


def mistakes(run: Run, most: int | None = None) -> list[ImageResult]:
    """The mistakes on the test split, the most confident first: all, or `most` of them."""
    answers = Answers.of(run, "test")
    return answers.results(answers.wrong, most)


def confusions(stored: Stored, classes: Sequence[str], most: int | None = None) -> list[Confusion]:
    """The pairs of classes that were confused, the most frequent first: all, or `most` of them;
    from `confusion` of metrics.json.
    """
    cells = ConfusionCounts.read(stored)
    rows = np.flatnonzero(cells.true != cells.answer)
    if most is not None and len(rows) > most:
        # Those as frequent as the last one, too: which of them is shown, their names decide.
        counts = cells.images[rows]
        rows = rows[counts >= np.partition(counts, -most)[-most]]
    found = []
    for i in rows.tolist():
        true, answer, count = (
            int(column[i]) for column in (cells.true, cells.answer, cells.images)
        )
        n = int(cells.of_class[true])
        found.append(Confusion(classes[true], classes[answer], count, n, *wilson(count, n)))
    return sorted(found, key=lambda c: (-c.count, c.n, c.label, c.predicted))[:most]


def confused_images(answers: Answers, pair: Confusion, most: int) -> list[str]:
    """The paths of at most `most` images of one confusion, the most confident first."""
    names = list(answers.classes)
    label, predicted = names.index(pair.label), names.index(pair.predicted)
    chosen = (answers.labels == label) & (answers.predicted == predicted)
    return [each.path for each in answers.results(chosen, most)]


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


def in_two_splits(images: Images, column: str) -> tuple[int, int]:
    """Of the values of a column that several images have in common, such as a group ID: how many
    there are, and how many of them occur in more than one split. A fair split has none of those.
    """
    codes, values = coded(images, column)
    split_codes, splits = coded(images, "split")
    used = np.array([bool(name) for name in splits], bool)[split_codes]
    if isinstance(values, list) and "" in values:
        used &= codes != values.index("")
    sizes = np.bincount(codes[used], minlength=len(values))
    seen = np.zeros(len(values), np.int8)
    for number, name in enumerate(splits):
        if name:
            seen += np.bincount(codes[used & (split_codes == number)], minlength=len(values)) > 0
    several = sizes > 1
    return int(several.sum()), int((several & (seen > 1)).sum())


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
