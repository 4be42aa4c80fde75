"""dataset.parquet and predictions.parquet of a very large run, written and read by columns.

dataset.parquet: path, label, split and group_id as text, sha256 as 32 bytes, then the columns of
the user's own table as text. predictions.parquet: path, split and label as text, then either
`probabilities`, K float32 in the order of the classes, or, of very many, what TopProbabilities
keeps. The classes are in the metadata of its schema, as JSON under "graft".
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import SPLITS, Example
from graft.errors import DataError, GraftError, ModelError
from graft.runs.csv_files import COLUMNS, ROUNDING, Predictions, own_columns
from graft.runs.image_table import ImageTable
from graft.runs.reading import checked_size, shown
from graft.runs.text_column import TextColumn
from graft.runs.top_probabilities import AT_ONCE, TOP, PredictionRow, TopProbabilities
from graft.utils.files import replacing
from graft.utils.in_blocks import in_blocks

MOST_ROWS, MOST_BYTES = 1_000_000_000, 2**40
BLOCK = 65_536  # rows written at one time, fewer of many classes
KEY = b"graft"
TEXTS = ("path", "label", "split", "group_id")
KEPT = ("top_classes", "top_probabilities", "label_probability", "sum_of_squares")


def write_dataset(
    file: Path,
    examples: Sequence[Example],
    splits: Sequence[str],
    group_ids: Sequence[str],
    digests: Sequence[bytes],
) -> None:
    """Write a row a usable image, all or nothing."""
    import pyarrow as pa

    own = own_columns(examples)
    schema = pa.schema(
        [
            *((name, pa.string()) for name in TEXTS),
            ("sha256", pa.binary(32)),
            *((shown_as, pa.string()) for shown_as in own.values()),
        ]
    )
    with table_writer(file, schema) as writer:
        for start in range(0, len(examples), BLOCK):
            some = slice(start, start + BLOCK)
            block = examples[some]
            columns: list[Any] = [
                [e.path for e in block],
                [e.label for e in block],
                [str(split) for split in splits[some]],
                list(group_ids[some]),
                list(digests[some]),
                *([(e.columns or {}).get(name) for e in block] for name in own),
            ]
            arrays = [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=BLOCK)


def read_dataset(file: Path) -> ImageTable:
    """The table of images, of which the columns needed are read; ModelError for a damaged one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    with _damage(file, ModelError, "train the run again"):
        found = ImageTable(file, _opened(file, TEXTS))
        missing = [name for name in COLUMNS if name not in found.columns]
        if missing:
            raise ValueError(f"it has no column {missing[0]}")
        digest = found._opened.schema_arrow.field("sha256").type
        if digest != pa.binary(32):
            raise ValueError(f"sha256: expected 32 bytes, not {shown(digest)}")
        if not len(found):
            raise ValueError("there is no image in it")
        strange = set(found.coded("split")[1]) - {"", *SPLITS}
        if strange:
            raise ValueError(f"split is train, val or test, not {shown(min(strange))!r}")
        labels = found.coded("label")[1]
        if "" in (labels if isinstance(labels, list) else pc.unique(labels).to_pylist()):
            raise ValueError("path and label are never empty")
    return found


def write_predictions(
    file: Path, classes: Sequence[str], rows: Iterable[PredictionRow], whole: bool
) -> None:
    """Write a row an image: path, split, label and, if `whole`, each probability, else the
    largest; all or nothing.
    """
    import pyarrow as pa

    number = {name: i for i, name in enumerate(classes)}
    schema = predictions_schema(classes, whole)
    with table_writer(file, schema) as writer:
        for block in in_blocks(rows, max(1, min(BLOCK, AT_ONCE // len(classes)))):
            paths, splits, names, values = zip(*block, strict=True)
            labels = np.array([number[name] for name in names])
            columns = [pa.array(text, pa.string()) for text in (paths, splits, names)]
            if whole:
                columns.append(as_lists(np.stack(values).astype(np.float32)))
            else:
                own = [v for v in values if isinstance(v, TopProbabilities)]
                kept = (
                    TopProbabilities.joined(own)
                    if own
                    else TopProbabilities.of(np.stack(values), labels)
                )
                columns += kept_columns(kept)
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def read_predictions(file: Path) -> Predictions:
    """The table of predictions; DataError where it is none, FileNotFoundError without a file."""
    with _damage(file, DataError):
        opened = _opened(file, ("path", "split", "label"))
        classes = _classes(opened)
        names = opened.schema_arrow.names
        whole = "probabilities" in names
        if names != predictions_schema(classes, whole).names:
            raise ValueError(f"its columns are {shown(', '.join(names))}")
        table = ImageTable(file, opened)
        splits, kinds = table.coded("split")
        codes, labels = table.coded("label")
        number = {name: i for i, name in enumerate(classes)}
        if strange := set(labels) - set(number):
            raise ValueError(f"the label {shown(min(strange))!r} is none of its classes")
        targets = np.array([number[name] for name in labels], np.int64)[codes]
        probabilities = (
            _dense(opened, len(classes)) if whole else _largest(opened, len(classes), targets)
        )
        return Predictions(
            classes,
            TextColumn(table.column("path")),
            np.array(kinds, np.str_)[splits] if len(kinds) else np.array([], np.str_),
            targets,
            probabilities,
        )


def read_classes(file: Path) -> list[str]:
    """The classes of a predictions.parquet, in order; errors as in `read_predictions`."""
    with _damage(file, DataError):
        return _classes(_opened(file, ()))


def predictions_schema(classes: Sequence[str], whole: bool) -> Any:
    """The pyarrow schema of predictions.parquet, which names the classes."""
    import pyarrow as pa

    known: dict[str, Any] = {"format": 1, "classes": list(classes)}
    if whole:
        values = [("probabilities", pa.list_(pa.float32(), len(classes)))]
    else:
        known["kept"] = (
            f"the {TOP} most probable classes of each image (numbers of classes from 0), their "
            "probabilities, that of its label, and the sum of the squares of all. Exact from "
            "these: accuracy, confusion, NLL, ECE, Brier score, error budgets, top-k accuracy up "
            f"to {TOP}. Not known: the calibration of single classes, and the size of prediction "
            f"sets of more than {TOP} classes"
        )
        values = kept_fields()
    texts = [(name, pa.string()) for name in ("path", "split", "label")]
    return pa.schema([*texts, *values], {KEY: json.dumps(known, ensure_ascii=False).encode()})


def _classes(opened: Any) -> list[str]:
    try:
        stored = json.loads((opened.schema_arrow.metadata or {})[KEY])
        classes = stored["classes"]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError("its schema does not name the classes") from error
    if not isinstance(classes, list) or not all(isinstance(n, str) and n for n in classes):
        raise ValueError("its schema does not name the classes")
    if len(classes) < 2 or len(set(classes)) != len(classes):
        raise ValueError("its schema has a class twice, or fewer than two")
    return classes


def kept_fields() -> list[tuple[str, Any]]:
    """The names and types of the columns of TopProbabilities."""
    import pyarrow as pa

    types = (pa.list_(pa.int32(), TOP), pa.list_(pa.float32(), TOP), pa.float32(), pa.float32())
    return list(zip(KEPT, types, strict=True))


def kept_columns(kept: TopProbabilities) -> list[Any]:
    """The columns of `kept_fields`."""
    import pyarrow as pa

    lists = [as_lists(kept.top), as_lists(kept.values)]
    return [*lists, pa.array(kept.of_label), pa.array(kept.squares)]


def as_lists(values: NDArray[Any]) -> Any:
    """Numbers (N, M) as a pyarrow column of N lists of M."""
    import pyarrow as pa

    flat = pa.array(np.ascontiguousarray(values).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _filled(opened: Any, name: str, width: int, kind: Any) -> NDArray[Any]:
    """A column of lists (N, width), or with a width of 0 of numbers (N,), a block at a time."""
    count = opened.metadata.num_rows
    found = np.empty((count, width) if width else count, kind)
    rows = max(1, min(BLOCK, AT_ONCE // max(width, 1)))
    done = 0
    for batch in opened.iter_batches(rows, columns=[name]):
        column = batch.column(0)
        values = column.flatten() if width else column
        if column.null_count or values.null_count or len(values) != len(batch) * max(width, 1):
            raise ValueError(f"{name}: a value is missing")
        own = values.to_numpy(zero_copy_only=False)
        found[done : done + len(batch)] = own.reshape(-1, width) if width else own
        done += len(batch)
    return found


def _dense(opened: Any, count: int) -> NDArray[np.float64]:
    # float64 as from a CSV; a run of so many that this does not fit keeps the largest only.
    found = _filled(opened, "probabilities", count, np.float64)
    sums = found.sum(1)
    if not (found.min(initial=0) >= 0 and (np.abs(sums - 1) < ROUNDING).all()):
        row = int((np.abs(sums - 1) >= ROUNDING).argmax())
        raise ValueError(f"row {row + 1}: the probabilities are not 0 or more with the sum 1")
    return found


def _largest(opened: Any, count: int, targets: NDArray[np.int64]) -> TopProbabilities:
    kept = TopProbabilities(
        count,
        _filled(opened, KEPT[0], TOP, np.int32),
        _filled(opened, KEPT[1], TOP, np.float32),
        targets,
        *(_filled(opened, name, 0, np.float32) for name in KEPT[2:]),
    )
    top, values = kept.top, kept.values
    if not (top.min(initial=0) >= 0 and top.max(initial=0) < count):
        raise ValueError(f"{KEPT[0]}: a number that is none of {count:,} classes")
    fair = (values >= 0).all() and (values.sum(1, dtype=np.float64) < 1 + ROUNDING).all()
    # After rounding to float32 two that were in order may be equal, not more.
    if not (fair and (np.diff(values, axis=1) <= 0).all()):
        raise ValueError(f"{KEPT[1]}: not 0 or more, the largest first, with a sum of 1 at most")
    for name, numbers in zip(KEPT[2:], (kept.of_label, kept.squares), strict=True):
        if not ((numbers >= 0) & (numbers <= 1 + ROUNDING)).all():
            raise ValueError(f"{name}: not from 0 to 1")
    return kept


@contextmanager
def table_writer(file: Path, schema: Any) -> Iterator[Any]:
    """A ParquetWriter of a table, all or nothing."""
    import pyarrow.parquet as pq

    with replacing(file) as beside, pq.ParquetWriter(beside, schema, compression="zstd") as writer:
        yield writer


def _opened(file: Path, texts: Sequence[str]) -> Any:
    """The open file, of which the footer is read. Columns of `texts` are read as dictionaries, so
    that a value that is stored once for many rows is held once, too.
    """
    import pyarrow.parquet as pq

    checked_size(file, MOST_BYTES)
    opened = pq.ParquetFile(file, read_dictionary=list(texts), buffer_size=1 << 20)
    if opened.metadata.num_rows > MOST_ROWS:
        raise ValueError(f"has {opened.metadata.num_rows:,} rows, expected {MOST_ROWS:,} at most")
    return opened


@contextmanager
def _damage(file: Path, kind: type[GraftError], advice: str = "") -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError, OverflowError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0][:200]
        if isinstance(error, KeyError):  # of pyarrow, for a column that is to be read
            name = error.args[0]
            said = f"it has no column {name.decode() if isinstance(name, bytes) else name}"
        text = f"{file} is damaged: {said}" if advice else f"{file}: not a table of predictions"
        raise kind(f"{text}; {advice}" if advice else f"{text}: {said}") from error
