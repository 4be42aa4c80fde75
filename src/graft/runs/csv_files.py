"""dataset.csv and predictions.csv of a run, written and read."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import Example
from graft.errors import DataError, ModelError
from graft.utils.csv_table import write_table

COLUMNS = ("path", "label", "split", "group_id", "sha256")


def write_dataset(
    file: Path,
    examples: Sequence[Example],
    splits: Sequence[str],
    group_ids: Sequence[str],
    digests: Sequence[bytes],
) -> None:
    """Write a line a usable image: COLUMNS, then the columns of the user's own table."""
    own = list(dict.fromkeys(name for e in examples for name in e.columns or ()))
    rows = zip(examples, splits, group_ids, digests, strict=True)
    write_table(
        file,
        [*COLUMNS, *(f"{name}_" if name in COLUMNS else name for name in own)],
        (
            [
                *(e.path, e.label, split, group, digest.hex()),
                *((e.columns or {}).get(name, "") for name in own),
            ]
            for e, split, group, digest in rows
        ),
    )


def read_dataset(file: Path) -> list[dict[str, str]]:
    """A record a usable image; ModelError where the file is missing or damaged."""
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        for row in rows:
            bytes.fromhex(row["sha256"])
            _ = [row[name] for name in COLUMNS]
    except FileNotFoundError as error:
        raise ModelError(
            f"{file} is missing, which says what the run was trained on; put it back, or train "
            "the run again"
        ) from error
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise ModelError(f"{file} is damaged: {error}; train the run again") from error
    return rows


@dataclass(frozen=True)
class Predictions:
    """predictions.csv: `paths`, `splits` and `labels` (n,), `probabilities` (n, K), `classes`."""

    classes: list[str]
    paths: list[str]
    splits: NDArray[np.str_]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]


def write_predictions(
    file: Path,
    classes: Sequence[str],
    rows: Iterable[tuple[str, str, str, NDArray[np.float64]]],
) -> None:
    """Write path, split, label and one probability a class, to 9 digits."""
    write_table(
        file,
        ["path", "split", "label", *classes],
        ([*names, *(f"{p:.9g}" for p in values)] for *names, values in rows),
    )


def read_predictions(file: Path) -> Predictions:
    """The table of predictions; DataError where it is none."""
    with file.open(newline="", encoding="utf-8") as stream:
        reader = csv.reader(stream)
        classes = next(reader, [])[3:]
        rows = list(reader)
    number = {name: i for i, name in enumerate(classes)}
    try:
        labels = np.array([number[row[2]] for row in rows], np.int64)
        values = np.array([row[3:] for row in rows], np.float64).reshape(-1, len(classes))
    except (IndexError, KeyError, ValueError) as error:
        raise DataError(f"{file}: not a table of predictions: {error}") from error
    splits = np.array([row[1] for row in rows], np.str_)
    return Predictions(classes, [row[0] for row in rows], splits, labels, values)
