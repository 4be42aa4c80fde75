"""Train, val and test by content: no image moves because others came or files were renamed."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import PARTS, Example

TEST_SHARE, VAL_SHARE = 0.15, 0.15
# Fewer different pictures than this cannot fill three parts with anything to learn or to test.
FEWEST_PER_CLASS = 5


def split(
    examples: Sequence[Example],
    digests: Sequence[bytes],
    seed: int,
    near: Sequence[Sequence[int]] = (),
    val_share: float = VAL_SHARE,
) -> tuple[NDArray[np.str_], list[str]]:
    """Assign each example to a part: (N,) of "train", "val", "test", and notes to report.

    An example's part is a function of the seed and of its own content (`digests`: sha256 of the
    file bytes; or of its group's name, if it has one) and of nothing else: a hash below 0.70 is
    train, below 0.85 val, else test; `val_share` moves the first of these limits. So byte-equal
    files and groups stay together, and adding, removing or renaming files moves nothing. `near`:
    positions of near duplicates, by cluster, which share the least of their names, too. Each class
    is split by the same shares, up to the chance of the hash. (Groups that share a byte-equal
    picture are one group.)

    Parts that the source gives are kept. If it gives some parts only, the missing ones are taken
    from train by the same hash.

    The one exception: a class of which the hash leaves a part empty gives it the picture (or
    group) whose hash is nearest to that part, and a note says so. That picture may move back to
    train once the class has grown.
    """
    given = {example.part for example in examples} - {None}
    pairs = list(zip(examples, digests, strict=True))
    units = _units(pairs, near)
    numbers = np.array([_uniform(seed, unit) for unit in units])
    parts = np.array(
        [e.part or _part(n, val_share) for e, n in zip(examples, numbers, strict=True)], dtype="<U5"
    )
    notes: list[str] = []
    if given:
        for index, example in enumerate(examples):
            if example.part == "train":
                wanted = _part(numbers[index], val_share)
                if wanted not in given:
                    parts[index] = wanted
        missing = [part for part in PARTS if part not in given]
        if missing and "train" in given:
            notes.append(
                f"the source gives {' and '.join(p for p in PARTS if p in given)}; "
                f"{' and '.join(missing)} taken from train by content hash"
            )
    fixed = given if given else set()
    middle = 1 - TEST_SHARE - val_share / 2
    notes += _fill_empty_parts(examples, units, numbers, parts, fixed, middle)
    return parts, notes


def units(
    examples: Sequence[Example], digests: Sequence[bytes], near: Sequence[Sequence[int]]
) -> list[list[int]]:
    """Positions by what must stay together: groups, equal files and near duplicates."""
    members: dict[bytes, list[int]] = defaultdict(list)
    named = _units(list(zip(examples, digests, strict=True)), near)
    for position, unit in enumerate(named):
        members[unit].append(position)
    return list(members.values())


def own_part(seed: int, example: Example, digest: bytes, val_share: float = VAL_SHARE) -> str:
    """The part of one picture by itself: the one given, else by its content's hash."""
    return example.part or _part(_uniform(seed, _unit(example, digest)), val_share)


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


def _uniform(seed: int, unit: bytes) -> float:
    return _fraction(hashlib.sha256(b"graft split %d:" % seed + unit).digest())


def _fraction(digest: bytes) -> float:
    return int.from_bytes(digest[:8], "big") / 2**64


def _part(number: float, val_share: float) -> str:
    if number >= 1 - TEST_SHARE:
        return "test"
    return "val" if number >= 1 - TEST_SHARE - val_share else "train"


def _fill_empty_parts(
    examples: Sequence[Example],
    unit_of: Sequence[bytes],
    numbers: NDArray[np.float64],
    parts: NDArray[np.str_],
    given: set[str | None],
    middle_of_val: float,
) -> list[str]:
    by_class: dict[str, list[int]] = defaultdict(list)
    # What moves, moves whole: a group may have pictures of several classes.
    members_of: dict[bytes, list[int]] = defaultdict(list)
    for index, example in enumerate(examples):
        by_class[example.label].append(index)
        members_of[unit_of[index]].append(index)
    donors = [part for part in PARTS if part not in given or part == "train"]
    notes = []
    for label, members in sorted(by_class.items()):
        for part in PARTS:
            if any(parts[i] == part for i in members):
                continue
            # A given train may have lost all it had of the class to the parts taken from it.
            if part in given and part != "train":
                continue
            units = {d: {unit_of[i] for i in members if parts[i] == d} for d in donors}
            donor = max(donors, key=lambda d: len(units[d]))
            if len(units[donor]) < (1 if part == "train" else 2):
                continue
            target = {"train": 0.0, "val": middle_of_val, "test": 1.0}[part]
            nearest = min(units[donor], key=lambda unit: abs(numbers[members_of[unit][0]] - target))
            # A copy that the source itself puts into another part stays there.
            moved = [i for i in members_of[nearest] if parts[i] == donor]
            parts[moved] = part
            notes.append(
                f"class {label!r} is small: {examples[moved[0]].path} was moved "
                f"from {donor} to {part}, which had none of the class"
            )
    return notes
