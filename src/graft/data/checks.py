"""What is wrong with the pictures, by file, before and after they have been read."""

from collections import defaultdict
from collections.abc import Sequence

from graft.data.dataset import Dataset, Example, Issue
from graft.data.split import FEWEST_PER_CLASS
from graft.data.stream import Loaded

# Below this many pictures a class, the interval of its recall is wider than ±20 points.
FEW_PER_CLASS = 30

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

    Feed every Loaded of `stream` to `note`; then `issues()` tells all there is to tell and
    `usable()` which examples may be learned from.
    """

    def __init__(self, dataset: Dataset):
        self.dataset = dataset
        self.digests: list[bytes | None] = [None] * len(dataset.examples)
        self.problems: dict[int, tuple[str, str]] = {}

    def note(self, loaded: Loaded) -> None:
        """Take in one file's outcome."""
        self.digests[loaded.index] = loaded.digest
        if loaded.problem is not None:
            self.problems[loaded.index] = (loaded.problem.kind, str(loaded.problem))

    def usable(self) -> list[int]:
        """Positions of the examples that are readable and stand under one label only."""
        two_labels = {i for group in self._same_bytes_two_labels() for i in group}
        return [
            i for i in range(len(self.digests)) if i not in self.problems and i not in two_labels
        ]

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
                    False,
                    tuple(examples[i].path for i in indices),
                    f"{_pictures(len(indices))} {_PROBLEMS[kind]}; kept out "
                    f"(the first: {examples[indices[0]].path} {first})",
                )
            )
        for group in self._same_bytes_two_labels():
            labels = " and ".join(sorted({examples[i].label for i in group}))
            found.append(
                Issue(
                    "two_labels",
                    False,
                    tuple(examples[i].path for i in group),
                    f"the same picture stands under {labels}: at least one label is wrong, so all "
                    "copies are kept out; delete the wrong one",
                )
            )
        copies = [g for g in self._same_bytes() if len({examples[i].label for i in g}) == 1]
        torn = [g for g in copies if len({examples[i].part for i in g} - {None}) > 1]
        if torn:
            copies = [group for group in copies if group not in torn]
            found.append(
                Issue(
                    "two_parts",
                    False,
                    tuple(examples[i].path for group in torn for i in group),
                    f"{_pictures(len(torn))} with copies, byte for byte, in more than one of the "
                    "parts given: a test picture that was trained on makes the result look better "
                    "than it is; delete one of each",
                )
            )
        if copies:
            found.append(
                Issue(
                    "duplicates",
                    False,
                    tuple(examples[i].path for group in copies for i in group),
                    f"{_pictures(len(copies))} stored more than once, byte for byte; the copies "
                    "stay together in one part and count as often as they are there",
                )
            )
        usable = set(self.usable())
        kept = [example for i, example in enumerate(examples) if i in usable]
        units = {i: (examples[i].group or self.digests[i]) for i in usable}
        found += _class_issues(
            kept, self.dataset.source, {id(examples[i]): unit for i, unit in units.items()}
        )
        return sorted(found, key=lambda issue: not issue.blocking)

    def _same_bytes(self) -> list[list[int]]:
        by_digest: dict[bytes, list[int]] = defaultdict(list)
        for index, digest in enumerate(self.digests):
            if digest is not None and index not in self.problems:
                by_digest[digest].append(index)
        return [group for group in by_digest.values() if len(group) > 1]

    def _same_bytes_two_labels(self) -> list[list[int]]:
        examples = self.dataset.examples
        return [g for g in self._same_bytes() if len({examples[i].label for i in g}) > 1]


def _class_issues(
    examples: Sequence[Example], source: str, unit_of: dict[int, str | bytes | None] | None = None
) -> list[Issue]:
    if not examples:
        return [
            Issue(
                "no_images",
                True,
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
                True,
                (),
                f"all pictures are of one class ({only!r}); a classifier needs two or more, each "
                "in a folder of its own",
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
                    True,
                    paths,
                    f"class {label!r} has no picture in train, so it cannot be learned",
                )
            )
        elif not split_given and len(units) < FEWEST_PER_CLASS:
            issues.append(
                Issue(
                    "too_few",
                    True,
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
                    False,
                    (),
                    f"class {label!r} has {_pictures(len(units))} only: its precision and recall "
                    "will be uncertain by tens of points",
                )
            )
    return issues


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count:,} pictures"
