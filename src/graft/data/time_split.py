"""Splitting by time: the newest images are the test split."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import Dataset
from graft.errors import DataError

EXIF = "exif"


def times(dataset: Dataset, by: str, taken: NDArray[np.int64]) -> NDArray[np.float64]:
    """When the images were taken, (N,) in seconds or in the column's own numbers.

    `by` is "exif", with the fingerprints' `taken` (N,), or a column of numbers or of ISO dates.
    Raises DataError for an image without a time.
    """
    examples = dataset.examples
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
    moments: NDArray[np.float64],
    units: Iterable[Sequence[int]],
    test_fraction: float,
    val_fraction: float,
) -> NDArray[np.str_]:
    """The splits (N,): the newest `test_fraction` are test, then `val_fraction` val, the oldest
    train.

    Images of one of the `units` stay together, at the time of the newest of them.
    """
    when = moments.copy()
    for unit in units:
        when[list(unit)] = when[list(unit)].max()
    order = np.sort(when)
    limits = (1 - test_fraction - val_fraction, 1 - test_fraction)
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
