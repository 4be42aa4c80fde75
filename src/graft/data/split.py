"""Train, val and test by content: no image moves because others came or files were renamed."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import PARTS, Example

TRAIN_SHARE, VAL_SHARE = 0.70, 0.15
# Fewer different pictures than this cannot fill three parts with anything to learn or to test.
FEWEST_PER_CLASS = 5


def split(
    examples: Sequence[Example], digests: Sequence[bytes], seed: int
) -> tuple[NDArray[np.str_], list[str]]:
    """Assign each example to a part: (N,) of "train", "val", "test", and notes to report.

    An example's part is a function of the seed and of its own content (`digests`: sha256 of the
    file bytes; or of its group's name, if it has one) and of nothing else: a hash below 0.70 is
    train, below 0.85 val, else test. So byte-equal files and groups stay together, and adding,
    removing or renaming files moves nothing. Each class is split by the same shares, up to the
    chance of the hash.

    Parts that the source gives are kept. If it gives some parts only, the missing ones are taken
    from train by the same hash.

    The one exception: a class of which the hash leaves a part empty gives it the picture (or
    group) whose hash is nearest to that part, and a note says so. That picture may move back to
    train once the class has grown.
    """
    given = {example.part for example in examples} - {None}
    pairs = list(zip(examples, digests, strict=True))
    numbers = np.array([_uniform(seed, example, digest) for example, digest in pairs])
    parts = np.array([own_part(seed, *pair) for pair in pairs], dtype="<U5")
    notes: list[str] = []
    if given:
        for index, example in enumerate(examples):
            if example.part == "train":
                wanted = _part(numbers[index])
                if wanted not in given:
                    parts[index] = wanted
        missing = [part for part in PARTS if part not in given]
        if missing and "train" in given:
            notes.append(
                f"the source gives {' and '.join(p for p in PARTS if p in given)}; "
                f"{' and '.join(missing)} taken from train by content hash"
            )
    fixed = given if given else set()
    notes += _fill_empty_parts(examples, digests, numbers, parts, fixed)
    return parts, notes


def own_part(seed: int, example: Example, digest: bytes) -> str:
    """The part of one picture by itself: the one given, else by its content's hash."""
    return example.part or _part(_uniform(seed, example, digest))


def _uniform(seed: int, example: Example, digest: bytes) -> float:
    content = b"group:" + example.group.encode() if example.group else digest
    return _fraction(hashlib.sha256(b"graft split %d:" % seed + content).digest())


def _fraction(digest: bytes) -> float:
    return int.from_bytes(digest[:8], "big") / 2**64


def _part(number: float) -> str:
    if number < TRAIN_SHARE:
        return "train"
    return "val" if number < TRAIN_SHARE + VAL_SHARE else "test"


def _fill_empty_parts(
    examples: Sequence[Example],
    digests: Sequence[bytes],
    numbers: NDArray[np.float64],
    parts: NDArray[np.str_],
    given: set[str | None],
) -> list[str]:
    by_class: dict[str, list[int]] = defaultdict(list)
    # What moves, moves whole: a group may have pictures of several classes.
    unit_of = [example.group or digest for example, digest in zip(examples, digests, strict=True)]
    members_of: dict[str | bytes, list[int]] = defaultdict(list)
    for index, example in enumerate(examples):
        by_class[example.label].append(index)
        members_of[unit_of[index]].append(index)
    donors = [part for part in PARTS if part not in given or part == "train"]
    notes = []
    for label, members in sorted(by_class.items()):
        for part in PARTS:
            if part in given or any(parts[i] == part for i in members):
                continue
            units = {d: {unit_of[i] for i in members if parts[i] == d} for d in donors}
            donor = max(donors, key=lambda d: len(units[d]))
            if len(units[donor]) < 2:
                continue
            target = {"train": 0.0, "val": TRAIN_SHARE + VAL_SHARE / 2, "test": 1.0}[part]
            nearest = min(units[donor], key=lambda unit: abs(numbers[members_of[unit][0]] - target))
            parts[members_of[nearest]] = part
            notes.append(
                f"class {label!r} is small: {examples[members_of[nearest][0]].path} was moved "
                f"from {donor} to {part}, which had none of the class"
            )
    return notes
