"""What must stay in one split by its nature, and what came first: patients, videos, time."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import Dataset
from graft.data.split import TEST_SHARE, VAL_SHARE
from graft.errors import DataError, UsageError

FOLDER, EXIF = "folder", "exif"


def regrouped(dataset: Dataset, by: str) -> Dataset:
    """The data set with a group for each image.

    `by`: "folder", the folder that a file lies in; a column of the table; else a regular
    expression, of whose first match in the file's name the first group (or all) is the name.

    Raises UsageError for an expression that is none, or that matches no name.
    """
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


def times(
    dataset: Dataset, by: str, taken: NDArray[np.int64], positions: Sequence[int]
) -> NDArray[np.float64]:
    """When the images at these positions came, (N,) in seconds or in the column's own numbers.

    `by` is "exif", with the fingerprints' `taken` (N,), or a column of numbers or of ISO dates.
    Raises DataError for an image without a time.
    """
    examples = [dataset.examples[i] for i in positions]
    if by == EXIF:
        found = np.where(taken != 0, taken.astype(np.float64), np.nan)
    else:
        found = np.array([_moment((e.columns or {}).get(by)) for e in examples])
    lacking = np.flatnonzero(np.isnan(found))
    if len(lacking):
        raise DataError(
            f"{dataset.source}: {len(lacking):,} of {len(found):,} images have no time by {by!r} "
            f"(first: {examples[int(lacking[0])].path}); --time-by is exif, or a column of numbers "
            "or dates such as 2024-05-31"
        )
    return found


def split_by_time(
    moments: NDArray[np.float64], units: Sequence[Sequence[int]], val_fraction: float = VAL_SHARE
) -> NDArray[np.str_]:
    """The splits (N,): the newest 15 % are test, then `val_fraction` val, the oldest train.

    Images of one of the `units` stay together, at the time of the last of them.
    """
    when = moments.copy()
    for unit in units:
        when[list(unit)] = when[list(unit)].max()
    order = np.sort(when)
    limits = (1 - TEST_SHARE - val_fraction, 1 - TEST_SHARE)
    first, second = (order[min(int(share * len(order)), len(order) - 1)] for share in limits)
    return np.where(when < first, "train", np.where(when < second, "val", "test")).astype("<U5")


def _moment(text: str | None) -> float:
    if not text:
        return float("nan")
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except ValueError:
        return float("nan")
