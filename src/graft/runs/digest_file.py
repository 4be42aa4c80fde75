"""digests.json: the SHA-256 of each file of a finished run, so that a change is seen.

It is written just before metrics.json, and whoever writes a file of the run later (a report, a
speed, heat maps) renews the line of that file alone: what somebody else changed stays visible. It
shows damage and careless edits. It is no signature: who edits a file can edit this one, too.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from graft.runs.folder import FILES, FOLDERS, OPTIONAL
from graft.runs.reading import read_json
from graft.utils.files import write_json
from graft.utils.locks import lock

NAME = "digests.json"
FORMAT = 1
# tensorboard/ is a folder of its own format.
DIGESTED = tuple(name for name in (*FILES, *OPTIONAL) if name not in (NAME, *FOLDERS))


def seal(run: Path, coming: Mapping[str, Path] | None = None) -> None:
    """Write digests.json over the files that are there, and those `coming` under a name, whose
    contents lie elsewhere for now.
    """
    there = {name: run / name for name in DIGESTED} | dict(coming or {})
    digests = {name: digest_of(file) for name, file in there.items() if file.is_file()}
    write_json(run / NAME, {"format": FORMAT, "files": digests})


def renew(run: Path, name: str) -> None:
    """Write the line of a file that graft has just written; a run without digests stays so."""
    if name not in DIGESTED or not (run / NAME).exists():
        return
    with _in_turn(run / NAME):
        try:
            digests = read_digests(run)
        except ValueError:  # damaged: `check` says so, and a new file would hide it
            return
        if digests is not None:
            digests[name] = digest_of(run / name)
            write_json(run / NAME, {"format": FORMAT, "files": digests})


@contextlib.contextmanager
def _in_turn(file: Path) -> Iterator[None]:
    """Two that write into one finished run take turns, or one's line would be lost.

    Not on Windows, where a file that is locked cannot be replaced.
    """
    descriptor = lock(file, wait=True) if os.name == "posix" else None
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def read_digests(run: Path) -> dict[str, str] | None:
    """The digests, in hex, by the names of files; None for a run without, which an older graft
    made. ValueError for a damaged digests.json.
    """
    file = run / NAME
    if not file.exists():
        return None
    stored = read_json(file)
    from graft.runs.schema_results import check_file  # pydantic takes a while to import

    check_file(NAME, stored)
    return {name: digest for name, digest in stored["files"].items() if name in DIGESTED}


def changed(run: Path, names: Iterable[str]) -> list[str]:
    """Which of these files are not as they were when graft wrote them; those of a run without
    digests, and those that are not there, are none. ValueError for a damaged digests.json.
    """
    digests = read_digests(run) or {}
    return [
        name
        for name in names
        if name in digests and (run / name).is_file() and digest_of(run / name) != digests[name]
    ]


def digest_of(file: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
