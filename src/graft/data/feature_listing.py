"""The images of a folder that `graft features` filled, as a Dataset: those of all its shards, in
the order that their source is listed in.
"""

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import Dataset, Example
from graft.data.feature_file import Rows, file_name, read_rows
from graft.data.feature_folder import folder_status
from graft.data.file_listing import walk_order
from graft.data.image_file import UnusableImageError
from graft.errors import DataError

SHOWN = 3


# The orders that listings are in, by which the rows of shards come together as one listing.
ORDERS: dict[str, Callable[[Example], Any]] = {
    "folder": lambda example: walk_order(example.path),
    "table": lambda example: (example.path, example.label),
}


def orders_of(examples: Sequence[Example]) -> tuple[str, ...]:
    """The orders that a listing is in."""
    found = []
    for name, key in ORDERS.items():
        keys = [key(example) for example in examples]
        if all(one <= other for one, other in pairwise(keys)):
            found.append(name)
    return tuple(found)


@dataclass(frozen=True)
class FolderRows:
    """The rows of all shards as one listing (N), and in which file and row of it each is."""

    dataset: Dataset
    paths: tuple[Path, ...]
    file: NDArray[np.int32]
    row: NDArray[np.int64]
    digests: list[bytes | None]
    problems: dict[int, UnusableImageError]
    cameras: dict[int, str]


def rows_of_folder(folder: Path, source: str | None = None) -> FolderRows:
    """The images of a folder, all of whose shards are done.

    Raises DataError for missing or damaged shards, or an image that is in two of them.
    """
    status = folder_status(folder)
    if not status.complete:
        left = status.unfinished
        named = ", ".join(str(shard.number) for shard in left[:SHOWN])
        more = f" and {len(left) - SHOWN:,} more" if len(left) > SHOWN else ""
        raise DataError(
            f"{folder}: {len(status.done):,} of {status.count:,} shards are there, {named}{more} "
            f"missing or broken; `graft features --status {folder}` names them all"
        )
    paths = tuple(folder / file_name(head.shard) for head in status.done.values())
    marks = tuple((path.stat().st_size, path.stat().st_mtime_ns) for path in paths)
    found = _read(folder, paths, marks)
    return (
        found if source is None else replace(found, dataset=replace(found.dataset, source=source))
    )


@functools.lru_cache(maxsize=1)  # listing and extracting ask for the same rows
def _read(folder: Path, paths: tuple[Path, ...], marks: tuple[tuple[int, int], ...]) -> FolderRows:
    parts = [read_rows(path, folder) for path in paths]
    _check_once(parts, paths)
    examples = [example for part in parts for example in part.examples]
    sizes = [len(part.examples) for part in parts]
    file = np.repeat(np.arange(len(parts), dtype=np.int32), sizes)
    row = np.concatenate([np.arange(size) for size in sizes])
    digests = [digest for part in parts for digest in part.digests]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    problems = {
        int(start) + n: told
        for start, part in zip(starts, parts, strict=False)
        for n, told in part.problems.items()
    }
    order = _order(examples, parts)
    place = {old: new for new, old in enumerate(order) if old in problems}
    dataset = replace(_listing(parts, str(folder)), features=folder)
    return FolderRows(
        replace(dataset, examples=tuple(examples[n] for n in order)),
        paths,
        file[order],
        row[order],
        [digests[n] for n in order],
        {place[old]: told for old, told in problems.items()},
        {number: name for part in parts for number, name in part.cameras.items()},
    )


def _order(examples: Sequence[Example], parts: Sequence[Rows]) -> list[int]:
    """The rows of all parts in the order that the whole source is listed in."""
    shared = [name for name in ORDERS if all(name in part.order for part in parts if part.examples)]
    if not shared:
        return list(range(len(examples)))
    keys = [ORDERS[shared[0]](example) for example in examples]
    return sorted(range(len(examples)), key=keys.__getitem__)


def _check_once(parts: Sequence[Rows], paths: Sequence[Path]) -> None:
    where: dict[str, int] = {}
    for number, part in enumerate(parts):
        for example in part.examples:
            if where.setdefault(example.path, number) != number:
                raise DataError(
                    f"{example.path} is in two shards, {paths[where[example.path]].name} and "
                    f"{paths[number].name}: the source changed while it was read; remove both and "
                    "run `graft features` for them again"
                )


def _listing(parts: Sequence[Rows], source: str) -> Dataset:
    """A Dataset with what all listings left out, lost and remarked."""
    left_out: dict[str, dict[str, None]] = {}
    lost: Counter[str] = Counter()
    remarks: dict[tuple[str, str], None] = {}
    # Of a folder of images each shard's listing knows what all of it lost.
    counts = [part.lost for part in parts]
    for one in counts[:1] if all(one == counts[0] for one in counts) else counts:
        lost.update(one)
    for part in parts:
        for kind, names in part.left_out.items():
            left_out.setdefault(kind, {}).update(dict.fromkeys(names))
        remarks |= dict.fromkeys(part.remarks)
    return Dataset(
        source, (), {kind: tuple(names) for kind, names in left_out.items()}, lost, tuple(remarks)
    )


def not_in_folder(listed: Dataset, rows: FolderRows) -> tuple[list[str], list[str]]:
    """The paths of a listing that no shard has, and those of shards that the listing lacks."""
    asked = {example.path for example in listed.examples}
    there = {example.path for example in rows.dataset.examples}
    return sorted(asked - there), sorted(there - asked)
