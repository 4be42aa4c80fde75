"""Train, val and test by content: no image moves because others came or files were renamed."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import SPLITS, Dataset, Example, class_numbers
from graft.data.groups import groups_that_count, members_of, own_unit, unit_of
from graft.data.time_split import split_by_time, times
from graft.errors import DataError, UsageError

if TYPE_CHECKING:
    from graft.config import SplitConfig

TEST_FRACTION, VAL_FRACTION = 0.15, 0.15
# Fewer different images than this cannot fill three splits with anything to learn or to test.
FEWEST_PER_CLASS = 5
# A unit is large that has so many images of a class, and this share of the class or more:
# chance alone would put half of ten patients' images into train as readily as nine tenths.
LARGE, LARGE_FRACTION = 5, 0.02


@dataclass(frozen=True)
class Split:
    """Which split each of N images is in.

    `assignment` (N,) is "train", "val" or "test" ("out" for none); `labels` (N,) are positions in
    `classes`; `group_ids` (N,) say which images belong together (data/groups.py); `notes` is what
    a report should say about how the split was made.
    """

    assignment: NDArray[np.str_]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    group_ids: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def rows(self, name: str) -> NDArray[np.int64]:
        """The positions of a split's images."""
        return np.flatnonzero(self.assignment == name)

    def labels_of(self, name: str) -> NDArray[np.int64]:
        """The class numbers of a split's images, in the order of `rows`."""
        return self.labels[self.rows(name)]

    def groups_of(self, name: str) -> list[str] | None:
        """The group IDs of a split's images; None where images count as single ones."""
        return groups_that_count([self.group_ids[i] for i in self.rows(name)])


def split_dataset(
    dataset: Dataset, ids: Sequence[str], config: "SplitConfig", taken: NDArray[np.int64]
) -> Split:
    """Split usable images by content, or with `config.time_by` by time.

    `ids` (N,) are their group IDs, `taken` (N,) when they were taken by their EXIF, in seconds, 0
    where that is unknown. Raises UsageError for a split by time of a source that gives splits,
    DataError where it would leave a class without training images.
    """
    classes = dataset.classes
    if config.time_by is None:
        assignment, notes = assign_splits(dataset.examples, ids, config.seed, config.val_fraction)
    else:
        assignment, notes = _by_time(dataset, ids, config.time_by, config.val_fraction, taken)
    labels = class_numbers(dataset.examples, classes)
    return Split(assignment, labels, classes, tuple(ids), tuple(notes))


def _by_time(
    dataset: Dataset, ids: Sequence[str], by: str, val_fraction: float, taken: NDArray[np.int64]
) -> tuple[NDArray[np.str_], list[str]]:
    if any(example.split for example in dataset.examples):
        raise UsageError("--time-by is for a source that does not give the splits itself")
    units = members_of(ids).values()
    splits = split_by_time(times(dataset, by, taken), units, TEST_FRACTION, val_fraction)
    lacking = set(dataset.classes) - {
        e.label for e, split in zip(dataset.examples, splits, strict=True) if split == "train"
    }
    if lacking or set(splits) != set(SPLITS):
        fault = f"train has no {', '.join(sorted(lacking))}" if lacking else "a split is empty"
        raise DataError(
            f"{dataset.source}: split by time, {fault}; the images come from too few moments, "
            "split them without --time-by"
        )
    return splits, [f"the oldest images are train, the newest test, by {by}"]


def assign_splits(
    examples: Sequence[Example],
    ids: Sequence[str],
    seed: int,
    val_fraction: float = VAL_FRACTION,
) -> tuple[NDArray[np.str_], list[str]]:
    """Assign each example to a split: (N,) of "train", "val", "test", and notes to report.

    An example's split is a function of the seed and of its group ID (`ids` (N,): a given group's
    name or the hash of the file's bytes) and of nothing else: a hash below 0.70 is train, below
    0.85 val, else test; `val_fraction` moves the first of these limits. So images that belong
    together stay together, and adding, removing or renaming files moves nothing. Each class has
    the same fractions, up to the chance of the hash.

    Splits that the source gives are kept. An example without one goes where the source puts the
    others of its group (`given_splits`). If the source gives some splits only, the missing ones
    are taken from train and from what has none by the same hash; a given val or test split grows
    by nothing else.

    Two exceptions, which notes tell. A group with at least LARGE images and LARGE_FRACTION of a
    class moves to where it brings the fractions of its classes nearest to those wanted. A class
    that still has an empty split gives it the image (or group) whose hash is nearest to that
    split. Both may move back once the class has grown.
    """
    given = {example.split for example in examples} - {None}
    missing = [split for split in SPLITS if split not in given]
    numbers = np.array([_uniform(seed, unit_of(name)) for name in ids])
    members = members_of(ids)
    kept = given_splits(examples, members.values())
    # A val or test split that the source gives is as it was meant: others do not join it.
    rest = tuple(split for split in SPLITS if split == "train" or split in missing)
    open_to = {None: rest, "train": ("train", *missing), "val": ("val",), "test": ("test",)}
    choices = [open_to[split] for split in kept]
    wanted = [_split_of(number, val_fraction) for number in numbers]
    splits = np.array(
        [split if split in c else c[0] for split, c in zip(wanted, choices, strict=True)],
        dtype="<U5",
    )
    notes: list[str] = []
    if missing and "train" in given:
        notes.append(
            f"the source gives {' and '.join(p for p in SPLITS if p in given)}; "
            f"{' and '.join(missing)} taken from train by content hash"
        )
    followed = sum(
        e.split is None and split is not None for e, split in zip(examples, kept, strict=True)
    )
    if followed:
        notes.append(
            f"{followed:,} without a split went where the source puts their copies or group"
        )
    notes += _balance_large(examples, members, numbers, splits, choices, val_fraction)
    middle = 1 - TEST_FRACTION - val_fraction / 2
    notes += _fill_empty_splits(examples, ids, numbers, splits, given, middle)
    return splits, notes


def given_splits(examples: Sequence[Example], units: Iterable[Sequence[int]]) -> list[str | None]:
    """The split that the source gives to each example (N,), by itself or by its unit.

    An example without a split takes that of the others in its unit: of several test, then val, so
    that it is never learned from where another is tested. None where the unit has no split.
    """
    splits = [example.split for example in examples]
    for unit in units:
        found = {examples[i].split for i in unit}
        first = next((split for split in ("test", "val", "train") if split in found), None)
        for i in unit:
            splits[i] = splits[i] or first
    return splits


def expected_split(
    seed: int, example: Example, digest: bytes, val_fraction: float = VAL_FRACTION
) -> str:
    """The split of one image by itself: the one given, else by its content's hash."""
    return example.split or _split_of(_uniform(seed, own_unit(example, digest)), val_fraction)


def _uniform(seed: int, unit: bytes) -> float:
    return _fraction(hashlib.sha256(b"graft split %d:" % seed + unit).digest())


def _fraction(digest: bytes) -> float:
    return int.from_bytes(digest[:8], "big") / 2**64


def _split_of(number: float, val_fraction: float) -> str:
    if number >= 1 - TEST_FRACTION:
        return "test"
    return "val" if number >= 1 - TEST_FRACTION - val_fraction else "train"


def _balance_large(
    examples: Sequence[Example],
    members: Mapping[str, Sequence[int]],
    numbers: NDArray[np.float64],
    splits: NDArray[np.str_],
    choices: Sequence[tuple[str, ...]],
    val_fraction: float,
) -> list[str]:
    """Move large units, in the order of their hashes, each to the split of its `choices` where it
    brings its classes' shares nearest to those wanted, by chi-squared distance, until all stay.
    Changes `splits`. A unit that the source itself tears is left alone.
    """
    labels = class_numbers(examples, sorted({example.label for example in examples}))
    held, target = _tables(labels, splits, choices, val_fraction)
    total = held.sum(1)
    large = []
    for unit, positions in members.items():
        free = {choices[i] for i in positions}
        if len(positions) < LARGE or len(free) > 1 or len(next(iter(free))) == 1:
            continue
        of, sizes = np.unique(labels[list(positions)], return_counts=True)
        if np.any(sizes >= np.maximum(LARGE, LARGE_FRACTION * total[of])):
            large.append((numbers[positions[0]], unit, positions, of, sizes))
    large.sort(key=lambda one: one[:2])
    before = splits.copy()
    settled = False
    while not settled:  # Comes to an end: every move lessens the distance.
        settled = True
        for _, _, positions, of, sizes in large:
            now = SPLITS.index(splits[positions[0]])
            held[of, now] -= sizes
            added = sizes[:, np.newaxis]
            further = added * (added + 2 * (held[of] - target[of]))  # (classes, splits)
            cost = (further / np.maximum(target[of], 1) / total[of, np.newaxis]).sum(0)
            best = min(map(SPLITS.index, choices[positions[0]]), key=cost.__getitem__)
            if cost[best] < cost[now] - 1e-9:
                now, settled = best, False
                splits[positions] = SPLITS[best]
            held[of, now] += sizes
    moved = sum(splits[one[2][0]] != before[one[2][0]] for one in large)
    if not moved:
        return []
    return [
        f"{moved:,} of {len(large):,} large groups or clusters moved from where their hash puts "
        "them, to bring the classes' shares nearer to those wanted"
    ]


def _tables(
    labels: NDArray[np.int64],
    splits: NDArray[np.str_],
    choices: Sequence[tuple[str, ...]],
    val_fraction: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Images that have a choice, by class and split: how many there are, and how many wanted."""
    held = np.zeros((labels.max(initial=-1) + 1, len(SPLITS)))
    target = np.zeros_like(held)
    shares = {}
    for among in set(choices):
        others = [val_fraction * ("val" in among), TEST_FRACTION * ("test" in among)]
        shares[among] = np.array([1 - sum(others), *others])
    for label, split, among in zip(labels, splits, choices, strict=True):
        if len(among) > 1:
            held[label, SPLITS.index(split)] += 1
            target[label] += shares[among]
    return held, target


def _fill_empty_splits(
    examples: Sequence[Example],
    ids: Sequence[str],
    numbers: NDArray[np.float64],
    splits: NDArray[np.str_],
    given: set[str | None],
    middle_of_val: float,
) -> list[str]:
    by_class: dict[str, list[int]] = defaultdict(list)
    # What moves, moves whole: a group may have images of several classes.
    members = members_of(ids)
    for index, example in enumerate(examples):
        by_class[example.label].append(index)
    donors = [split for split in SPLITS if split not in given or split == "train"]
    notes = []
    for label, own in sorted(by_class.items()):
        for split in SPLITS:
            if any(splits[i] == split for i in own):
                continue
            # A given train may have lost all it had of the class to the splits taken from it.
            if split in given and split != "train":
                continue
            units = {d: {ids[i] for i in own if splits[i] == d} for d in donors}
            donor = max(donors, key=lambda d: len(units[d]))
            if len(units[donor]) < (1 if split == "train" else 2):
                continue
            target = {"train": 0.0, "val": middle_of_val, "test": 1.0}[split]
            nearest = min(units[donor], key=lambda unit: abs(numbers[members[unit][0]] - target))
            # A copy that the source itself puts into another split stays there.
            moved = [i for i in members[nearest] if splits[i] == donor]
            splits[moved] = split
            notes.append(
                f"class {label!r} is small: {examples[moved[0]].path} was moved "
                f"from {donor} to {split}, which had none of the class"
            )
    return notes
