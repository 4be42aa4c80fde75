"""Files of a store, fetched below the cache: several at a time, checked, each whole or not."""

import contextlib
import hashlib
import re
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from graft.data.remote_address import endpoint, scheme_of
from graft.data.remote_errors import told
from graft.data.remote_store import PARALLEL, RemoteFile, Store
from graft.errors import DataError, DownloadError

# The folder of the cache of sources that holds what was fetched.
FETCHED = "remote"
# Seconds after which the half-fetched files of a process that was killed are removed.
STALE = 24 * 3600
_BESIDE = ".fetching-"
_SUFFIX = re.compile(r"(\.tar)?\.[A-Za-z0-9]{1,8}$")


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file of a store and where it lies now; `local` is None for one that is not there."""

    file: RemoteFile
    local: Path | None


def folder_of(shown: str, cache: Path) -> Path:
    """Where the files of a source are kept, by its public address and its server."""
    server, shown = endpoint(scheme_of(shown)), shown.rstrip("/")
    digest = hashlib.sha256(f"{server}\0{shown}".encode(errors="surrogateescape")).hexdigest()
    words = re.sub(r"[^A-Za-z0-9.]+", "-", shown).strip("-.")[:80]
    return cache / FETCHED / f"{words}-{digest[:12]}"


def fetched(
    store: Store,
    files: Iterable[RemoteFile],
    folder: Path,
    made_of: Callable[[Path, Path], None] | None = None,
    parallel: int = PARALLEL,
) -> Iterator[Fetched]:
    """Each of the files below `folder`, in order, once it is there; `parallel` are under way.

    What is there with the size and the version that the store tells is not fetched again. A file
    whose version the listing did not tell is asked for it; if the store tells none, it is fetched.
    `made_of` turns a fetched file (first) into what is kept (second), such as an unpacked folder.

    Raises DownloadError for a file that cannot be fetched whole, with what its store said.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _remove_stale(folder)
    waiting: deque[Future[Fetched]] = deque()
    rest = iter(files)
    pool = ThreadPoolExecutor(parallel, thread_name_prefix="graft-fetch")
    with TemporaryDirectory(prefix=_BESIDE, dir=folder, ignore_cleanup_errors=True) as beside:
        job = _Job(store, folder, Path(beside), made_of)
        try:
            waiting.extend(pool.submit(job.fetch, file) for file in islice(rest, 4 * parallel))
            while waiting:
                yield waiting.popleft().result()
                waiting.extend(pool.submit(job.fetch, file) for file in islice(rest, 1))
        finally:
            # What is under way is not waited for: it writes into a folder that is removed.
            pool.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True)
class _Job:
    store: Store
    folder: Path
    beside: Path
    made_of: Callable[[Path, Path], None] | None

    def fetch(self, file: RemoteFile) -> Fetched:
        try:
            return Fetched(file, self._there(file))
        except FileNotFoundError:
            if not self.beside.is_dir():
                raise DownloadError(f"{self.store.shown}: interrupted") from None
            return Fetched(file, None)

    def _there(self, file: RemoteFile) -> Path:
        shown = f"{self.store.shown}/{file.name}" if file.name else self.store.shown
        with told(shown, missing=False):
            known = file if file.version else self.store.looked_up(file)
        place = local_place(self.folder, known)
        if known.version and place.exists() and self._whole(place, known):
            return place
        beside = self.beside / hashlib.sha256(file.path.encode(errors="replace")).hexdigest()
        for last in (False, True):
            with told(shown, missing=False):
                self.store.get(known, beside)
            problem = _problem(beside, known)
            if not problem:
                break
            if last:
                raise DownloadError(
                    f"{shown} is not the file that its store promised: {problem}; run the same "
                    "command again"
                )
        place.parent.mkdir(parents=True, exist_ok=True)
        if self.made_of is None:
            beside.replace(place)
        else:
            self.made_of(beside, place)
            beside.unlink(missing_ok=True)
        return place

    def _whole(self, place: Path, file: RemoteFile) -> bool:
        return bool(self.made_of) or file.size is None or place.stat().st_size == file.size


def local_place(folder: Path, file: RemoteFile) -> Path:
    """Where a file is kept: as it lies in the store, with a digest of its name and version.

    Other bytes thus have another name. Names that a disk may refuse are replaced by digests.
    """
    version = f"{file.name}\0{file.version}\0{file.size}"
    digest = hashlib.sha256(version.encode(errors="surrogateescape")).hexdigest()
    *above, name = file.name.split("/")
    found = _SUFFIX.search(name)
    suffix = found[0] if found else ""
    stem = name.removesuffix(suffix)
    if all(map(_is_safe, [*above, stem])) and len(file.name.encode(errors="replace")) < 180:
        return folder.joinpath(*above, f"{stem}@{digest[:12]}{suffix}")
    return folder / "_" / f"{digest}{suffix}"


def _is_safe(name: str) -> bool:
    return bool(re.fullmatch(r"[^\x00-\x1f/\\:*?\"<>|.][^\x00-\x1f/\\:*?\"<>|]*", name)) and (
        not name.endswith((" ", ".")) and name != "_"
    )


def check_room(shown: str, files: Iterable[RemoteFile], folder: Path) -> None:
    """Raise DataError if what is still to be fetched, as far as the store tells sizes, does not fit
    on the disk of the cache.
    """
    needed = sum(file.size or 0 for file in files if not local_place(folder, file).exists())
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"{shown}: {needed:,} bytes are to be fetched, but only {free:,} are free below "
            f"{folder.parent}; free some space, set GRAFT_CACHE to a larger disk, or take the "
            "source in shards (graft features --shard 1/100)"
        )


def _problem(file: Path, promised: RemoteFile) -> str:
    """How a fetched file differs from what its store said of it; "" if it does not."""
    size = file.stat().st_size
    if promised.size is not None and size != promised.size:
        return f"expected {promised.size:,} bytes, got {size:,}"
    if promised.checksum:
        kind, digest = promised.checksum
        with file.open("rb") as stream:
            found = hashlib.file_digest(stream, kind).hexdigest()
        if found != digest:
            return f"expected {kind} {digest}, got {found}"
    return ""


def _remove_stale(folder: Path) -> None:
    for beside in folder.glob(f"{_BESIDE}*"):
        with contextlib.suppress(OSError):
            if time.time() - beside.stat().st_mtime > STALE:
                shutil.rmtree(beside, ignore_errors=True)
