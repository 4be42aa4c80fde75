"""The journal of corrections: what a person decided about images, one line a decision.

A CSV file, UTF-8, to which lines are only ever added; this module alone reads and writes it.

    when      the time of the decision, ISO 8601 with its offset from UTC
    sha256    of the file's bytes: a decision is about the bytes, wherever the file lies
    path      where the image was, for people; nothing goes by it
    old, new  the label before and after; `new` is empty where the image is left out
    decision  a key of DECISIONS (quality/correction.py)

Copies of the same bytes share a decision. Taking a decision back is another line, "undo". Only
what ends with its line counts: the half line of a writer that was killed is left out, and said.
"""

import contextlib
import csv
import io
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from graft.data.image_file import irregular
from graft.errors import DataError, UsageError
from graft.quality.correction import (
    DECISIONS,
    ContradictionError,
    Correction,
    fault_of,
    standing_of,
)
from graft.utils.locks import lock

COLUMNS = ("when", "sha256", "path", "old", "new", "decision")
# About 300,000 decisions.
MAX_JOURNAL_BYTES = 2**26
_HEADER = (",".join(COLUMNS) + "\n").encode()


@dataclass(frozen=True)
class Journal:
    """The decisions of a file.

    `lines`: all, in order. `standing`: those that hold, in order, without what was undone and
    without "undo". `cut_off`: whether half a line at the end was left out. `numbers`: where in the
    file each standing decision begins, counted from 1.
    """

    file: Path
    lines: tuple[Correction, ...] = ()
    standing: tuple[Correction, ...] = ()
    cut_off: bool = False
    numbers: tuple[int, ...] = ()

    @property
    def notes(self) -> list[str]:
        """What a reader should be told."""
        if not self.cut_off:
            return []
        return [
            f"{self.file}: the last line was cut off while it was written, so it is left out; make "
            "that decision again"
        ]


def read_journal(file: str | Path) -> Journal:
    """The decisions of a journal; none where there is no such file yet.

    Raises DataError, one line with the number of the line at fault, for a file that is no journal,
    is damaged, or whose decisions contradict each other.
    """
    path = Path(file)
    try:
        status = path.stat()
        if kind := irregular(status.st_mode):
            raise DataError(f"{path}: expected a journal of corrections, but it is {kind}")
        if status.st_size > MAX_JOURNAL_BYTES:
            raise _no_journal(path, f"it has {status.st_size:,} bytes")
        data = path.read_bytes()
    except FileNotFoundError:
        return Journal(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    return _parsed(path, data)[0]


def append(file: str | Path, corrections: Sequence[Correction]) -> Journal:
    """Add decisions, all or none of them, and return the journal with them; its folder must exist.

    Several processes may do so at once. Raises UsageError for a decision that is not possible or
    contradicts an earlier one, DataError as `read_journal`, OSError for what the system refuses;
    the journal is then as it was.
    """
    with _held(Path(file)) as (descriptor, data):
        return _added(Path(file), descriptor, data, corrections)


def undo(
    file: str | Path,
    count: int = 1,
    sha256: str | None = None,
    kinds: Collection[str] = DECISIONS,
) -> Journal:
    """Take back the last `count` standing decisions, of the image `sha256` alone if one is named,
    and of these `kinds`.

    Raises UsageError where there are not so many, for a rename whose new name later decisions use
    and for a decision on an image about which a later one, of another kind, stands; errors as of
    `append` otherwise.
    """
    path = Path(file)
    with _held(path) as (descriptor, data):
        journal, _ = _parsed(path, data)
        open_ones = [
            c for c in journal.standing if sha256 in (None, c.sha256) and c.decision in kinds
        ]
        if not 0 < count <= len(open_ones):
            raise UsageError(
                f"{path}: {len(open_ones):,} decisions can be taken back"
                f"{' on this image' if sha256 else ''}, not {count:,}"
            )
        taken = open_ones[: -count - 1 : -1]
        those, names, images = {id(one) for one in taken}, set[str](), set[str]()
        for one in reversed(journal.standing):
            if id(one) not in those:
                names |= {one.old, one.new}  # used since, by what stays
                images.add(one.sha256)
            elif one.sha256 and one.sha256 in images:
                raise UsageError(
                    f"{path}: {one.path} was decided about again since; take that back first"
                )
            elif one.decision == "rename" and one.new in names:
                raise UsageError(
                    f"{path}: the class {one.new!r}, renamed from {one.old!r}, was used in other "
                    "decisions since; take those back first"
                )
        return _added(path, descriptor, data, [one.undone for one in taken])


@contextlib.contextmanager
def _held(path: Path) -> Iterator[tuple[int, bytes]]:
    """The journal to oneself: its descriptor and its bytes."""
    descriptor = lock(path, wait=True)
    if descriptor is None:  # for the type: whoever waits gets it
        raise UsageError(f"{path} is in use; try again")
    try:
        with open(descriptor, "rb", closefd=False) as stream:
            yield descriptor, stream.read()
    finally:
        os.close(descriptor)


def _added(path: Path, descriptor: int, data: bytes, corrections: Sequence[Correction]) -> Journal:
    journal, whole = _parsed(path, data)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    new = [replace(each, when=each.when or now) for each in corrections]
    for each in new:
        if fault := fault_of(each):
            raise UsageError(f"{path}: {fault}")
    before = len(journal.lines)
    try:
        standing, _ = standing_of([*journal.lines, *new], range(before + len(new)))
    except ContradictionError as error:
        raise UsageError(f"{path}: {error.args[1]}") from None
    text = io.StringIO()
    # All quoted: a line that was cut off is then told from a whole one.
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(
        [getattr(each, name) for name in COLUMNS] for each in new
    )
    start = b"" if whole else _HEADER
    if whole and not data[:whole].endswith(b"\n"):
        start = b"\n"
    _write(descriptor, whole, len(data), start + text.getvalue().encode())
    return replace(
        journal, lines=(*journal.lines, *new), standing=tuple(standing), cut_off=False, numbers=()
    )


def _write(descriptor: int, whole: int, size: int, added: bytes) -> None:
    if whole < size:
        os.ftruncate(descriptor, whole)  # half a line, which nobody counted
    os.lseek(descriptor, 0, os.SEEK_END)
    try:
        left = memoryview(added)
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, whole)
        raise


def _parsed(path: Path, data: bytes) -> tuple[Journal, int]:
    """The journal in these bytes, and how many of them are whole lines."""
    records, rest = _records(data)
    if not records and _HEADER.startswith(rest.removeprefix(b"\xef\xbb\xbf")):
        return Journal(path, cut_off=bool(rest)), 0
    cut_off, whole = bool(rest), len(data) - len(rest)
    if rest and _is_whole(rest):  # only its end of line is missing, as some editors leave it
        records.append((data.count(b"\n") + 1, rest))
        cut_off, whole = False, len(data)
    elif any(map(_is_whole, rest.split(b"\n")[1:])):
        line = data[:whole].count(b"\n") + 1
        raise _damaged(path, line, "a quote that begins there is never closed")
    head = _cells(records[0][1]) if records else None
    if head is None or tuple(head) != COLUMNS:
        raise _no_journal(path, "it begins otherwise")
    numbers, lines = [], []
    for number, record in records[1:]:
        cells = _cells(record)
        if cells is None or len(cells) != len(COLUMNS):
            raise _damaged(path, number, f"expected {len(COLUMNS)} cells, {','.join(COLUMNS)}")
        found = Correction(**dict(zip(COLUMNS, cells, strict=True)))
        if fault := fault_of(found):
            raise _damaged(path, number, fault)
        numbers.append(number)
        lines.append(found)
    try:
        standing, where = standing_of(lines, numbers)
    except ContradictionError as error:
        raise DataError(f"{path}, line {error.args[0]}: {error.args[1]}") from None
    return Journal(path, tuple(lines), tuple(standing), cut_off, tuple(where)), whole


def _records(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Each record with the number of its first line, and what is left: a record ends at an end of
    line that no quotes enclose.
    """
    found, start, first, number, at = [], 0, 1, 1, 0
    while (end := data.find(b"\n", at)) >= 0:
        number, at = number + 1, end + 1
        if data.count(b'"', start, end) % 2 == 0:
            found.append((first, data[start:end].removesuffix(b"\r")))
            start, first = at, number
    return found, data[start:]


def _cells(record: bytes) -> list[str] | None:
    try:
        text = record.decode("utf-8-sig")
        return next(csv.reader([text], strict=True), [])
    except (UnicodeError, csv.Error):
        return None


def _is_whole(record: bytes) -> bool:
    """Whether this is a line as `append` writes it, to the last quote."""
    cells = _cells(record)
    return record.rstrip().endswith(b'"') and cells is not None and len(cells) == len(COLUMNS)


def _no_journal(path: Path, came: str) -> DataError:
    return DataError(
        f"{path}: expected a journal of corrections, whose first line is {','.join(COLUMNS)} and "
        f"which has at most {MAX_JOURNAL_BYTES:,} bytes, but {came}"
    )


def _damaged(path: Path, number: int, fault: str) -> DataError:
    return DataError(f"{path} is damaged in line {number}: {fault}; mend or remove that line")
