"""Tables in Parquet, with paths or with the image bytes themselves in the column `image`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from graft.data.archive import written_beside
from graft.data.image_file import irregular
from graft.data.table_columns import (
    MAX_ROWS,
    MAX_TABLE_BYTES,
    NAMES,
    Columns,
    Row,
    columns_of,
    expected_columns,
)
from graft.data.unpacked_size import check_unpacked, unpacked_limit
from graft.errors import DataError

# Bytes of a column, as its chunks declare them, that may be decoded at one time.
AT_ONCE = 2**26


def rows_of_parquet(
    path: Path, unpacked: Path, labeled: bool = True
) -> tuple[Iterator[Row], list[str]]:
    """The rows of a Parquet table, lazily, and what there is to say about its form.

    The column of the image holds text (paths relative to the table), binary (an encoded image), or
    the {"bytes", "path"} struct of Hugging Face datasets; images become files below `unpacked`. A
    null image is a row with an empty text. Integer labels get the class names that the schema's
    Hugging Face metadata has for them, if it has any. Unless `labeled`, there need be no labels.

    Raises DataError for a file that is not Parquet, lacks a column, or unpacks to more than
    `unpacked_limit`.
    """
    table = opened(path)
    columns = columns_of(table.schema_arrow.names)
    if not columns and (labeled or "image" not in columns.called.values()):
        raise expected_columns(path, table.schema_arrow.names)
    if table.metadata.num_rows > MAX_ROWS:
        raise DataError(
            f"{path}: has {table.metadata.num_rows:,} rows, but a table of at most {MAX_ROWS:,} "
            "can be read; divide it"
        )
    return _rows(path, table, columns, unpacked), columns.said() if columns else []


def opened(path: Path) -> Any:
    """The pyarrow.parquet.ParquetFile of a path, of which the footer is read.

    Raises DataError for anything else.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        if kind := irregular(path.stat().st_mode):
            raise DataError(f"{path}: is {kind}, not a table")
        # Not mapped into memory: a file that is cut while it is read would end the process.
        return pyarrow.parquet.ParquetFile(path, buffer_size=1 << 20)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as a Parquet table: {_line(error)}") from error


def _rows(path: Path, table: Any, columns: Columns, unpacked: Path) -> Iterator[Row]:
    from pyarrow import types

    image = columns.own_name("image")
    kind = table.schema_arrow.field(image).type
    if types.is_dictionary(kind):  # how pandas stores a column of categories
        kind = kind.value_type
    of_bytes = not (types.is_string(kind) or types.is_large_string(kind))
    if of_bytes and not _holds_bytes(kind):
        raise DataError(f"{path}: the column {image} holds neither paths nor image bytes")
    wanted = [
        field.name
        for field in table.schema_arrow
        if columns.called[field.name] in NAMES
        or not (types.is_nested(field.type) or types.is_binary(field.type))
    ]
    if of_bytes:
        wanted.remove(image)
        if not unpacked.exists():
            _write_images(path, table, image, unpacked)
    written = {file.name for file in unpacked.iterdir()} if of_bytes else set()
    names = _class_names(table, columns.own_name("label")) if columns else []
    number = held = 0
    for batch in _batches(path, table, wanted, 1024):
        for row in batch:
            number += 1
            texts = {
                columns.called[key]: "" if value is None else str(value)
                for key, value in row.items()
            }
            held += sum(map(len, texts.values()))
            if held > MAX_TABLE_BYTES:
                raise DataError(
                    f"{path}: unpacks to more than {MAX_TABLE_BYTES:,} bytes of text; leave "
                    "columns out"
                )
            if names:
                texts["label"] = _class_name(path, number, texts["label"], names)
            if not of_bytes:
                yield Row(number, texts)
                continue
            name = _name(number)
            there = name in written
            yield Row(
                number, texts | {"image": name if there else ""}, unpacked / name if there else None
            )


def _holds_bytes(kind: Any) -> bool:
    from pyarrow import types

    if types.is_struct(kind):
        return any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
    return bool(
        types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)
    )


def _batches(path: Path, table: Any, columns: list[str], size: int) -> Iterator[list[Any]]:
    """Rows of some columns, a few at a time: a value that is stored once may fill many rows."""
    import pyarrow

    try:
        stored = table.metadata
        groups = [stored.row_group(i) for i in range(stored.num_row_groups)]
        chunks = [g.column(i) for g in groups for i in range(g.num_columns)]
        largest = max(
            (
                chunk.total_uncompressed_size
                for chunk in chunks
                if chunk.path_in_schema.split(".")[0] in columns
            ),
            default=1,
        )
        rows = min(size, max(1, AT_ONCE // max(largest, 1)))
        for batch in table.iter_batches(columns=columns, batch_size=rows):
            yield batch.to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError, KeyError, OverflowError) as error:
        raise DataError(f"{path}: is damaged; fetch it again: {_line(error)}") from error
    except MemoryError as error:
        raise DataError(f"{path}: is damaged, or does not fit into memory") from error


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _name(number: int) -> str:
    return f"{number:08d}.img"


def _write_images(path: Path, table: Any, column: str, unpacked: Path) -> None:
    limit, held, number = unpacked_limit(path), 0, 0
    with written_beside(unpacked) as folder:
        for batch in _batches(path, table, [column], 256):
            for row in batch:
                number += 1
                value = row[column]
                data = value.get("bytes") if isinstance(value, dict) else value
                if data is None:
                    continue
                held += len(data)
                check_unpacked(path, held, limit)
                (folder / _name(number)).write_bytes(data)


def _class_names(table: Any, label: str) -> list[str]:
    """The names that the Hugging Face metadata of the schema has for integer labels, if any."""
    from pyarrow import types

    if not types.is_integer(table.schema_arrow.field(label).type):
        return []
    try:
        stored = json.loads((table.schema_arrow.metadata or {})[b"huggingface"])
        names = stored["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return []
    return names if isinstance(names, list) and all(isinstance(n, str) for n in names) else []


def _class_name(path: Path, number: int, text: str, names: list[str]) -> str:
    """The class name of an integer label; empty for none, which Hugging Face writes as -1."""
    if text in ("", "-1"):
        return ""
    if not 0 <= int(text) < len(names):
        raise DataError(
            f"{path}, row {number}: the label is {text}, but the schema names "
            f"{len(names):,} classes"
        )
    return names[int(text)]
