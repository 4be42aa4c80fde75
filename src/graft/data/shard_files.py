"""Sources that are files of many images each: Parquet shards and tars of samples, as a Dataset.

A shard that is damaged, cut short, empty or not there is named, and stops nothing.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from graft.data.archive import file_key
from graft.data.class_folders import SPLIT_NAMES, Names
from graft.data.dataset import Dataset, Example
from graft.data.file_listing import is_image_name, is_unread_picture
from graft.data.label_table import PARQUET, TableRead, add_rows, rows_of
from graft.data.tar_shards import is_tar_shard, read_index, unpack_samples
from graft.errors import DataError

# Beside tars: the names of the classes that their samples have the numbers of, one a line.
CLASS_LISTS = ("classnames.txt", "classes.txt")
_OF = re.compile(r"(.*?)(\d{3,6})-of-(\d{3,6})(\D.*)", re.DOTALL)
NOT_THERE = "not there"


@dataclass(frozen=True)
class ShardFile:
    """A file of many images: its names below the source, and where it lies, None if it is not
    there. Of a tar that was unpacked already, `path` is the folder.
    """

    names: Names
    path: Path | None

    @property
    def name(self) -> str:
        """The name below the source, as people write it."""
        return "/".join(self.names)


def is_shard_file(name: str) -> bool:
    """Whether a file of this name may hold many images."""
    return name.lower().endswith(PARQUET) or is_tar_shard(name)


def holds_shards(names: Iterable[str]) -> bool:
    """Whether files of these names are shards: a tar or a Parquet file among them, and no image."""
    there = False
    for name in names:
        if is_image_name(name) or is_unread_picture(name):
            return False
        there = there or is_shard_file(name)
    return there


def shards(
    files: Iterable[ShardFile], source: str, cache: Path, class_names: Sequence[str] = ()
) -> Dataset:
    """The data set of shard files, each read when its turn comes.

    A shard's split is told by its name ("train-00000-of-00002.parquet") or by a folder's, unless
    it has a column for it. `class_names` are those that the numbers in tars stand for.

    Raises DataError if none of the shards can be read, with what is wrong with the first.
    """
    read = TableRead(source)
    problem: DataError | None = None
    good = 0
    for file in files:
        try:
            if file.path is None:
                raise DataError(NOT_THERE)
            if is_tar_shard(file.names[-1]):
                _add_tar(read, file, file.path, cache, class_names)
            else:
                _add_parquet(read, file, file.path, cache)
            good += 1
        except _BadShardError as error:
            read.leave_out("bad_shard", f"{file.name} ({error.what})")
            problem = problem or error.error
        except DataError as error:
            if file.path is not None:
                raise
            read.leave_out("bad_shard", f"{file.name} ({error})")
            problem = problem or DataError(f"{source}: {file.name} is {error}")
    if problem is not None and not good and not read.examples:
        raise problem
    return read.dataset()


def gaps(names: Iterable[str]) -> list[str]:
    """The shards that the names of others say there are: of train-00000-of-00003.parquet and
    train-00002-of-00003.parquet, the one between them.
    """
    families: dict[tuple[str, str, str], set[int]] = {}
    widths: dict[tuple[str, str, str], int] = {}
    for name in names:
        if found := _OF.fullmatch(name):
            family = found[1], found[3], found[4]
            families.setdefault(family, set()).add(int(found[2]))
            widths[family] = len(found[2])
    missing = []
    for family, there in families.items():
        before, count, after = family
        # Some count from 0 and some from 1.
        first = 0 if 0 in there or int(count) not in there else 1
        numbers = range(first, first + int(count))
        missing += [
            f"{before}{number:0{widths[family]}d}-of-{count}{after}"
            for number in numbers
            if number not in there
        ]
    return missing


def read_class_names(file: Path) -> list[str]:
    """The class names in a list beside tars, one a line."""
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    return [line.strip() for line in lines if line.strip()]


class _BadShardError(Exception):
    """A shard of which all or the end cannot be read."""

    def __init__(self, what: str, error: DataError):
        super().__init__(what)
        self.what, self.error = what, error


def _add_parquet(read: TableRead, file: ShardFile, path: Path, cache: Path) -> None:
    try:
        rows, said = rows_of(path, cache)
        # All of it or nothing: what comes before a damaged page tells nothing of what is lost.
        whole = list(rows)
    except DataError as error:
        raise _BadShardError(f"{_promised(path)}{_why(error, path)}", error) from error
    if not whole:
        raise _BadShardError("holds no image", DataError(f"{read.source}: {file.name} is empty"))
    read.said |= dict.fromkeys(said)
    above = file.name.removesuffix(Path(file.name).suffix)
    first = Path(file.name).stem.partition("-")[0].partition("_")[0]
    add_rows(read, whole, path, above, _split(file.names, [first]))


def _add_tar(
    read: TableRead, file: ShardFile, path: Path, cache: Path, class_names: Sequence[str]
) -> None:
    folder = tar_folder(path, cache)
    index = read_index(folder)
    split = _split(file.names, re.split(r"[-_.]", file.names[-1]))
    seen: set[str] = set()
    for number, image in enumerate(index.images, 1):
        shown = f"{file.name}/{image.name}"
        if shown in seen:
            shown += f" ({number})"  # a tar may hold one name twice
        seen.add(shown)
        label = image.label
        if label.isdecimal() and int(label) < len(class_names):
            label = class_names[int(label)]
        if not label:
            read.leave_out("unlabeled", shown)
            continue
        given = image.split.strip().lower()
        if given and given not in SPLIT_NAMES:
            raise DataError(f"{shown}: split must be train, val, test or empty, not {given!r}")
        own = SPLIT_NAMES.get(given, split)
        columns = image.columns or None
        example = Example(shown, folder / image.file, label, own, image.group or None, columns)
        read.examples.append(example)
    for key in index.without_image:
        read.leave_out("no_image", f"{file.name}/{key}")
    if index.problem:
        held = f"{len(index.images):,} images before the damage are used; " if index.images else ""
        error = DataError(f"{read.source}: {file.name} {index.problem}")
        raise _BadShardError(f"{held}{index.problem}", error)


def tar_folder(path: Path, cache: Path) -> Path:
    """The folder that a tar is unpacked into, which it is if that was not done before; such a
    folder itself is given as it is. DataError for one that cannot be unpacked.
    """
    if path.is_dir():
        return path
    folder = cache / "unpacked" / f"tar-{_key(path)}"
    unpack_samples(path, folder)
    return folder


def _key(path: Path) -> str:
    try:
        return file_key(path)
    except DataError:
        # Not even its beginning is one of a tar; what is unpacked of it says so.
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()[:32]


def _split(names: Names, words: Sequence[str]) -> str | None:
    told = (*words, *reversed(names[:-1]))
    return next((SPLIT_NAMES[w.lower()] for w in told if w.lower() in SPLIT_NAMES), None)


def _promised(path: Path) -> str:
    """How many images a Parquet file says that it has, if it still does."""
    from graft.data.parquet import opened

    try:
        return f"{opened(path).metadata.num_rows:,} images; "
    except DataError:
        return ""


def _why(error: DataError, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ").removeprefix(f"{path} ")
