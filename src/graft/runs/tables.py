"""The two tables of a run, the images and the predictions: CSV, or Parquet where they are very
large. This module alone knows from where on; who reads a run sees one form.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from graft.data.dataset import Example
from graft.runs import csv_files, parquet_files
from graft.runs.csv_files import Predictions
from graft.runs.folder import LARGE_TABLES, table_file
from graft.runs.image_table import Images
from graft.runs.top_probabilities import TOP, PredictionRow

# Rows of a CSV, and probabilities: as many as the 512 MB hold that are read of one.
MOST_ROWS, MOST_NUMBERS = 1_000_000, 40_000_000
# Of more probabilities than these, 800 MB of memory, the largest of each image are kept.
MOST_WHOLE = 100_000_000


def write_dataset(
    run: Path,
    examples: Sequence[Example],
    splits: Sequence[str],
    group_ids: Sequence[str],
    digests: Sequence[bytes],
) -> str:
    """Write dataset.csv, of more than MOST_ROWS dataset.parquet; return the name."""
    name, large = "dataset.csv", len(examples) > MOST_ROWS
    write = parquet_files.write_dataset if large else csv_files.write_dataset
    write(_target(run, name, large), examples, splits, group_ids, digests)
    return _written(run, name, large)


def read_dataset(run: Path) -> Images:
    """A record a usable image, in memory or, of a large run, on disk; ModelError where the table
    is missing or damaged.
    """
    file = table_file(run, "dataset.csv")
    if _is_large(file):
        return parquet_files.read_dataset(file)
    return csv_files.read_dataset(file)


def write_predictions(
    run: Path, classes: Sequence[str], rows: Iterable[PredictionRow], count: int = 0
) -> str:
    """Write predictions.csv or, where `count` rows are too many for it, predictions.parquet; return
    the name. Without `count` there are few.
    """
    name, numbers = "predictions.csv", count * len(classes)
    large = count > MOST_ROWS or numbers > MOST_NUMBERS
    file = _target(run, name, large)
    if large:
        whole = keeps_all(count, len(classes))
        parquet_files.write_predictions(file, classes, rows, whole)
    else:
        csv_files.write_predictions(file, classes, rows)
    return _written(run, name, large)


def read_predictions(run: Path) -> Predictions:
    """The predictions of val and test; DataError where the table is none."""
    file = table_file(run, "predictions.csv")
    if _is_large(file):
        return parquet_files.read_predictions(file)
    return csv_files.read_predictions(file)


def read_classes(file: Path) -> list[str]:
    """The classes of a table of predictions of either form, in order; DataError as there."""
    if _is_large(file):
        return parquet_files.read_classes(file)
    return csv_files.read_classes(file)


def keeps_all(images: int, classes: int) -> bool:
    """Whether the probabilities of so many images are all kept, or the largest of each only."""
    # With few classes nothing is saved by that.
    return images * classes <= MOST_WHOLE or classes <= 2 * TOP


def _is_large(file: Path) -> bool:
    return file.name in LARGE_TABLES.values()


def _target(run: Path, name: str, large: bool) -> Path:
    return run / (LARGE_TABLES[name] if large else name)


def _written(run: Path, name: str, large: bool) -> str:
    """Remove the other form, which a run that was cut off may have left."""
    kept, other = (name, LARGE_TABLES[name])[:: -1 if large else 1]
    (run / other).unlink(missing_ok=True)
    return kept
