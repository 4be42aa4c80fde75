"""What is wrong with the pictures, by file, before and after they have been read."""

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from graft.data.copies import Copies, equal_groups
from graft.data.dataset import BLOCKING, MATTERS, SEVERITIES, Dataset, Example, Issue, class_numbers
from graft.data.looks import look_issues, pictures
from graft.data.near import Ints, near_pairs
from graft.data.shortcut import shortcut_issues
from graft.data.sketch import SKETCH, Sketches
from graft.data.split import FEWEST_PER_CLASS
from graft.data.stream import Loaded

# Below this many pictures a class, the interval of its recall is wider than ±20 points.
FEW_PER_CLASS = 30
# A class this many times as large as the smallest is told.
UNEVEN = 10

_PROBLEMS = {
    "empty": "no bytes in the file; copy it again from where it came from",
    "truncated": "cut short; copy it again from where it came from",
    "unreadable": "cannot be read as a picture; open and save it again, or remove it",
    "oversized": "larger than graft decodes (a decompression bomb, or to be scaled down first)",
}


def check_listing(dataset: Dataset) -> list[Issue]:
    """The issues that a listing alone shows: no images, one class, classes too small."""
    return [*dataset.issues, *_class_issues(dataset.examples, dataset.source)]


class Audit:
    """Collects what the one reading pass over the files shows, then says what is wrong.

    Feed every Loaded of `stream` to `note`, then all sketches to `look`; `issues()` tells all
    there is to tell and `usable()` which examples may be learned from.
    """

    def __init__(self, dataset: Dataset):
        self.dataset = dataset
        self.digests: list[bytes | None] = [None] * len(dataset.examples)
        self.problems: dict[int, tuple[str, str]] = {}
        self.positions: Sequence[int] = ()
        self.sketches: Sketches = np.empty(0, SKETCH)
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

    def issues(self) -> list[Issue]:
        """Every issue, the blocking ones first."""
        examples = self.dataset.examples
        found = list(self.dataset.issues)
        by_kind: dict[str, list[int]] = defaultdict(list)
        for index, (kind, _) in sorted(self.problems.items()):
            by_kind[kind].append(index)
        for kind, indices in by_kind.items():
            first = self.problems[indices[0]][1]
            found.append(
                Issue(
                    kind,
                    MATTERS,
                    tuple(examples[i].path for i in indices),
                    f"{pictures(len(indices))} {_PROBLEMS[kind]}; kept out "
                    f"(the first: {examples[indices[0]].path} {first})",
                )
            )
        found += self.copies().issues()
        found += self._look_issues()
        usable = set(self.usable())
        kept = [example for i, example in enumerate(examples) if i in usable]
        units = {i: (examples[i].group or self.digests[i]) for i in usable}
        found += _class_issues(
            kept, self.dataset.source, {id(examples[i]): unit for i, unit in units.items()}
        )
        return sorted(found, key=lambda issue: SEVERITIES.index(issue.severity))

    def copies(self) -> Copies:
        """The pictures that are there more than once; near ones once `look` was called."""
        if self._copies is None:
            readable = ((i, d) for i, d in enumerate(self.digests) if d and i not in self.problems)
            self._copies = Copies(self.dataset.examples, equal_groups(readable))
        return self._copies

    def look(
        self,
        positions: Sequence[int],
        sketches: Sketches,
        find: Callable[[Sketches], Ints] = near_pairs,
    ) -> None:
        """Take in what the readable pictures look like, and `find` near duplicates."""
        self.positions, self.sketches = positions, sketches
        self.copies().look(positions, sketches, find)

    def _look_issues(self) -> list[Issue]:
        if not len(self.positions):
            return []
        examples = [self.dataset.examples[i] for i in self.positions]
        classes = self.dataset.classes
        labels = class_numbers(examples, classes)
        return look_issues(examples, self.sketches) + shortcut_issues(
            labels, classes, self.sketches
        )


def _class_issues(
    examples: Sequence[Example], source: str, unit_of: dict[int, str | bytes | None] | None = None
) -> list[Issue]:
    if not examples:
        return [
            Issue(
                "no_images",
                BLOCKING,
                (),
                f"{source} holds no usable picture below a class folder; expected "
                "SOURCE/CLASS/picture.jpg",
            )
        ]
    by_class: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        by_class[example.label].append(example)
    issues = []
    if len(by_class) < 2:
        only = next(iter(by_class))
        issues.append(
            Issue(
                "one_class",
                BLOCKING,
                (),
                f"all pictures are of one class ({only!r}); a classifier needs two or more, each "
                "in a folder of its own",
            )
        )
    sizes = {label: len(members) for label, members in by_class.items()}
    most, least = max(sizes, key=lambda c: sizes[c]), min(sizes, key=lambda c: sizes[c])
    if sizes[most] >= UNEVEN * sizes[least] and sizes[least] >= FEWEST_PER_CLASS:
        issues.append(
            Issue(
                "imbalance",
                MATTERS,
                (),
                f"class {most!r} has {sizes[most]:,} pictures, {least!r} {sizes[least]:,}: the "
                f"classifier will seldom answer {least!r}, and accuracy will hide it; add pictures "
                "of it, or train with --balance weights",
            )
        )
    given = {example.part for example in examples} - {None}
    split_given = given == {"train", "val", "test"}
    for label, members in sorted(by_class.items()):
        units = {unit_of[id(e)] if unit_of else e.path for e in members}
        paths = tuple(example.path for example in members)
        if "train" in given and not any(example.part in ("train", None) for example in members):
            issues.append(
                Issue(
                    "too_few",
                    BLOCKING,
                    paths,
                    f"class {label!r} has no picture in train, so it cannot be learned",
                )
            )
        elif not split_given and len(units) < FEWEST_PER_CLASS:
            issues.append(
                Issue(
                    "too_few",
                    BLOCKING,
                    paths,
                    f"class {label!r} has {len(units)} different usable "
                    f"{'picture' if len(units) == 1 else 'pictures'}, a three-way split needs at "
                    f"least {FEWEST_PER_CLASS}; add some, or remove the class",
                )
            )
            continue
        if len(units) < FEW_PER_CLASS:
            issues.append(
                Issue(
                    "few",
                    MATTERS,
                    (),
                    f"class {label!r} has {pictures(len(units))} only: its precision and recall "
                    "will be uncertain by tens of points",
                )
            )
    return issues
