"""Which images a project has on disk, and the SHA-256 of each, read once a file."""

import csv
import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Thread

from graft.data.image_file import BYTES, UnusableImageError, read_bytes
from graft.data.reader import cores
from graft.utils.csv_table import write_table
from graft.utils.in_blocks import in_blocks

COLUMNS = ("path", "bytes", "changed", "sha256")
# Files that are read before the page is told of them.
AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """An image file: `path` is its name in the project, `label` the class of its folder or row
    ("" for none), `sha256` its digest in hexadecimal ("" if it cannot be read). `added`: when it
    was added to the project, as digits; "" for the source's own.
    """

    path: str
    file: Path
    label: str
    sha256: str
    split: str = ""
    group: str = ""
    added: str = ""


class ImageIndex:
    """Reads the digests of files in a thread; `files` grows as that goes on, to `total`.

    `store` is a table that remembers the digest of each file by its size and time of change, so
    that only new and changed files are read when the project is opened again.
    """

    def __init__(self, store: Path) -> None:
        self.store = store
        self.files: list[IndexedFile] = []
        self.by_digest: dict[str, IndexedFile] = {}
        self.total = 0
        self.revision = 0  # grows with `files`
        self._known: dict[str, tuple[str, str, str]] = {}
        self._stopped = Event()
        self._thread: Thread | None = None

    @property
    def done(self) -> bool:
        """Whether all files are read."""
        return self._thread is None or not self._thread.is_alive()

    def begin(self, wanted: list[IndexedFile]) -> None:
        """Read the digests of these, whose own are not known yet, instead of those before."""
        self.stop()
        self._known = self._known or _remembered(self.store)
        self.files, self.by_digest, self.total = [], {}, len(wanted)
        self.revision += 1
        self._stopped = Event()
        self._thread = Thread(target=self._read, args=(wanted, self._stopped), daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Return when all files are read."""
        if self._thread is not None:
            self._thread.join()

    def stop(self) -> None:
        """Read no further."""
        self._stopped.set()
        self.wait()

    def add(self, file: IndexedFile) -> None:
        """One more file, whose digest is known."""
        self._append(file)
        self.total += 1
        self.revision += 1

    def forget(self, files: Sequence[IndexedFile]) -> None:
        """These are no longer there."""
        gone = {file.path for file in files}
        self.files = [file for file in self.files if file.path not in gone]
        self.by_digest = {file.sha256: file for file in reversed(self.files) if file.sha256}
        self.total -= len(gone)
        self.revision += 1

    def _append(self, file: IndexedFile) -> None:
        self.files.append(file)
        if file.sha256:
            self.by_digest.setdefault(file.sha256, file)

    def _read(self, wanted: list[IndexedFile], stopped: Event) -> None:
        learned = False
        with ThreadPoolExecutor(cores(), thread_name_prefix="graft-digest") as pool:
            for some in in_blocks(wanted, AT_ONCE):
                if stopped.is_set():
                    break
                for file, (key, entry) in zip(some, pool.map(self._looked_up, some), strict=True):
                    learned = learned or self._known.get(key) != entry
                    self._known[key] = entry
                    self._append(replace(file, sha256=entry[2]))
                self.revision += 1
        if learned:
            rows = ((name, *entry) for name, entry in self._known.items())
            write_table(self.store, COLUMNS, rows)

    def _looked_up(self, file: IndexedFile) -> tuple[str, tuple[str, str, str]]:
        key = str(file.file)
        try:
            status = os.stat(file.file)  # noqa: PTH116 - of many thousands
        except (OSError, ValueError):
            return key, ("", "", "")
        size, changed = str(status.st_size), str(status.st_mtime_ns)
        known = self._known.get(key)
        if known and known[:2] == (size, changed):
            return key, known
        try:
            with BYTES.taken(status.st_size):
                digest = hashlib.sha256(read_bytes(file.file)).hexdigest()
        except UnusableImageError:
            digest = ""
        return key, (size, changed, digest)


def _remembered(store: Path) -> dict[str, tuple[str, str, str]]:
    """What an earlier session learned; nothing if its table is lost or spoilt."""
    try:
        with store.open(encoding="utf-8", newline="") as lines:
            rows: Iterable[list[str]] = csv.reader(lines)
            return {r[0]: (r[1], r[2], r[3]) for r in rows if len(r) == len(COLUMNS)}
    except (OSError, UnicodeDecodeError, csv.Error):
        return {}
