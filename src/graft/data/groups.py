"""Which images belong together: given groups, byte-equal files and near-duplicates.

Group IDs are computed once, stored in dataset.csv, and used by the split, intervals,
cross-validation, ranking and comparison alike. Images of one group never land in two splits.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import Dataset, Example
from graft.errors import UsageError

FOLDER = "folder"
GIVEN = "group:"
# The fraction of images with a near-duplicate up to which all count as single ones: so few move
# an interval by less than its own uncertainty.
CLUSTERED = 0.05


def group_ids(
    examples: Sequence[Example],
    digests: Sequence[bytes],
    near: Iterable[Sequence[int]] = (),
) -> list[str]:
    """The group ID (N) of each image: "group:NAME" of a given group, else the sha256 of its bytes.

    Images that share a given group, their bytes (`digests`), or a cluster of `near`-duplicates
    (positions) have one ID: the least of the given groups that they connect, else of the hashes,
    so that it depends neither on the order nor on the names of files.
    """
    above: dict[bytes, bytes] = {}

    def root(unit: bytes) -> bytes:
        while (over := above.get(unit, unit)) != unit:
            # Paths are halved on the way, so that a cluster of 100,000 frames is no long chain.
            above[unit] = unit = above.get(over, over)
        return unit

    def tie(one: bytes, other: bytes) -> None:
        first, second = sorted((root(one), root(other)), key=_rank)
        above[second] = first

    own = [own_unit(example, digest) for example, digest in zip(examples, digests, strict=True)]
    first: dict[bytes, bytes] = {}  # by digest
    for unit, digest in zip(own, digests, strict=True):
        tie(unit, first.setdefault(digest, unit))
    for cluster in near:
        for position in cluster[1:]:
            tie(own[cluster[0]], own[position])
    return [_named(root(unit)) for unit in own]


def _rank(unit: bytes) -> tuple[bool, bytes]:
    # A given group names what is tied to it: that the source gave it must stay visible.
    return not unit.startswith(GIVEN.encode()), unit


def own_unit(example: Example, digest: bytes) -> bytes:
    """What decides an image's split as long as no other image is known."""
    return GIVEN.encode() + example.group.encode() if example.group else digest


def unit_of(group_id: str) -> bytes:
    """The bytes that a group ID stands for: the inverse of how `group_ids` names them."""
    return group_id.encode() if group_id.startswith(GIVEN) else bytes.fromhex(group_id)


def _named(unit: bytes) -> str:
    return unit.decode() if unit.startswith(GIVEN.encode()) else unit.hex()


def members_of(ids: Sequence[str]) -> dict[str, list[int]]:
    """The positions of each group, by its ID."""
    members: dict[str, list[int]] = {}
    for position, name in enumerate(ids):
        members.setdefault(name, []).append(position)
    return members


def numbered(ids: Sequence[str]) -> NDArray[np.int64]:
    """The number (N,) of each image's group, from 0 on in the order of first appearance."""
    number: dict[str, int] = {}
    return np.array([number.setdefault(name, len(number)) for name in ids], np.int64)


def groups_that_count(ids: Sequence[str]) -> list[str] | None:
    """The group IDs (n) where intervals must count groups instead of images, else None.

    They must where the source gives groups, or where more than CLUSTERED of these images have
    another one in their group.
    """
    sizes = Counter(ids)
    given = any(name.startswith(GIVEN) for name in ids)
    if not given and sum(sizes[name] > 1 for name in ids) <= CLUSTERED * len(ids):
        return None
    return list(ids)


def grouped(dataset: Dataset, by: str | None) -> Dataset:
    """The data set with a group for each image; as it is if `by` is None.

    `by`: "folder", the folder that a file lies in; a column of the table; else a regular
    expression, of whose first match in the file's name the first group (or all) is the name.

    Raises UsageError for an expression that is none, or that matches no name.
    """
    if by is None:
        return dataset
    if by == FOLDER:
        names = [str(PurePosixPath(e.path).parent) for e in dataset.examples]
        return _with(dataset, names)
    if dataset.examples and by in (dataset.examples[0].columns or {}):
        return _with(dataset, [(e.columns or {}).get(by) or None for e in dataset.examples])
    try:
        pattern = re.compile(by)
    except re.error as error:
        raise UsageError(
            f"--group-by is folder, a column of the table, or a regular expression, {by!r} is "
            f"none: {error}"
        ) from error
    found = [pattern.search(PurePosixPath(e.path).name) for e in dataset.examples]
    if not any(found):
        raise UsageError(f"--group-by {by!r} matches no file name and is no column of the table")
    named = [m and (m.group(1) if pattern.groups else m.group()) for m in found]
    return _with(dataset, [name or None for name in named])


def _with(dataset: Dataset, names: Sequence[str | None]) -> Dataset:
    return replace(
        dataset,
        examples=tuple(replace(e, group=n) for e, n in zip(dataset.examples, names, strict=True)),
    )
