"""The journal of decisions about images: a table that lines are added to and never changed.

    when,sha256,path,old,new,decision

`when` is a moment of UTC, the same for all lines of one action. `decision` is one of DECISIONS:

relabel, move   the image of this sha256 and path has the label `new` instead of `old`
rename          (no image) all images of the class `old` have the label `new`
class           (no image) there is a class `new`, with or without images
keep out        the image is not used, whatever it shows
keep            the image was looked at and stays as it is
add             the image was added to the project, with the label `new`
delete          the image, or the class `old`, is no longer shown
undo            the action of the moment `old` is undone
"""

import csv
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from graft.errors import DataError
from graft.utils.csv_table import csv_line
from graft.utils.files import naming

DECISIONS = ("relabel", "keep out", "keep", "rename", "move", "delete", "add", "class", "undo")


@dataclass(frozen=True, slots=True)
class Decision:
    """One line of the journal; see the top of this module."""

    decision: str
    sha256: str = ""
    path: str = ""
    old: str = ""
    new: str = ""
    when: str = ""


COLUMNS = ("when", "sha256", "path", "old", "new", "decision")


def read_journal(file: Path) -> list[Decision]:
    """The lines of a journal, oldest first; none where there is no file.

    Raises DataError for a file that is no journal.
    """
    if not file.exists():
        return []
    with file.open(encoding="utf-8", newline="") as lines:
        rows = csv.reader(lines)
        if tuple(found := next(rows, [])) != COLUMNS:
            raise DataError(f"{file}: expected the columns {','.join(COLUMNS)}, found {found}")
        read = []
        for number, row in enumerate(rows, 2):
            if len(row) != len(COLUMNS) or row[-1] not in DECISIONS:
                raise DataError(f"{file}, line {number}: expected one of {', '.join(DECISIONS)}")
            read.append(Decision(**dict(zip(COLUMNS, row, strict=True))))
        return read


def append(file: Path, decisions: Iterable[Decision]) -> list[Decision]:
    """Add the lines of one action, all or none, and return them with their moment."""
    moment = datetime.now(UTC).isoformat(timespec="microseconds")
    made = [replace(each, when=moment) for each in decisions]
    text = "".join(csv_line([getattr(each, name) for name in COLUMNS]) for each in made)
    with naming(file), file.open("ab") as stream:
        if not stream.tell():
            stream.write((",".join(COLUMNS) + "\n").encode())
        stream.write(text.encode())
        stream.flush()
        os.fsync(stream.fileno())
    return made


def in_force(decisions: Iterable[Decision]) -> list[Decision]:
    """The decisions that were not undone, without the lines that undo others."""
    decisions = list(decisions)
    undone = {each.old for each in decisions if each.decision == "undo"}
    return [each for each in decisions if each.when not in undone and each.decision != "undo"]


def undo(file: Path) -> list[Decision]:
    """Undo the last action that is in force, by a further line; returns what was undone."""
    standing = in_force(read_journal(file))
    if not standing:
        return []
    last = standing[-1].when
    append(file, [Decision("undo", old=last)])
    return [each for each in standing if each.when == last]
