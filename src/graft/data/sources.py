"""List the images of a source: a folder, a table, an archive, or a named dataset."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from graft.choices import LabelBy
from graft.data.archive import file_key, is_archive, unpack
from graft.data.class_folders import SPLIT_NAMES, class_folders
from graft.data.dataset import Dataset
from graft.data.feature_folder import is_feature_folder
from graft.data.feature_listing import rows_of_folder
from graft.data.file_listing import (
    IMAGE_SUFFIXES,
    find_images,
    is_hidden,
    is_image_name,
    is_unread_picture,
    walk,
)
from graft.data.image_file import irregular
from graft.data.label_table import PARQUET, TABLE_COLUMNS, TABLE_SUFFIXES, shards, table
from graft.data.named_datasets import SAMPLES, materialize
from graft.errors import DataError, UsageError

__all__ = [
    "IMAGE_SUFFIXES",
    "SPLIT_NAMES",
    "TABLE_COLUMNS",
    "TABLE_SUFFIXES",
    "find_images",
    "listing_of",
    "load_dataset",
]

Progress = Callable[[int, int | None], None]


def load_dataset(
    source: str | Path,
    cache: Path,
    on_progress: Progress | None = None,
    *,
    label_by: LabelBy | None = None,
    follow_links: bool = False,
) -> Dataset:
    """List the labeled images of `source`, in path order, without opening them.

    `source` is a folder with one folder per class (or split folders: train, val, test), a
    .csv/.tsv/.parquet table with the columns image and label (optional: split, group), a folder of
    Parquet shards, an archive of a folder, the name of a dataset (`graft check digits`), or a
    folder that `graft features` filled.
    Archives and downloads are unpacked below `cache`.

    `label_by`: of folders in class folders, which one is the label. `follow_links`: also those
    that lead out of the folder.

    Raises DataError if the source cannot be listed, UsageError if it does not exist.
    """
    path = Path(source)
    name = str(source)
    if name in SAMPLES and not path.exists():
        folder = materialize(name, cache / "datasets", on_progress=on_progress)
        return _folder(folder, name, cache, label_by, False)
    if not path.exists():
        raise UsageError(
            f"{name}: no such folder, table or archive; the named datasets are {', '.join(SAMPLES)}"
        )
    if is_feature_folder(path):
        return rows_of_folder(path, name).dataset
    if path.is_dir():
        return _folder(path, name, cache, label_by, follow_links)
    if kind := irregular(path.stat().st_mode):
        raise DataError(f"{name}: expected a folder, a table or an archive, but it is {kind}")
    if path.suffix.lower() in TABLE_SUFFIXES:
        return table(path, name, cache)
    if is_archive(path):
        return _archive(path, name, cache, label_by)
    raise DataError(
        f"{name}: expected a folder, a table ({', '.join(sorted(TABLE_SUFFIXES))}) or an archive "
        "(.tar, .tar.gz, .tar.xz, .zip), but this file is something else"
    )


def listing_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What the settings of a run say about listing its source, as `load_dataset` takes it.

    Those of older versions do not say: their sources were listed in the usual way.
    """
    return {
        "label_by": settings.get("label_by"),
        "follow_links": bool(settings.get("follow_links")),
    }


def _folder(
    root: Path, source: str, cache: Path, label_by: LabelBy | None, follow_links: bool
) -> Dataset:
    outside: list[Path] = []
    files = [(file.relative_to(root).parts, file) for file in walk(root, outside, follow_links)]
    tables = [(names, file) for names, file in files if file.suffix.lower() == PARQUET]
    if tables and not any(is_image_name(n[-1]) or is_unread_picture(n[-1]) for n, _ in files):
        return shards(tables, source, cache)
    found = class_folders(files, source, label_by)
    if not outside:
        return found
    links = tuple(str(link.relative_to(root)).encode(errors="replace").decode() for link in outside)
    return replace(found, left_out={**found.left_out, "link_outside": links})


def _archive(path: Path, name: str, cache: Path, label_by: LabelBy | None) -> Dataset:
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
