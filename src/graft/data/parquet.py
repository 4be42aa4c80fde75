"""Tables in Parquet, with paths or with the image bytes themselves in the column `image`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from graft.data.archive import written_beside
from graft.errors import DataError


def rows_of_parquet(path: Path, unpacked: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (row number, row) of a Parquet table; image bytes become files below `unpacked`.

    A row with image bytes names its file in the extra key `file`.

    The column `image` holds text (paths relative to the table), binary (an encoded image), or
    the {"bytes", "path"} struct of Hugging Face datasets. Integer labels stay numbers, even if
    the schema's Hugging Face metadata has names for them.

    Raises DataError for a file that is not Parquet or lacks a column.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: cannot be read as a Parquet table: {error}") from error
    columns = table.schema_arrow.names
    if not {"image", "label"} <= set(columns):
        raise DataError(
            f"{path}: expected the columns image and label (optional: split, group), "
            f"found {', '.join(columns) or 'none'}"
        )
    plain = pyarrow.types
    wanted = [
        field.name
        for field in table.schema_arrow
        if field.name in ("image", "label", "split", "group")
        or not (plain.is_nested(field.type) or plain.is_binary(field.type))
    ]
    kind = table.schema_arrow.field("image").type
    if pyarrow.types.is_dictionary(kind):  # how pandas stores a column of categories
        kind = kind.value_type
    of_bytes = not (pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind))
    number = 0
    if of_bytes:
        wanted.remove("image")
    if of_bytes and not unpacked.exists():
        _write_images(path, table, unpacked)
    for batch in _batches(path, table, wanted, 1024):
        for row in batch.to_pylist():
            number += 1
            texts = {key: "" if value is None else str(value) for key, value in row.items()}
            if of_bytes:
                texts |= {"image": _name(number), "file": str(unpacked / _name(number))}
            yield number, texts


def _batches(path: Path, table: Any, columns: list[str], size: int) -> Iterator[Any]:
    import pyarrow

    try:
        yield from table.iter_batches(columns=columns, batch_size=size)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: is damaged; fetch it again: {error}") from error


def _name(number: int) -> str:
    return f"{number:08d}.img"


def _write_images(path: Path, table: Any, unpacked: Path) -> None:
    with written_beside(unpacked) as folder:
        number = 0
        for batch in _batches(path, table, ["image"], 256):
            for value in batch.column(0).to_pylist():
                number += 1
                data = value.get("bytes") if isinstance(value, dict) else value
                if not isinstance(data, bytes):
                    raise DataError(
                        f"{path}, row {number}: the column image holds neither a path nor image "
                        "bytes"
                    )
                (folder / _name(number)).write_bytes(data)
