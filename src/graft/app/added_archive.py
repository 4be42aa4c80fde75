"""An archive that was dropped into a project: unpacked, and its images kept as added ones."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from graft.app.arrivals import NEW, arrive
from graft.app.json_routes import Record
from graft.app.project import Project
from graft.app.project_folder import UNPACKING
from graft.data.archive import SUFFIXES
from graft.data.image_file import UnusableImageError, read_bytes
from graft.data.sources import load_dataset
from graft.errors import DataError, UsageError

NAMED = 3  # files that are named among those left out


@contextmanager
def archive_room(project: Project, name: str, size: int) -> Iterator[Path]:
    """A place for an archive of this name and size in bytes, removed afterwards with all that was
    unpacked beside it. UsageError for a name that is no archive's, DataError without room.
    """
    ending = next((end for end in SUFFIXES if name.lower().endswith(end)), "")
    if not ending:
        raise UsageError(f"{name}: expected an archive ({', '.join(SUFFIXES)})")
    free = shutil.disk_usage(project.home).free
    if size > free:
        raise DataError(f"{name} has {size:,} bytes, but only {free:,} are free on the disk")
    with TemporaryDirectory(prefix=UNPACKING, dir=project.home) as folder:
        yield Path(folder, f"archive{ending}")


def add_archive(project: Project, archive: Path, name: str, label: str, batch: str) -> Record:
    """Add the images of an archive that its owner calls `name`, each to the class of its folder in
    it and those in no folder to `label` or, without one, to a class of the archive's own name; as
    one action. What it returns says how many are new, in which classes, which were there already
    (see graft.app.arrivals), and what was left out.

    The limits are those of graft.data.archive; raises DataError as it does, and for one without
    images.
    """
    try:
        dataset = load_dataset(archive, archive.parent)
    except DataError as error:
        raise DataError(str(error).replace(str(archive), name)) from error
    found = [(each.file, each.label) for each in dataset.examples]
    unpacked = next((archive.parent / "unpacked").iterdir())
    own = label or _stem(name)
    loose = (unpacked / path for path in dataset.left_out.get("no_label", ()))
    found += [(file, own) for file in loose if file.is_file()]
    if not found:
        raise DataError(f"{name} holds no images")
    came: list[Record] = []
    left_out = []
    for file, its_class in found:
        name_in_it = os.path.relpath(file, unpacked)
        try:
            one = arrive(project, its_class, file.name, read_bytes(file), batch)
        except (DataError, UnusableImageError, UsageError):
            left_out.append(name_in_it)
            continue
        came.append(one | {"name": name_in_it, "wanted": its_class})
    added = [one for one in came if one["state"] == NEW]
    return {
        "count": len(added),
        "classes": sorted({one["label"] for one in added}),
        "others": [one for one in came if one["state"] != NEW],
        "left_out": len(left_out),
        "named": left_out[:NAMED],
    }


def _stem(name: str) -> str:
    ending = next(end for end in SUFFIXES if name.lower().endswith(end))
    return name[: -len(ending)].strip() or "images"
