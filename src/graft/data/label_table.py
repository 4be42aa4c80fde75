"""Tables of labeled images, and folders of their shards, as a Dataset."""

import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from graft.data.archive import file_key
from graft.data.class_folders import SPLIT_NAMES, Names
from graft.data.dataset import Dataset, Example
from graft.data.table_columns import MAX_ROWS, NAMES, Row
from graft.data.text_table import rows_of_text
from graft.errors import DataError

TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".parquet"})
TABLE_COLUMNS = tuple(NAMES)
PARQUET = ".parquet"


@dataclass
class _Read:
    """What was read of one table or of several."""

    source: str
    within: Path | None = None  # what an archive's own tables may name files of
    examples: list[Example] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    lost: Counter[str] = field(default_factory=Counter)
    said: dict[str, None] = field(default_factory=dict)
    rows: int = 0

    def dataset(self) -> Dataset:
        self.examples.sort(key=lambda example: (example.path, example.label))
        left_out = {kind: tuple(paths) for kind, paths in self.left_out.items()}
        form = f"the table is not in the usual form: {', '.join(self.said)}"
        remarks = (("table_form", form),) if self.said else ()
        return Dataset(self.source, tuple(self.examples), left_out, self.lost, remarks)

    def leave_out(self, kind: str, name: str, label: str = "") -> None:
        self.left_out.setdefault(kind, []).append(name)
        if label:
            self.lost[label] += 1


def table(path: Path, source: str, cache: Path, within: Path | None = None) -> Dataset:
    """The data set of a table. Rows without a label or an image, and those of files that do not
    exist, are left out and named.

    `within` is the folder that all its images must be in.

    Raises DataError for a table that cannot be read, an unknown split, or an image elsewhere.
    """
    read = _Read(source, within)
    rows, said = _rows(path, cache)
    read.said |= dict.fromkeys(said)
    _add(read, rows, path, "", None)
    return read.dataset()


def shards(files: Iterable[tuple[Names, Path]], source: str, cache: Path) -> Dataset:
    """The data set of Parquet files in a folder, each given with its names below the source.

    A shard's split is told by its name ("train-00000-of-00002.parquet") or by a folder's, unless
    it has a column for it.
    """
    read = _Read(source)
    for names, path in files:
        rows, said = _rows(path, cache)
        read.said |= dict.fromkeys(said)
        above = "/".join((*names[:-1], path.stem))
        words = [path.stem.partition("-")[0].partition("_")[0], *reversed(names[:-1])]
        split = next((SPLIT_NAMES[w.lower()] for w in words if w.lower() in SPLIT_NAMES), None)
        _add(read, rows, path, above, split)
    return read.dataset()


def _rows(path: Path, cache: Path) -> tuple[Iterator[Row], list[str]]:
    if path.suffix.lower() != PARQUET:
        return rows_of_text(path)
    from graft.data.parquet import opened, rows_of_parquet

    opened(path)  # before its bytes are counted up, which takes long if there are many
    return rows_of_parquet(path, cache / "unpacked" / file_key(path))


def _add(read: _Read, rows: Iterable[Row], path: Path, shard: str, split: str | None) -> None:
    """Add the rows of a table. `shard`: what its images' names are put under; "" for none."""
    for row in rows:
        where = f"{shard or read.source}, row {row.number}"
        read.rows += 1
        if read.rows > MAX_ROWS:
            raise DataError(f"{where}: a table of at most {MAX_ROWS:,} rows can be read; divide it")
        image, label = row.texts["image"].strip(), row.texts["label"].strip()
        if not image:
            read.leave_out("no_image", f"row {row.number}" if not shard else where, label)
            continue
        shown = f"{shard}/{image}" if shard else image
        if not label:
            read.leave_out("unlabeled", shown)
            continue
        given = row.texts.get("split", "").strip().lower()
        if given and given not in SPLIT_NAMES:
            raise DataError(f"{where}: split must be train, val, test or empty, not {given!r}")
        file = row.file or path.parent / image
        if row.file is None and read.within is not None:
            _check_within(where, image, file, read.within)
        if not _is_there(file):
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
