"""The images that were dropped into a project or recorded for it.

added/CLASS/SHA256.BATCH.jpg, where BATCH says when they were added (YYYYMMDDHHMMSSmmm, UTC), how
(d: dropped or chosen, w: webcam) and, of the webcam, in which take. Images of one batch are taken
back together, into removed/; those of one take stay in one split.
"""

import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, unquote

from graft.app.decided_images import stamp_of
from graft.app.image_index import IndexedFile
from graft.data.file_listing import walk
from graft.data.image_file import UnusableImageError, open_image
from graft.errors import DataError, UsageError
from graft.report.thumbnails import UNREADABLE
from graft.utils.files import replacing

LONGEST_CLASS = 80  # letters
BATCH = re.compile(r"(\d{17})([dw])(\d{0,9})")
NAME = re.compile(rf"([0-9a-f]{{64}})\.{BATCH.pattern}\.\w+")
ENDINGS = {"JPEG": "jpg", "JPEG2000": "jp2", "TIFF": "tif", "HEIF": "heic"}


def class_name(name: str) -> str:
    """The name without space around it; UsageError for what cannot be the name of a class."""
    name = name.strip()
    if not name or len(name) > LONGEST_CLASS or not name.isprintable():
        raise UsageError(
            f"expected the name of a class, 1 to {LONGEST_CLASS} letters, not {name[:99]!r}"
        )
    return name


def batch_now() -> str:
    """The name of a batch that begins now."""
    return stamp_of(datetime.now(UTC).isoformat(timespec="microseconds")) + "d"


def keep(folder: Path, label: str, name: str, data: bytes, batch: str) -> IndexedFile:
    """Keep an image below `folder`; `name` is what its owner calls it.

    Raises DataError for bytes that are no image graft can read.
    """
    if not BATCH.fullmatch(batch):
        raise UsageError(f"expected 17 digits, d or w, and a number as batch, not {batch[:99]!r}")
    try:
        if not data:
            raise UnusableImageError("empty", "has no bytes in it")
        with open_image(data) as image:
            kind = image.format or ""
            image.load()
    except UNREADABLE as error:
        raise no_image(name, error) from error
    digest = hashlib.sha256(data).hexdigest()
    ending = ENDINGS.get(kind, kind.lower())
    place = folder / _folder_name(label) / f"{digest}.{batch}.{ending}"
    with replacing(place) as beside:
        beside.write_bytes(data)
    return _indexed(place, folder, digest)


def no_image(name: str, problem: Exception) -> DataError:
    """What is said of a file that cannot be used as an image, in every step."""
    said = str(problem)
    own = isinstance(problem, UnusableImageError) and not said.startswith("cannot be decoded")
    # The words of a library say nothing to those who did not write the file.
    reason = said if own else "cannot be read: it is damaged, or no image"
    return DataError(f"{name} {reason}; expected an image, such as a JPEG or PNG")


def added(folder: Path) -> list[IndexedFile]:
    """The images that were kept below `folder`."""
    return [_indexed(file, folder, "") for file in walk(folder)]


def last_batch(files: Sequence[IndexedFile]) -> list[IndexedFile]:
    """Of these the added ones of the last batch, all takes of it."""
    last = max((batch_of(file) for file in files), default="")
    return [file for file in files if last and batch_of(file) == last]


def remove(files: Sequence[IndexedFile], folder: Path, removed: Path) -> None:
    """Put added images out of the way."""
    for file in files:
        place = removed / file.file.relative_to(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        file.file.replace(place)


def batch_of(file: IndexedFile) -> str:
    """The batch that a file was added with, without its take; "" for one that was not added."""
    found = NAME.fullmatch(file.file.name) if file.added else None
    return f"{found[2]}{found[3]}" if found else ""


def _folder_name(label: str) -> str:
    """A name that any file system takes, of which `unquote` makes the class again."""
    name = quote(label, safe=" ()'+,=")
    return name.replace(".", "%2E", 1) if name.startswith(".") else name


def _indexed(file: Path, folder: Path, digest: str) -> IndexedFile:
    path = f"{folder.name}/{file.relative_to(folder).as_posix()}"
    found = NAME.fullmatch(file.name)
    when, way, take = (found[2], found[3], found[4]) if found else ("0", "d", "")
    group = f"webcam {when} {take}" if way == "w" else ""
    return IndexedFile(path, file, unquote(file.parent.name), digest, group=group, added=when)
