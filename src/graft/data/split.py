"""Train, val and test by content: no image moves because others came or files were renamed."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import SPLITS, Example, class_numbers

TEST_SHARE, VAL_SHARE = 0.15, 0.15
# Fewer different images than this cannot fill three splits with anything to learn or to test.
FEWEST_PER_CLASS = 5
# A unit is large that has so many images of a class, and this share of the class or more:
# chance alone would put half of ten patients' images into train as readily as nine tenths.
LARGE, LARGE_SHARE = 5, 0.02


def assign_splits(
    examples: Sequence[Example],
    digests: Sequence[bytes],
    seed: int,
    near: Sequence[Sequence[int]] = (),
    val_fraction: float = VAL_SHARE,
) -> tuple[NDArray[np.str_], list[str]]:
    """Assign each example to a split: (N,) of "train", "val", "test", and notes to report.

    An example's split is a function of the seed and of its own content (`digests`: sha256 of the
    file bytes; or of its group's name, if it has one) and of nothing else: a hash below 0.70 is
    train, below 0.85 val, else test; `val_fraction` moves the first of these limits. So byte-equal
    files and groups stay together, and adding, removing or renaming files moves nothing. `near`:
    positions of near duplicates, by cluster, which share the least of their names, too. Each class
    is split by the same shares, up to the chance of the hash. (Groups that share a byte-equal
    image are one group.)

    Splits that the source gives are kept. An example without one goes where the source puts those
    that it must stay together with (`given_splits`). If the source gives some splits only, the
    missing ones are taken from train and from what has none by the same hash; a given val or test
    split grows by nothing else.

    Two exceptions, which notes tell. A group or cluster with at least LARGE images and
    LARGE_SHARE of a class moves to where it brings the shares of its classes nearest to those
    wanted. A class that still has an empty split gives it the image (or group) whose hash
    is nearest to that split. Both may move back once the class has grown.
    """
    given = {example.split for example in examples} - {None}
    missing = [split for split in SPLITS if split not in given]
    unit_of = _units(list(zip(examples, digests, strict=True)), near)
    numbers = np.array([_uniform(seed, unit) for unit in unit_of])
    members = _members(unit_of)
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
    middle = 1 - TEST_SHARE - val_fraction / 2
    notes += _fill_empty_splits(examples, unit_of, numbers, splits, given, middle)
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


def units(
    examples: Sequence[Example], digests: Sequence[bytes], near: Sequence[Sequence[int]]
) -> list[list[int]]:
    """Positions by what must stay together: groups, equal files and near duplicates."""
    return list(_members(_units(list(zip(examples, digests, strict=True)), near)).values())


def unit_numbers(
    examples: Sequence[Example], digests: Sequence[bytes], near: Sequence[Sequence[int]]
) -> NDArray[np.int64]:
    """The number (N,) of what each example must stay together with: see `units`."""
    found = np.empty(len(examples), np.int64)
    for number, members in enumerate(units(examples, digests, near)):
        found[members] = number
    return found


def expected_split(
    seed: int, example: Example, digest: bytes, val_fraction: float = VAL_SHARE
) -> str:
    """The split of one image by itself: the one given, else by its content's hash."""
    return example.split or _split_of(_uniform(seed, _unit(example, digest)), val_fraction)


def _unit(example: Example, digest: bytes) -> bytes:
    return b"group:" + example.group.encode() if example.group else digest


def _units(pairs: Sequence[tuple[Example, bytes]], near: Sequence[Sequence[int]]) -> list[bytes]:
    """What stays together, by name: the group or the digest, one name where copies tie several."""
    above: dict[bytes, bytes] = {}

    def root(unit: bytes) -> bytes:
        while above.get(unit, unit) != unit:
            unit = above[unit]
        return unit

    first: dict[bytes, bytes] = {}  # by digest

    def tie(one: bytes, other: bytes) -> None:
        # The lesser name is the root, whatever the order of files.
        lesser, greater = sorted((root(one), root(other)))
        above[greater] = lesser

    for example, digest in pairs:
        unit = _unit(example, digest)
        tie(unit, first.setdefault(digest, unit))
    for cluster in near:
        for position in cluster[1:]:
            tie(_unit(*pairs[cluster[0]]), _unit(*pairs[position]))
    return [root(_unit(*pair)) for pair in pairs]


def _members(unit_of: Sequence[bytes]) -> dict[bytes, list[int]]:
    members: dict[bytes, list[int]] = defaultdict(list)
    for position, unit in enumerate(unit_of):
        members[unit].append(position)
    return members


def _uniform(seed: int, unit: bytes) -> float:
    return _fraction(hashlib.sha256(b"graft split %d:" % seed + unit).digest())


def _fraction(digest: bytes) -> float:
    return int.from_bytes(digest[:8], "big") / 2**64


def _split_of(number: float, val_fraction: float) -> str:
    if number >= 1 - TEST_SHARE:
        return "test"
    return "val" if number >= 1 - TEST_SHARE - val_fraction else "train"


def _balance_large(
    examples: Sequence[Example],
    members: Mapping[bytes, Sequence[int]],
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
        if np.any(sizes >= np.maximum(LARGE, LARGE_SHARE * total[of])):
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
        others = [val_fraction * ("val" in among), TEST_SHARE * ("test" in among)]
        shares[among] = np.array([1 - sum(others), *others])
    for label, split, among in zip(labels, splits, choices, strict=True):
        if len(among) > 1:
            held[label, SPLITS.index(split)] += 1
            target[label] += shares[among]
    return held, target


def _fill_empty_splits(
    examples: Sequence[Example],
    unit_of: Sequence[bytes],
    numbers: NDArray[np.float64],
    splits: NDArray[np.str_],
    given: set[str | None],
    middle_of_val: float,
) -> list[str]:
    by_class: dict[str, list[int]] = defaultdict(list)
    # What moves, moves whole: a group may have images of several classes.
    members_of: dict[bytes, list[int]] = defaultdict(list)
    for index, example in enumerate(examples):
        by_class[example.label].append(index)
        members_of[unit_of[index]].append(index)
    donors = [split for split in SPLITS if split not in given or split == "train"]
    notes = []
    for label, members in sorted(by_class.items()):
        for split in SPLITS:
            if any(splits[i] == split for i in members):
                continue
            # A given train may have lost all it had of the class to the splits taken from it.
            if split in given and split != "train":
                continue
            units = {d: {unit_of[i] for i in members if splits[i] == d} for d in donors}
            donor = max(donors, key=lambda d: len(units[d]))
            if len(units[donor]) < (1 if split == "train" else 2):
                continue
            target = {"train": 0.0, "val": middle_of_val, "test": 1.0}[split]
            nearest = min(units[donor], key=lambda unit: abs(numbers[members_of[unit][0]] - target))
            # A copy that the source itself puts into another split stays there.
            moved = [i for i in members_of[nearest] if splits[i] == donor]
            splits[moved] = split
            notes.append(
                f"class {label!r} is small: {examples[moved[0]].path} was moved "
                f"from {donor} to {split}, which had none of the class"
            )
    return notes
