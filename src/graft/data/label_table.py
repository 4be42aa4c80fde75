"""Tables of labeled images as a Dataset."""

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from graft.data.archive import file_key
from graft.data.class_folders import SPLIT_NAMES
from graft.data.dataset import Dataset, Example
from graft.data.table_columns import MAX_ROWS, NAMES, Row
from graft.data.text_table import rows_of_text
from graft.errors import DataError

TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".parquet"})
TABLE_COLUMNS = tuple(NAMES)
PARQUET = ".parquet"


@dataclass
class TableRead:
    """What was read of one table or of several."""

    source: str
    within: Path | None = None  # what an archive's own tables may name files of
    # Where the file of a cell is to come from elsewhere: what to call it, and its place in the
    # cache; None for a file of this machine.
    elsewhere: Callable[[str], tuple[str, Path] | None] = lambda image: None
    examples: list[Example] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    lost: Counter[str] = field(default_factory=Counter)
    said: dict[str, None] = field(default_factory=dict)

    def dataset(self) -> Dataset:
        """What was read as a data set, in path order."""
        self.examples.sort(key=lambda example: (example.path, example.label))
        left_out = {kind: tuple(paths) for kind, paths in self.left_out.items()}
        form = f"the table is not in the usual form: {', '.join(self.said)}"
        remarks = (("table_form", form),) if self.said else ()
        return Dataset(self.source, tuple(self.examples), left_out, self.lost, remarks)

    def leave_out(self, kind: str, name: str, label: str = "") -> None:
        """Leave an image out, as this kind of finding; `label` is its class, if it is known."""
        self.left_out.setdefault(kind, []).append(name)
        if label:
            self.lost[label] += 1


def table(
    path: Path,
    source: str,
    cache: Path,
    within: Path | None = None,
    elsewhere: Callable[[str], tuple[str, Path] | None] = lambda image: None,
) -> Dataset:
    """The data set of a table. Rows without a label or an image, and those of files that do not
    exist, are left out and named.

    `within` is the folder that all its images must be in. `elsewhere`, for a cell whose file is yet
    to be fetched, says what to call it and where it will be; None for any other cell.

    Raises DataError for a table that cannot be read, an unknown split, or an image elsewhere.
    """
    read = TableRead(source, within, elsewhere)
    rows, said = rows_of(path, cache)
    read.said |= dict.fromkeys(said)
    add_rows(read, rows, path, "", None)
    return read.dataset()


def rows_of(path: Path, cache: Path, labeled: bool = True) -> tuple[Iterator[Row], list[str]]:
    """The rows of a table of either kind, lazily, and what there is to say about its form; images
    in it become files below `cache`. Unless `labeled`, a Parquet table need have no labels. Raises
    DataError for a table that cannot be read.
    """
    if path.suffix.lower() != PARQUET:
        return rows_of_text(path)
    from graft.data.parquet import opened, rows_of_parquet

    opened(path)  # before its bytes are counted up, which takes long if there are many
    return rows_of_parquet(path, cache / "unpacked" / file_key(path), labeled)


def add_rows(
    read: TableRead, rows: Iterable[Row], path: Path, shard: str, split: str | None
) -> None:
    """Add the rows of a table. `shard`: what its images' names are put under; "" for none."""
    for count, row in enumerate(rows, 1):
        where = f"{shard or read.source}, row {row.number}"
        if count > MAX_ROWS:
            raise DataError(f"{where}: a table of at most {MAX_ROWS:,} rows can be read; divide it")
        image, label = row.texts["image"].strip(), row.texts["label"].strip()
        if not image:
            read.leave_out("no_image", f"row {row.number}" if not shard else where, label)
            continue
        away = read.elsewhere(image) if row.file is None else None
        shown = f"{shard}/{image}" if shard else away[0] if away else image
        if not label:
            read.leave_out("unlabeled", shown)
            continue
        given = row.texts.get("split", "").strip().lower()
        if given and given not in SPLIT_NAMES:
            raise DataError(f"{where}: split must be train, val, test or empty, not {given!r}")
        file = row.file or (away[1] if away else path.parent / image)
        if row.file is None and away is None and read.within is not None:
            _check_within(where, image, file, read.within)
        if away is None and not _is_there(file):
            read.leave_out("missing", shown, label)
            continue
        group = row.texts.get("group", "").strip() or None
        others = {key: text for key, text in row.texts.items() if key not in NAMES}
        own = SPLIT_NAMES.get(given, split)
        read.examples.append(Example(shown, file, label, own, group, others or None))


def _check_within(where: str, image: str, file: Path, within: Path) -> None:
    # Nothing below `within` is a link, so that names alone tell.
    if not os.path.normpath(file).startswith(os.path.normpath(within) + os.sep):
        raise DataError(
            f"{where}: names {image!r}, which is not in the archive; do not trust this file"
        )


def _is_there(file: Path) -> bool:
    # A pipe or a device is there; that it is no image is told when it is to be read.
    try:
        return not stat.S_ISDIR(file.stat().st_mode)
    except (OSError, ValueError):
        return False
