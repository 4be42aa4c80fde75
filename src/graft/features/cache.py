"""How much the cache holds, keeping it below its limit, and clearing it."""

import contextlib
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from graft.utils.cache_folder import cache_alone

# Files that a killed run left half-written are removed once they are this old, in seconds.
STALE = 24 * 3600
# The folders of the cache. sources: data sets and archives, fetched and unpacked.
KINDS = ("activations", "encoders", "near", "sources")


@dataclass(frozen=True)
class Usage:
    """One kind of thing in the cache."""

    kind: str
    files: int
    bytes: int


def usage(cache: Path) -> list[Usage]:
    """What the cache holds, by kind."""
    found = []
    for kind in KINDS:
        sizes = [size for _, _, size in _files(cache / kind)]
        found.append(Usage(kind, len(sizes), sum(sizes)))
    return found


def trim(cache: Path, limit: int) -> int:
    """Remove the activations used longest ago until the cache holds at most `limit` bytes.

    Sources and encoder cards count towards the limit but are not removed (`clear` does). Returns
    the bytes removed.
    """
    excess = sum(entry.bytes for entry in usage(cache)) - limit
    removed = 0
    for used, file, size in sorted(_files(cache / "activations")):
        half_written = file.name.startswith(".")
        if half_written and time.time() - used < STALE:
            continue
        if half_written or removed < excess:
            file.unlink(missing_ok=True)
            removed += size
    return removed


def clear(cache: Path) -> int:
    """Remove everything; return the bytes removed. UsageError while the cache is in use."""
    if not cache.is_dir():
        return 0
    with cache_alone(cache):
        removed = sum(entry.bytes for entry in usage(cache))
        for kind in KINDS:
            shutil.rmtree(cache / kind, ignore_errors=True)
    return removed


def _files(folder: Path) -> list[tuple[float, Path, int]]:
    found = []
    # os.walk, unlike rglob, does not mind that another run removes a folder meanwhile.
    for inside, _, names in os.walk(folder):
        for file in (Path(inside, name) for name in names):
            with contextlib.suppress(FileNotFoundError):
                status = file.stat()
                found.append((status.st_mtime, file, status.st_size))
    return found
