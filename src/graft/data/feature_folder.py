"""A folder that `graft features` fills: one file a shard, all of one job, and whether it is whole.

    DIR/features.json                               the job: what determines the values
    DIR/features-00003-of-00100.safetensors         a shard (data/feature_file.py)

Whoever comes first writes features.json, and nobody replaces it: a worker of another job is refused
before it computes anything. data/feature_listing.py reads a whole folder as a Dataset.
"""

import contextlib
import json
import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graft.data.feature_file import FORMAT, Head, file_name, read_head
from graft.data.remote_address import public_address
from graft.data.shard import Shard
from graft.errors import DataError, UsageError
from graft.utils.json_digest import json_digest

JOB = "features.json"
_FILE = re.compile(r"features-(\d{5,7})-of-(\d{5,7})\.safetensors")


def source_name(source: str | Path) -> str:
    """A source as a job names it: an address without what is secret in it, no slash at its end."""
    shown = public_address(source)
    return shown.rstrip("/\\") or shown


def is_feature_folder(path: Path) -> bool:
    """Whether `graft features` made this folder."""
    return (path / JOB).is_file()


def claim_folder(folder: Path, job: Mapping[str, Any]) -> None:
    """Make the folder that of this job, or find that it is.

    Raises UsageError for a folder of another job, which says what differs, or of other files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / JOB
    if not target.is_file():
        if any(not file.name.startswith(".") and file.name != JOB for file in folder.iterdir()):
            raise UsageError(f"{folder} holds other files; choose another --out")
        beside = folder / f".{JOB}.{os.getpid()}-{uuid.uuid4().hex[:8]}.partial"
        beside.write_text(json.dumps(dict(job), indent=1, sort_keys=True) + "\n", encoding="utf-8")
        try:
            os.link(beside, target)  # unlike a renaming, it replaces nothing
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)
    there = read_job(folder)
    if there != job:
        raise UsageError(f"{folder} holds the features of another job: {_other(there, job)}")


def read_job(folder: Path) -> dict[str, Any]:
    """The job of a folder; DataError where its features.json is damaged."""
    try:
        job = json.loads((folder / JOB).read_text(encoding="utf-8"))
        if not isinstance(job, dict) or job.get("format") != FORMAT:
            raise ValueError(f"expected format {FORMAT}")
        Shard(1, job["shards"])
    except (OSError, ValueError, KeyError, TypeError, UsageError) as error:
        raise DataError(
            f"{folder / JOB}: is damaged, or of another version of graft ({error}); choose another "
            "folder, or remove that file and run `graft features` again"
        ) from error
    return job


def _other(there: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    names = [name for name in {**there, **asked} if there.get(name) != asked.get(name)]
    # The digest of a network says nothing to people where its name is another, too.
    told = [name for name in names if name != "encoder" or "model" not in names]
    told.sort(key=lambda name: there.get(name) is None or asked.get(name) is None)
    first = "; ".join(f"{name} {there.get(name)!r}, not {asked.get(name)!r}" for name in told[:2])
    return f"{first}; choose another --out, or give the same settings"


@dataclass(frozen=True)
class FolderStatus:
    """Which shards of a folder are done, and what they hold.

    `done`: the heads of whole files by shard number. `broken`: why the file of a shard cannot be
    used. The shards in neither are missing.
    """

    folder: Path
    job: Mapping[str, Any]
    done: Mapping[int, Head]
    broken: Mapping[int, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """The number of shards that there should be."""
        return int(self.job["shards"])

    @property
    def missing(self) -> list[int]:
        """The numbers of shards without a file."""
        have = {*self.done, *self.broken}
        return [number for number in range(1, self.count + 1) if number not in have]

    @property
    def complete(self) -> bool:
        """Whether all shards are done."""
        return len(self.done) == self.count

    @property
    def images(self) -> int:
        """The images of the shards that are done, those that cannot be decoded included."""
        return sum(head.images for head in self.done.values())

    @property
    def problems(self) -> int:
        """How many of them could not be decoded."""
        return sum(head.problems for head in self.done.values())

    @property
    def unfinished(self) -> list[Shard]:
        """The shards to compute, broken ones first."""
        return [Shard(number, self.count) for number in (*sorted(self.broken), *self.missing)]

    def to_json(self) -> dict[str, Any]:
        """As `graft features --status --json` prints it."""
        return {
            "folder": str(self.folder),
            "source": self.job["source"],
            "model": self.job["model"],
            "engine": self.job["engine"],
            "shards": self.count,
            "done": len(self.done),
            "missing": self.missing,
            "broken": {str(number): why for number, why in sorted(self.broken.items())},
            "images": self.images,
            "problems": self.problems,
            "complete": self.complete,
        }


def folder_status(folder: Path) -> FolderStatus:
    """Which shards a folder has, by the first kilobytes of each file.

    Raises UsageError for a folder that `graft features` did not make, DataError for a damaged
    features.json.
    """
    if not is_feature_folder(folder):
        raise UsageError(
            f"{folder}: expected a folder of `graft features`, which has a {JOB} in it"
        )
    job = read_job(folder)
    key = json_digest(job)
    done: dict[int, Head] = {}
    broken: dict[int, str] = {}
    for name in sorted(file.name for file in folder.iterdir()):
        found = _FILE.fullmatch(name)
        if not found or int(found[2]) != job["shards"]:
            continue
        number = int(found[1])
        try:
            head = read_head(folder / name)
        except DataError as error:
            broken[number] = str(error)
            continue
        if head.key != key or head.shard != Shard(number, job["shards"]):
            broken[number] = f"{folder / name}: is of another job; remove it"
        else:
            done[number] = head
    return FolderStatus(folder, job, done, broken)


def done_head(folder: Path, shard: Shard, job: Mapping[str, Any]) -> Head | None:
    """The head of a shard's file if it is there, whole, and of this job; its first kilobytes are
    read.
    """
    path = folder / file_name(shard)
    if not path.is_file():
        return None
    try:
        head = read_head(path)
    except DataError:
        return None
    return head if head.key == json_digest(job) and head.shard == shard else None


def remove_leftovers(folder: Path, older_than: float) -> None:
    """Remove what killed workers left half-written, if it is older than that time (seconds since
    1970): another worker may be at the others.
    """
    for file in folder.glob(".features*.partial"):
        with contextlib.suppress(OSError):
            if file.stat().st_mtime < older_than:
                file.unlink()
