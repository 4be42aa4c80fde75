"""List the images of a source: a folder, a table, an archive, or a named dataset."""

import csv
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from graft.data.archive import is_archive, unpack
from graft.data.dataset import Dataset, Example
from graft.data.named_datasets import SAMPLES, materialize
from graft.errors import DataError, UsageError

_FORMATS = "jpg jpeg jpe jfif png apng gif bmp webp tif tiff ppm pgm pbm pnm avif jp2 tga"
IMAGE_SUFFIXES = frozenset("." + name for name in _FORMATS.split())
TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".parquet"})
TABLE_COLUMNS = ("image", "label", "split", "group")

# The names under which people keep the three splits, whatever the case.
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}

Progress = Callable[[int, int | None], None]


def load_dataset(source: str | Path, cache: Path, on_progress: Progress | None = None) -> Dataset:
    """List the labeled images of `source`, in path order, without opening them.

    `source` is a folder with one folder per class (or split folders: train, val, test), a
    .csv/.tsv/.parquet table with the columns image and label (optional: split, group), an archive
    of a folder, or the name of a dataset (`graft check digits`). Archives and downloads are
    unpacked below `cache`.

    Raises DataError if the source cannot be listed, UsageError if it does not exist.
    """
    path = Path(source)
    name = str(source)
    if name in SAMPLES and not path.exists():
        return _folder(materialize(name, cache / "datasets", on_progress=on_progress), name)
    if not path.exists():
        raise UsageError(
            f"{name}: no such folder, table or archive; the named datasets are {', '.join(SAMPLES)}"
        )
    if path.is_dir():
        return _folder(path, name)
    if path.suffix.lower() in TABLE_SUFFIXES:
        return _table(path, name, cache)
    if is_archive(path):
        return _archive(path, name, cache)
    raise DataError(
        f"{name}: expected a folder, a table ({', '.join(sorted(TABLE_SUFFIXES))}) or an archive "
        "(.tar, .tar.gz, .tar.xz, .zip), but this file is something else"
    )


def find_images(path: Path) -> Iterator[Path]:
    """The image files at or below a path, sorted; hidden ones and __MACOSX left out."""
    if not path.is_dir():
        yield path
        return
    yield from (file for file in _walk(path) if file.suffix.lower() in IMAGE_SUFFIXES)


def _walk(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root, onerror=_refuse, followlinks=True):
        folders[:] = sorted(
            name for name in folders if not _hidden(name) and not _leads_back(Path(folder, name))
        )
        yield from (Path(folder, name) for name in sorted(names) if not _hidden(name))


def _refuse(error: OSError) -> None:
    # os.walk would skip the folder silently, and with it a class.
    raise DataError(f"{error.filename}: the folder cannot be listed: {error.strerror}") from error


def _leads_back(path: Path) -> bool:
    return path.is_symlink() and path.resolve() in {above.resolve() for above in path.parents}


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX" or name in ("Thumbs.db", "desktop.ini")


def _folder(root: Path, source: str) -> Dataset:
    outer, root = root, _inner_folder(root)
    above = root.relative_to(outer).parts
    splits = _split_folders(root)
    examples: list[Example] = []
    left_out: dict[str, list[str]] = {"bad_name": [], "not_an_image": [], "no_label": []}
    for file in _walk(outer):
        names = file.relative_to(outer).parts
        inside = names[: len(above)] == above
        if inside:
            names = names[len(above) :]
        relative = "/".join(names)
        if not _is_text(relative):
            left_out["bad_name"].append(relative.encode(errors="replace").decode())
        elif file.suffix.lower() not in IMAGE_SUFFIXES:
            left_out["not_an_image"].append(relative)
        elif not inside or len(names) < 2 + bool(splits):
            left_out["no_label"].append(relative)
        elif splits:
            examples.append(Example(relative, file, names[1], splits[names[0]]))
        else:
            examples.append(Example(relative, file, names[0]))
    return Dataset(source, tuple(examples), {k: tuple(v) for k, v in left_out.items() if v})


def _split_folders(root: Path) -> dict[str, str]:
    """The split of each folder of a root that is divided into splits; empty for any other."""
    folders = _image_folders(root)
    # One class may be called "test" among others: all folders are split folders, or none is.
    if not all(name.lower() in SPLIT_NAMES for name in folders):
        return {}
    return {name: SPLIT_NAMES[name.lower()] for name in folders}


def _is_text(name: str) -> bool:
    # Python replaces bytes that are not UTF-8 by characters that cannot be encoded again.
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _subfolders(root: Path) -> list[str]:
    return sorted(p.name for p in root.iterdir() if p.is_dir() and not _hidden(p.name))


def _image_folders(root: Path) -> list[str]:
    # A folder without images is neither a class nor a split.
    return [
        name
        for name in _subfolders(root)
        if any(file.suffix.lower() in IMAGE_SUFFIXES for file in _walk(root / name))
    ]


def _inner_folder(root: Path) -> Path:
    # Archives often hold one folder that holds everything: step into it as long as it has
    # folders itself. With no folder below it, it is a class.
    while True:
        inner = _image_folders(root)
        if len(inner) != 1 or inner[0].lower() in SPLIT_NAMES:
            return root
        if not _image_folders(root / inner[0]):
            return root
        root = root / inner[0]


def _archive(path: Path, name: str, cache: Path) -> Dataset:
    root = unpack(path, cache / "unpacked" / _file_key(path))
    inner = root
    while True:
        tables = [file for file in inner.iterdir() if file.suffix.lower() in TABLE_SUFFIXES]
        if len(tables) == 1:
            return _table(tables[0], name, cache)
        folders = _subfolders(inner)
        if len(folders) != 1:  # the archive of one folder that holds everything, or of classes
            return _folder(root, name)
        inner = inner / folders[0]


def _file_key(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:32]


def _table(path: Path, name: str, cache: Path) -> Dataset:
    if path.suffix.lower() == ".parquet":
        from graft.data.parquet import rows_of_parquet

        rows = rows_of_parquet(path, cache / "unpacked" / _file_key(path))
    else:
        rows = _rows_of_csv(path)
    examples: list[Example] = []
    missing: list[str] = []
    for number, row in rows:
        where = f"{name}, row {number}"
        image, label = row["image"].strip(), row["label"].strip()
        if not image or not label:
            raise DataError(f"{where}: image and label are both required, but one is empty")
        split = (row.get("split") or "").strip().lower()
        if split and split not in SPLIT_NAMES:
            raise DataError(f"{where}: split must be train, val, test or empty, not {split!r}")
        file = Path(row.get("file") or path.parent / image)
        if not file.is_file():
            missing.append(image)
            continue
        group = (row.get("group") or "").strip() or None
        others = {key: text for key, text in row.items() if key not in (*TABLE_COLUMNS, "file")}
        examples.append(Example(image, file, label, SPLIT_NAMES.get(split), group, others or None))
    examples.sort(key=lambda example: (example.path, example.label))
    return Dataset(name, tuple(examples), {"missing": tuple(missing)} if missing else {})


def _rows_of_csv(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        # utf-8-sig: spreadsheets put a byte-order mark before the first column's name.
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, delimiter=delimiter)
            columns = reader.fieldnames or []
            if not {"image", "label"} <= set(columns):
                raise DataError(
                    f"{path}: expected the columns image and label (optional: split, group), "
                    f"found {', '.join(map(str, columns)) or 'none'}"
                )
            for row in reader:
                # "file" is what Parquet tables call their unpacked images.
                named = ((key, text) for key, text in row.items() if key not in (None, "file"))
                texts = {key: text or "" for key, text in named}
                yield reader.line_num, texts
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as a UTF-8 table: {error}") from error
