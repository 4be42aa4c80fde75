"""CSV tables, written all or nothing."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from graft.utils.files import write_text


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV, all or nothing."""
    write_text(path, "".join(_csv_line(row) for row in [header, *rows]))


def _csv_line(row: Sequence[object]) -> str:
    # Written with \r\n at its end, because csv quotes no other line breaks than its terminator's.
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerow(row)
    return buffer.getvalue().removesuffix("\r\n") + "\n"
