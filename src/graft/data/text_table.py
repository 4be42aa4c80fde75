"""Tables of text: CSV and TSV as people's programs write them, whatever the encoding and comma."""

import codecs
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from graft.data.image_file import irregular
from graft.data.table_columns import (
    MAX_TABLE_BYTES,
    Columns,
    Row,
    columns_of,
    expected_columns,
)
from graft.errors import DataError

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_COMMAS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
ZEROS = "it holds zero bytes"
_NAMES = {"cp1252": "Windows-1252 (Latin-1)", "latin-1": "Latin-1"}


def rows_of_text(path: Path) -> tuple[Iterator[Row], list[str]]:
    """The rows of a .csv or .tsv table, lazily, and what there is to say about its form.

    UTF-8, UTF-16 and UTF-32 are told by their marks or their bytes; what is none of them is read
    as Windows-1252. Cells are divided by commas, semicolons, tabs or bars: by whichever gives
    columns for the image and the label.

    Raises DataError for a file that is no such table, or larger than MAX_TABLE_BYTES.
    """
    text = _text(path)
    usual = "\t" if path.suffix.lower() == ".tsv" else ","
    comma, columns, skipped = _divided(path, text, usual)
    said = columns.said()
    if comma != usual:
        said.insert(0, f"its cells are divided by {_COMMAS.get(comma, repr(comma))}")
    if text.encoding not in ("utf-8", "utf-8-sig"):
        said.insert(0, f"it is read as {_NAMES.get(text.encoding, text.encoding.upper())}")
    return _rows(path, text, comma, columns, skipped), said


@dataclass(frozen=True)
class _Text:
    """The bytes of a table and their encoding; as one text they would take four times as much."""

    data: bytes
    encoding: str

    def lines(self, skipped: int = 0) -> io.TextIOWrapper:
        """The lines as `csv` takes them, without the first `skipped`."""
        stream = io.TextIOWrapper(io.BytesIO(self.data), encoding=self.encoding, newline="")
        for _ in range(skipped):
            stream.readline()
        return stream

    def fault(self) -> str:
        """What keeps the bytes from being a text in this encoding; "" if nothing does."""
        decoder = codecs.getincrementaldecoder(self.encoding)()
        try:
            for start in range(0, len(self.data) + 1, 1 << 20):
                last = start + (1 << 20) > len(self.data)
                if "\0" in decoder.decode(self.data[start : start + (1 << 20)], last):
                    return ZEROS
        except UnicodeError as error:
            return str(error)
        return ""


def _rows(path: Path, text: _Text, comma: str, columns: Columns, skipped: int) -> Iterator[Row]:
    reader = csv.DictReader(text.lines(skipped), delimiter=comma)
    try:
        for cells in reader:
            texts = {columns.called[k]: v or "" for k, v in cells.items() if k is not None}
            yield Row(reader.line_num + skipped, texts)
    except csv.Error as error:
        raise DataError(
            f"{path}: cannot be read as a table, near row {reader.line_num}: {error}"
        ) from error


def _text(path: Path) -> _Text:
    try:
        status = path.stat()
        if kind := irregular(status.st_mode):
            raise DataError(f"{path}: is {kind}, not a table")
        if status.st_size > MAX_TABLE_BYTES:
            raise DataError(
                f"{path}: has {status.st_size:,} bytes, but a table of at most "
                f"{MAX_TABLE_BYTES:,} can be read; divide it, or leave columns out"
            )
        with path.open("rb") as stream:
            data = stream.read(MAX_TABLE_BYTES)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    marked = next((name for mark, name in _BOMS if data.startswith(mark)), _unmarked(data))
    fault = ""
    for encoding in (marked,) if marked else ("utf-8", "cp1252", "latin-1"):
        text = _Text(data, encoding)
        fault = text.fault()
        if not fault:
            return text
        if fault == ZEROS:
            break
    raise DataError(f"{path}: is no table of text in {marked or 'UTF-8'}: {fault}")


def _unmarked(data: bytes) -> str:
    """UTF-16 without a mark: every other byte of its Latin letters and commas is zero."""
    head = data[:1000]
    first, second = head[::2].count(0), head[1::2].count(0)
    if max(first, second) <= len(head) // 5:
        return ""
    return "utf-16-be" if first > second else "utf-16-le"


def _divided(path: Path, text: _Text, usual: str) -> tuple[str, Columns, int]:
    """What divides the cells, the columns, and how many lines lie before them."""
    first = text.lines().readline(100).strip()
    if first.lower().startswith("sep=") and len(first) == 5:  # a line that Excel writes
        commas, skipped = [first[4]], 1
    else:
        commas, skipped = [usual, *(comma for comma in _COMMAS if comma != usual)], 0
    shown: list[str] = []
    for comma in commas:
        try:
            found = next(csv.reader(text.lines(skipped), delimiter=comma), [])
        except (csv.Error, TypeError):  # TypeError: a comma that csv does not allow
            continue
        columns = columns_of(found)
        if columns:
            return comma, columns, skipped
        shown = shown if len(shown) > len(found) else found
    raise expected_columns(path, shown)
