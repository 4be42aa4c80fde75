"""The images that were dropped into a project or recorded for it: kept by class and digest."""

import hashlib
import re
from pathlib import Path
from urllib.parse import quote, unquote

from graft.app.image_index import IndexedFile
from graft.data.file_listing import walk
from graft.data.image_file import UnusableImageError, open_image
from graft.errors import DataError, UsageError
from graft.report.thumbnails import UNREADABLE
from graft.utils.files import replacing

LONGEST_CLASS = 80  # letters
TAKE = re.compile(r"[A-Za-z0-9-]{1,60}")
ENDINGS = {"JPEG": "jpg", "JPEG2000": "jp2", "TIFF": "tif", "HEIF": "heic"}


def class_name(name: str) -> str:
    """The name without space around it; UsageError for what cannot be the name of a class."""
    name = " ".join(name.split())
    if not name or len(name) > LONGEST_CLASS or not name.isprintable():
        raise UsageError(
            f"expected the name of a class, 1 to {LONGEST_CLASS} letters, not {name[:99]!r}"
        )
    return name


def keep(folder: Path, label: str, name: str, data: bytes, take: str = "") -> IndexedFile:
    """Keep an image below `folder`; `take` ties images that were recorded in one go.

    Raises DataError for bytes that are no image graft can read.
    """
    if take and not TAKE.fullmatch(take):
        raise UsageError(f"take must be letters, digits and -, not {take[:99]!r}")
    try:
        with open_image(data) as image:
            kind = image.format or ""
            image.load()
    except UNREADABLE as error:
        reason = str(error) if isinstance(error, UnusableImageError) else "cannot be read"
        raise DataError(f"{name}: {reason}; expected an image, such as a JPEG or PNG") from error
    digest = hashlib.sha256(data).hexdigest()
    stem = f"{digest}.{take}" if take else digest
    place = folder / _folder_name(label) / f"{stem}.{ENDINGS.get(kind, kind.lower())}"
    if not place.exists():
        with replacing(place) as beside:
            beside.write_bytes(data)
    return _indexed(place, folder, digest)


def added(folder: Path) -> list[IndexedFile]:
    """The images that were kept below `folder`."""
    if not folder.is_dir():
        return []
    return [_indexed(file, folder, "") for file in walk(folder)]


def _folder_name(label: str) -> str:
    """A name that any file system takes, of which `unquote` makes the class again."""
    name = quote(label, safe=" ()'+,=")
    return name.replace(".", "%2E", 1) if name.startswith(".") else name


def _indexed(file: Path, folder: Path, digest: str) -> IndexedFile:
    label = unquote(file.parent.name)
    path = f"{folder.name}/{file.relative_to(folder).as_posix()}"
    take = file.name.split(".")[1] if file.name.count(".") == 2 else ""
    return IndexedFile(path, file, label, digest, group=take, added=True)
