"""The files below a folder: hidden ones left out, links followed once and not out of the folder."""

import os
from collections.abc import Iterator
from pathlib import Path

from graft.errors import DataError

_FORMATS = "jpg jpeg jpe jfif mpo png apng gif bmp webp tif tiff ppm pgm pbm pnm avif jp2 tga"
IMAGE_SUFFIXES = frozenset("." + name for name in f"{_FORMATS} heic heif hif".split())
# Pictures that graft does not read: cameras' raw files and what drawing programs write. A folder
# of nothing else was meant as a class.
_UNREAD = "cr2 cr3 nef nrw arw srf dng raf orf rw2 pef srw psd svg xcf jxl exr hdr eps j2k ico"
UNREAD_SUFFIXES = frozenset("." + name for name in _UNREAD.split())


def is_image_name(name: str) -> bool:
    """Whether a file of this name is taken for an image."""
    return _suffix(name) in IMAGE_SUFFIXES


def is_unread_picture(name: str) -> bool:
    """Whether a file of this name is a picture of a kind that graft does not read."""
    return _suffix(name) in UNREAD_SUFFIXES


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - a name of many thousands


def find_images(
    path: Path, outside: list[Path] | None = None, follow_links: bool = False
) -> Iterator[Path]:
    """The image files at or below a path, sorted; hidden ones and __MACOSX left out.

    A path that is no folder is given as it is. `outside` gets the links that lead out of the
    folder, which are left out unless `follow_links`.
    """
    if not path.is_dir():
        yield path
        return
    yield from (file for file in walk(path, outside, follow_links) if is_image_name(file.name))


def walk(
    root: Path, outside: list[Path] | None = None, follow_links: bool = False
) -> Iterator[Path]:
    """The files below a folder, sorted within each folder, those of a folder before its folders.

    Links to folders are followed once. `outside` gets the links that lead out of `root`, which are
    left out unless `follow_links`; those that lead back, to a folder above, always are.

    Raises DataError for a folder that cannot be listed.
    """
    real = os.path.realpath(root)
    followed: set[str] = set()
    waiting = [str(root)]
    while waiting:
        folder = waiting.pop()
        files: list[str] = []
        folders: list[str] = []
        for entry in _entries(folder):
            if not entry.is_symlink():
                (folders if entry.is_dir(follow_symlinks=False) else files).append(entry.path)
                continue
            target = os.path.realpath(entry.path)
            if not (follow_links or _below(target, real)):
                if outside is not None:
                    outside.append(Path(entry.path))
            elif not os.path.isdir(target):  # noqa: PTH112
                files.append(entry.path)
            elif target not in followed and not _below(os.path.realpath(folder), target):
                followed.add(target)
                folders.append(entry.path)
        yield from map(Path, files)
        waiting += reversed(folders)


def walk_order(path: str) -> list[tuple[bool, str]]:
    """Sorts paths below a folder, with slashes, as `walk` gives them."""
    *folders, name = path.split("/")
    return [*((True, folder) for folder in folders), (False, name)]


def _entries(folder: str) -> "list[os.DirEntry[str]]":
    try:
        with os.scandir(folder) as entries:
            shown = [entry for entry in entries if not is_hidden(entry.name)]
    except OSError as error:
        # Skipped in silence, a class would be missing.
        raise DataError(f"{folder}: the folder cannot be listed: {error.strerror}") from error
    return sorted(shown, key=lambda entry: entry.name)


def is_hidden(name: str) -> bool:
    """Whether a file or folder is one that systems add and people do not see."""
    return name.startswith(".") or name == "__MACOSX" or name in ("Thumbs.db", "desktop.ini")


def _below(path: str, root: str) -> bool:
    """Whether a real path is `root` or below it."""
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)
