"""dataset.csv and predictions.csv of a run, written and read."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import SPLITS, Example
from graft.errors import DataError, ModelError
from graft.runs.reading import checked_size, lines_of, shown
from graft.runs.top_probabilities import Probabilities
from graft.utils.csv_table import write_table

COLUMNS = ("path", "label", "split", "group_id", "sha256")
# What rounding may add to a sum of probabilities or take from it.
ROUNDING = 1e-3


def write_dataset(
    file: Path,
    examples: Sequence[Example],
    splits: Sequence[str],
    group_ids: Sequence[str],
    digests: Sequence[bytes],
) -> None:
    """Write a line a usable image: COLUMNS, then the columns of the user's own table."""
    own = own_columns(examples)
    rows = zip(examples, splits, group_ids, digests, strict=True)
    write_table(
        file,
        [*COLUMNS, *own.values()],
        (
            [
                *(e.path, e.label, split, group, digest.hex()),
                *((e.columns or {}).get(name, "") for name in own),
            ]
            for e, split, group, digest in rows
        ),
    )


def own_columns(examples: Sequence[Example]) -> dict[str, str]:
    """The columns of the user's own table, and what each is called in that of the run."""
    own = dict.fromkeys(name for e in examples for name in e.columns or ())
    return {name: f"{name}_" if name in COLUMNS else name for name in own}


def read_dataset(file: Path) -> list[dict[str, str]]:
    """A record a usable image; ModelError where the file is missing or damaged."""
    try:
        checked_size(file)
        with file.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(lines_of(stream, file.name))
            rows = [_checked(row, reader.line_num) for row in reader]
        if not rows:
            raise ValueError("there is no image in it")
    except FileNotFoundError as error:
        raise ModelError(
            f"{file} is missing, which says what the run was trained on; put it back, or train "
            "the run again"
        ) from error
    except (OSError, ValueError, csv.Error) as error:
        raise ModelError(f"{file} is damaged: {error}; train the run again") from error
    return rows


def _checked(row: dict[str, str], number: int) -> dict[str, str]:
    """A row of dataset.csv; ValueError for one that graft would not have written."""
    if None in row or any(row.get(name) is None for name in COLUMNS) or None in row.values():
        raise ValueError(f"line {number} has not the columns {','.join(COLUMNS)} of the first")
    if row["split"] not in ("", *SPLITS):
        raise ValueError(f"line {number}: split is train, val or test, not {shown(row['split'])!r}")
    if len(row["sha256"]) % 2 or not set(row["sha256"][:65]) <= set("0123456789abcdef"):
        raise ValueError(f"line {number}: sha256: expected 64 hexadecimal digits")
    if not (row["path"] and row["label"]):
        raise ValueError(f"line {number}: path and label are never empty")
    return row


@dataclass(frozen=True)
class Predictions:
    """A table of predictions: `paths`, `splits` and `labels` (n,), `probabilities` (n, K), of very
    many only the largest of each image, and the `classes`.
    """

    classes: list[str]
    paths: Sequence[str]
    splits: NDArray[np.str_]
    labels: NDArray[np.int64]
    probabilities: Probabilities


def write_predictions(
    file: Path,
    classes: Sequence[str],
    rows: Iterable[tuple[str, str, str, Any]],
) -> None:
    """Write path, split, label and one probability a class, to 9 digits."""
    write_table(
        file,
        ["path", "split", "label", *classes],
        ([*names, *(f"{p:.9g}" for p in values)] for *names, values in rows),
    )


def read_predictions(file: Path) -> Predictions:
    """The table of predictions; DataError where it is none."""
    try:
        checked_size(file)
        with file.open(newline="", encoding="utf-8") as stream:
            reader = csv.reader(lines_of(stream, file.name))
            classes = _classes(next(reader, []))
            number = {name: i for i, name in enumerate(classes)}
            names, labels, values = [], [], []
            for path, split, label, *texts in reader:
                names.append((path, split))
                labels.append(number[label])
                values.append(_probabilities(texts, len(classes), reader.line_num))
    except FileNotFoundError:
        raise
    except KeyError as error:
        raise DataError(
            f"{file}: not a table of predictions: the label {shown(error.args[0])!r} is none of "
            "its classes"
        ) from error
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{file}: not a table of predictions: {error}") from error
    return Predictions(
        classes,
        [path for path, _ in names],
        np.array([split for _, split in names], np.str_),
        np.array(labels, np.int64),
        np.stack(values) if values else np.empty((0, len(classes))),
    )


def read_classes(file: Path) -> list[str]:
    """The classes that the first line of a predictions.csv names, in order; errors as there."""
    try:
        checked_size(file)
        with file.open(newline="", encoding="utf-8") as stream:
            return _classes(next(csv.reader(lines_of(stream, file.name)), []))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{file}: not a table of predictions: {error}") from error


def _classes(header: list[str]) -> list[str]:
    classes = header[3:]
    if header[:3] != ["path", "split", "label"] or not classes:
        raise ValueError("its first line is not path,split,label and the classes")
    if "" in classes or len(set(classes)) != len(classes):
        raise ValueError("its first line has a class twice, or one without a name")
    return classes


def _probabilities(texts: list[str], count: int, line: int) -> NDArray[np.float64]:
    found = np.array(texts, np.float64)
    if found.shape != (count,):
        raise ValueError(f"line {line} has {len(texts)} probabilities for {count} classes")
    if not (found.min() >= 0 and abs(found.sum() - 1) < ROUNDING):  # NaN is neither
        raise ValueError(f"line {line}: the probabilities are not 0 or more with the sum 1")
    return found
