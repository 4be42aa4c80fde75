"""List the images of a source: a folder, a table, an archive, shards, or a named dataset, here or
elsewhere.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from graft.choices import LabelBy
from graft.data.archive import file_key, is_archive, unpack
from graft.data.brace_notation import expanded, has_braces
from graft.data.class_folders import SPLIT_NAMES, Names, class_folders
from graft.data.dataset import Dataset
from graft.data.feature_folder import is_feature_folder
from graft.data.feature_listing import rows_of_folder
from graft.data.file_listing import IMAGE_SUFFIXES, find_images, is_hidden, walk
from graft.data.image_file import irregular
from graft.data.label_table import TABLE_COLUMNS, TABLE_SUFFIXES, table
from graft.data.named_datasets import SAMPLES, materialize
from graft.data.remote_address import is_remote, local_path, public_address
from graft.data.remote_source import (
    Cells,
    is_braced,
    one_file,
    remote_folder,
    remote_table,
)
from graft.data.remote_store import Store
from graft.data.shard import Shard
from graft.data.shard_files import (
    CLASS_LISTS,
    ShardFile,
    gaps,
    holds_shards,
    is_shard_file,
    read_class_names,
    shards,
)
from graft.data.tar_shards import holds_samples, is_tar_shard
from graft.errors import DataError, UsageError
from graft.utils.progress import SILENT, Progress

__all__ = [
    "IMAGE_SUFFIXES",
    "SPLIT_NAMES",
    "TABLE_COLUMNS",
    "TABLE_SUFFIXES",
    "find_images",
    "listing_of",
    "load_dataset",
    "part_of",
]


def load_dataset(
    source: str | Path,
    cache: Path,
    on_progress: Callable[[int, int | None], None] | None = None,
    *,
    label_by: LabelBy | None = None,
    follow_links: bool = False,
    features: bool = False,
    shard: Shard | None = None,
    progress: Progress = SILENT,
) -> Dataset:
    """List the labeled images of `source`, in path order, without opening them.

    `source` is a folder with one folder per class (or split folders: train, val, test), a
    .csv/.tsv/.parquet table with the columns image and label (optional: split, group), a folder of
    Parquet shards or of WebDataset tars, several such files in brace notation, an archive of a
    folder, or the name of a dataset (`graft check digits`); or one of these elsewhere, as an
    address (s3://, gs://, az://, hf://, https://). docs/sources.md has them all.

    Archives, downloads and what lies elsewhere come below `cache`; `progress` tells of the latter.
    With a `shard`, only that shard's images are fetched, unpacked and returned.

    `label_by`: of folders in class folders, which one is the label. `follow_links`: also those
    that lead out of the folder. `features`: also a folder that `graft features` filled, whose data
    set has no images, for callers that need none.

    Raises DataError if the source cannot be listed, UsageError if it does not exist, ModelError for
    a package that is not installed, DownloadError for what cannot be fetched.
    """
    name = public_address(source)
    if is_remote(source):
        return _elsewhere(str(source), name, cache, label_by, shard, progress)
    path = local_path(source)
    if name in SAMPLES and not path.exists():
        folder = materialize(name, cache / "datasets", on_progress=on_progress)
        return part_of(_folder(folder, name, cache, label_by, False), shard)
    if not path.exists() and has_braces(name):
        return _braced(path, name, cache, shard)
    if not path.exists():
        raise UsageError(
            f"{name}: no such folder, table or archive; the named datasets are {', '.join(SAMPLES)}"
        )
    if is_feature_folder(path):
        if features:
            return rows_of_folder(path, name).dataset
        raise UsageError(
            f"{name} holds what graft features computed, and this needs the images themselves; "
            "give the source that they are in"
        )
    if path.is_dir():
        return _folder(path, name, cache, label_by, follow_links, shard)
    if kind := irregular(path.stat().st_mode):
        raise DataError(f"{name}: expected a folder, a table or an archive, but it is {kind}")
    if path.suffix.lower() in TABLE_SUFFIXES:
        cells = Cells(cache)
        return cells.dataset(table(path, name, cache, None, cells.place), shard, progress)
    return _archive(path, path.name, name, cache, label_by, shard)


def listing_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What the settings of a run say about listing its source, as `load_dataset` takes it.

    Those of older versions do not say: their sources were listed in the usual way.
    """
    return {
        "label_by": settings.get("label_by"),
        "follow_links": bool(settings.get("follow_links")),
    }


def _elsewhere(
    address: str,
    name: str,
    cache: Path,
    label_by: LabelBy | None,
    shard: Shard | None,
    progress: Progress,
) -> Dataset:
    """The data set of an address."""
    if is_braced(address) or Store(address).kind() == "folder":
        return remote_folder(address, cache, label_by, shard, progress)
    last = name.rpartition("/")[2]
    if Path(last).suffix.lower() in TABLE_SUFFIXES:
        return remote_table(address, name, cache, shard, progress)
    if not is_archive(Path(last)):
        raise _something_else(name)
    return _archive(one_file(address, cache, progress), last, name, cache, label_by, shard)


def part_of(dataset: Dataset, shard: Shard | None) -> Dataset:
    """The images of a listing that a shard takes, and its share of what was left out; all of them
    without one.
    """
    if shard is None:
        return dataset
    left_out = {
        kind: tuple(path for path in paths if shard.takes(path))
        for kind, paths in dataset.left_out.items()
    }
    return replace(
        dataset,
        examples=tuple(example for example in dataset.examples if shard.takes(example.path)),
        left_out={kind: paths for kind, paths in left_out.items() if paths},
    )


def _folder(
    root: Path,
    source: str,
    cache: Path,
    label_by: LabelBy | None,
    follow_links: bool,
    shard: Shard | None = None,
) -> Dataset:
    outside: list[Path] = []
    files = [(file.relative_to(root).parts, file) for file in walk(root, outside, follow_links)]
    if holds_shards(names[-1] for names, _ in files):
        return _shards(files, source, cache, shard)
    found = part_of(class_folders(files, source, label_by), shard)
    if not outside:
        return found
    links = tuple(str(link.relative_to(root)).encode(errors="replace").decode() for link in outside)
    return replace(found, left_out={**found.left_out, "link_outside": links})


def _shards(
    files: Iterable[tuple[Names, Path | None]], source: str, cache: Path, shard: Shard | None
) -> Dataset:
    """The data set of Parquet shards or tars; of a `shard`, of the files that it takes."""
    files = list(files)
    many = [ShardFile(names, file) for names, file in files if is_shard_file(names[-1])]
    many += [ShardFile(tuple(n.split("/")), None) for n in gaps(file.name for file in many)]
    taken = [file for file in many if shard is None or shard.takes(file.name)]
    lists = [file for names, file in files if file and "/".join(names) in CLASS_LISTS]
    return shards(taken, source, cache, read_class_names(lists[0]) if lists else ())


def _braced(path: Path, name: str, cache: Path, shard: Shard | None) -> Dataset:
    """The data set of the files that braces in a path stand for."""
    above = Path(name.partition("{")[0] + "x").parent
    named = [Path(each) for each in expanded(str(path))]
    if not any(file.exists() for file in named):
        raise UsageError(f"{name}: none of these {len(named):,} files is there")
    if other := next((file for file in named if not is_shard_file(file.name)), None):
        raise UsageError(f"{name}: expected .tar or .parquet files in brace notation, got {other}")
    there = [(f.relative_to(above).parts, f if f.is_file() else None) for f in named]
    lists = [((each,), above / each) for each in CLASS_LISTS if (above / each).is_file()]
    return _shards([*there, *lists], name, cache, shard)


def _archive(
    path: Path, shown: str, name: str, cache: Path, label_by: LabelBy | None, shard: Shard | None
) -> Dataset:
    """The data set of an archive, whose file was called `shown` where it came from."""
    if is_tar_shard(path.name) and holds_samples(path):
        return part_of(shards([ShardFile((shown,), path)], name, cache), shard)
    if not is_archive(path):
        raise _something_else(name)
    return part_of(_unpacked(path, name, cache, label_by), shard)


def _something_else(name: str) -> DataError:
    return DataError(
        f"{name}: expected a folder, a table ({', '.join(sorted(TABLE_SUFFIXES))}) or an archive "
        "(.tar, .tar.gz, .tar.xz, .zip), but this file is something else"
    )


def _unpacked(path: Path, name: str, cache: Path, label_by: LabelBy | None) -> Dataset:
    root = unpack(path, cache / "unpacked" / file_key(path))
    inner = root
    while True:
        shown = [file for file in inner.iterdir() if not is_hidden(file.name)]
        tables = [file for file in shown if file.suffix.lower() in TABLE_SUFFIXES]
        if len(tables) == 1:
            return table(tables[0], name, cache, within=root)
        folders = [file for file in shown if file.is_dir()]
        if len(folders) != 1:  # the archive of one folder that holds everything, or of classes
            return _folder(root, name, cache, label_by, False)
        inner = folders[0]
