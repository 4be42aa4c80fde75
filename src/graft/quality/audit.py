"""What is wrong with the images, by file, before and after they have been read."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from graft.data.dataset import (
    BLOCKING,
    MATTERS,
    SEVERITIES,
    Dataset,
    Example,
    Finding,
    class_numbers,
)
from graft.data.fingerprint import FINGERPRINT, Fingerprints
from graft.data.reader import Loaded
from graft.data.split import FEWEST_PER_CLASS
from graft.errors import DataError
from graft.features.table import FeatureTable
from graft.quality.appearance import images, look_findings
from graft.quality.duplicates import Copies, equal_groups
from graft.quality.near_duplicates import Ints, near_pairs
from graft.quality.shortcuts import shortcut_findings

# Below this many images a class, the interval of its recall is wider than ±20 points.
FEW_PER_CLASS = 30
# A class this many times as large as the smallest is told.
UNEVEN = 10

_PROBLEMS = {
    "empty": "no bytes in the file; copy it again from where it came from",
    "truncated": "cut short; copy it again from where it came from",
    "unreadable": "cannot be read as an image; open and save it again, or remove it",
    "oversized": "larger than graft decodes (a decompression bomb, or to be scaled down first)",
}


def check_listing(dataset: Dataset) -> list[Finding]:
    """The findings that a listing alone shows: no images, one class, classes too small."""
    return [*dataset.findings, *_class_findings(dataset.examples, dataset.source)]


class _Collector:
    """Collects what the one reading pass over the files shows, then says what is wrong.

    Feed every Loaded of `stream` to `note`, then all fingerprints to `look`; `findings()` tells all
    there is to tell and `usable()` which examples may be learned from.
    """

    def __init__(self, dataset: Dataset):
        self.dataset = dataset
        self.digests: list[bytes | None] = [None] * len(dataset.examples)
        self.problems: dict[int, tuple[str, str]] = {}
        self.positions: Sequence[int] = ()
        self.fingerprints: Fingerprints = np.empty(0, FINGERPRINT)
        self._copies: Copies | None = None

    def note(self, loaded: Loaded) -> None:
        """Take in one file's outcome."""
        self.digests[loaded.index] = loaded.digest
        if loaded.problem is not None:
            self.problems[loaded.index] = (loaded.problem.kind, str(loaded.problem))

    def readable(self) -> list[int]:
        """Positions of the examples that could be decoded."""
        return [i for i in range(len(self.digests)) if i not in self.problems]

    def usable(self) -> list[int]:
        """Positions of the examples that are readable and stand under one label only."""
        two_labels = self.copies().two_labels()
        return [i for i in self.readable() if i not in two_labels]

    def findings(self) -> list[Finding]:
        """Every finding, the blocking ones first."""
        examples = self.dataset.examples
        found = list(self.dataset.findings)
        by_kind: dict[str, list[int]] = defaultdict(list)
        for index, (kind, _) in sorted(self.problems.items()):
            by_kind[kind].append(index)
        for kind, indices in by_kind.items():
            first = self.problems[indices[0]][1]
            found.append(
                Finding(
                    kind,
                    MATTERS,
                    tuple(examples[i].path for i in indices),
                    f"{images(len(indices))} {_PROBLEMS[kind]}; kept out "
                    f"(the first: {examples[indices[0]].path} {first})",
                )
            )
        found += self.copies().findings()
        found += self._look_findings()
        usable = set(self.usable())
        kept = [example for i, example in enumerate(examples) if i in usable]
        units = {i: (examples[i].group or self.digests[i]) for i in usable}
        found += _class_findings(
            kept, self.dataset.source, {id(examples[i]): unit for i, unit in units.items()}
        )
        return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))

    def copies(self) -> Copies:
        """The images that are there more than once; near ones once `look` was called."""
        if self._copies is None:
            readable = ((i, d) for i, d in enumerate(self.digests) if d and i not in self.problems)
            self._copies = Copies(self.dataset.examples, equal_groups(readable))
        return self._copies

    def look(
        self,
        positions: Sequence[int],
        fingerprints: Fingerprints,
        find: Callable[[Fingerprints], Ints] = near_pairs,
    ) -> None:
        """Take in what the readable images look like, and `find` near duplicates."""
        self.positions, self.fingerprints = positions, fingerprints
        self.copies().look(positions, fingerprints, find)

    def _look_findings(self) -> list[Finding]:
        if not len(self.positions):
            return []
        examples = [self.dataset.examples[i] for i in self.positions]
        classes = self.dataset.classes
        labels = class_numbers(examples, classes)
        return look_findings(examples, self.fingerprints) + shortcut_findings(
            labels, classes, self.fingerprints
        )


def _class_findings(
    examples: Sequence[Example], source: str, unit_of: dict[int, str | bytes | None] | None = None
) -> list[Finding]:
    if not examples:
        return [
            Finding(
                "no_images",
                BLOCKING,
                (),
                f"{source} holds no usable image below a class folder; expected "
                "SOURCE/CLASS/image.jpg",
            )
        ]
    by_class: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        by_class[example.label].append(example)
    findings = []
    if len(by_class) < 2:
        only = next(iter(by_class))
        findings.append(
            Finding(
                "one_class",
                BLOCKING,
                (),
                f"all images are of one class ({only!r}); a classifier needs two or more, each "
                "in a folder of its own",
            )
        )
    sizes = {label: len(members) for label, members in by_class.items()}
    most, least = max(sizes, key=lambda c: sizes[c]), min(sizes, key=lambda c: sizes[c])
    if sizes[most] >= UNEVEN * sizes[least] and sizes[least] >= FEWEST_PER_CLASS:
        findings.append(
            Finding(
                "imbalance",
                MATTERS,
                (),
                f"class {most!r} has {sizes[most]:,} images, {least!r} {sizes[least]:,}: the "
                f"classifier will seldom answer {least!r}, and accuracy will hide it; add images "
                "of it, or train with --balance weights",
            )
        )
    given = {example.split for example in examples} - {None}
    split_given = given == {"train", "val", "test"}
    for label, members in sorted(by_class.items()):
        units = {unit_of[id(e)] if unit_of else e.path for e in members}
        paths = tuple(example.path for example in members)
        if "train" in given and not any(example.split in ("train", None) for example in members):
            findings.append(
                Finding(
                    "too_few",
                    BLOCKING,
                    paths,
                    f"class {label!r} has no image in train, so it cannot be learned",
                )
            )
        elif not split_given and len(units) < FEWEST_PER_CLASS:
            findings.append(
                Finding(
                    "too_few",
                    BLOCKING,
                    paths,
                    f"class {label!r} has {len(units)} different usable "
                    f"{'image' if len(units) == 1 else 'images'}, a three-way split needs at "
                    f"least {FEWEST_PER_CLASS}; add some, or remove the class",
                )
            )
            continue
        if len(units) < FEW_PER_CLASS:
            findings.append(
                Finding(
                    "few",
                    MATTERS,
                    (),
                    f"class {label!r} has {images(len(units))} only: its precision and recall "
                    "will be uncertain by tens of points",
                )
            )
    return findings


@dataclass(frozen=True)
class Audit:
    """Stand-in until the audit is one function."""

    findings: tuple[Finding, ...]
    usable: list[int]
    near: list[list[int]]


def audit(dataset: Dataset, table: FeatureTable) -> Audit:
    """Stand-in until the audit is one function."""
    from graft.quality.model_audit import judge, near_of

    collector = _Collector(dataset)
    collector.digests = list(table.digests)
    collector.problems = {i: (p.kind, str(p)) for i, p in table.problems.items()}
    seen = table.readable()
    collector.look(seen, table.fingerprints(seen), near_of)
    usable = collector.usable()
    findings = [*collector.findings(), *judge(table, usable)]
    return Audit(tuple(findings), usable, collector.copies().together())


def raise_if_blocked(findings: Sequence[Finding], source: str) -> None:
    """Raise DataError with every blocking finding's message."""
    blocking = [finding.message for finding in findings if finding.blocking]
    if blocking:
        raise DataError(f"{source} cannot be trained on: {'; '.join(blocking)}")
