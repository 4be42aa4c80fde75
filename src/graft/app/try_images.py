"""The images that the classifier was tried on: kept in the project until they are forgotten.

Each lies as tried/DIGEST/NAME, so that it can be asked about after a restart, in another tab and
from a terminal (`graft chat RUN tried/…/rose.jpg`).
"""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from graft.app.added_images import no_image
from graft.app.project import Project
from graft.data.decode import UnusableImageError, decode
from graft.errors import UsageError
from graft.utils.files import replacing

KEPT = 60  # images; the oldest give way
LONGEST_NAME = 80
DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class TriedImage:
    """An image file that was tried; `sha256` is that of its bytes, in hex."""

    sha256: str
    file: Path

    @property
    def name(self) -> str:
        """What its owner calls it."""
        return self.file.name


def keep_tried(project: Project, name: str, data: bytes) -> TriedImage:
    """Keep an image that is to be tried. DataError for bytes that are no image."""
    try:
        if not data:
            raise UnusableImageError("empty", "has no bytes in it")
        decode(data)
    except UnusableImageError as problem:
        raise no_image(file_name(name), problem) from problem
    digest = hashlib.sha256(data).hexdigest()
    folder = _folder(project) / digest
    file = next(_files(folder), folder / file_name(name))
    if not file.exists():
        with replacing(file) as beside:
            beside.write_bytes(data)
    os.utime(folder)  # the newest again
    for each in tried_images(project)[KEPT:]:
        shutil.rmtree(each.file.parent, ignore_errors=True)
    return TriedImage(digest, file)


def tried_images(project: Project) -> list[TriedImage]:
    """Those that are kept, the newest first."""
    folder = _folder(project)
    if not folder.is_dir():
        return []
    found = [
        (each.stat().st_mtime_ns, TriedImage(each.name, file))
        for each in folder.iterdir()
        if DIGEST.fullmatch(each.name)
        for file in _files(each)
    ]
    return [image for _, image in sorted(found, key=lambda one: (-one[0], one[1].sha256))]


def tried_image(project: Project, sha256: str) -> TriedImage:
    """The one with this digest; UsageError where it was forgotten."""
    if DIGEST.fullmatch(sha256):
        for file in _files(_folder(project) / sha256):
            return TriedImage(sha256, file)
    raise UsageError("this image was forgotten; drop it again")


def forget_tried(project: Project, sha256: str) -> None:
    """Delete it."""
    shutil.rmtree(tried_image(project, sha256).file.parent, ignore_errors=True)


def file_name(name: str) -> str:
    """A name that any file system takes, close to the one that is given."""
    last = name.replace("\\", "/").rpartition("/")[2]
    kept = "".join(c if c.isprintable() and c not in '<>:"|?*' else "_" for c in last)
    stem, dot, ending = kept.strip(" .").rpartition(".")
    short = f"{stem[: LONGEST_NAME - 8]}{dot}{ending[:7]}" if stem else ending[:LONGEST_NAME]
    # Letters of several bytes: a name may have 255 of these.
    return short.encode()[:200].decode(errors="ignore") or "image"


def _folder(project: Project) -> Path:
    return project.home / "tried"


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (each for each in folder.iterdir() if not each.name.endswith(".partial"))
