"""Where graft keeps what it computed, fetched or unpacked, and how much of it."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import platformdirs

from graft.errors import UsageError
from graft.utils.locks import lock

DEFAULT_LIMIT = 10 * 2**30
LOCK = ".lock"


def cache_folder() -> Path:
    """$GRAFT_CACHE, or the user's cache folder."""
    return Path(os.environ.get("GRAFT_CACHE") or platformdirs.user_cache_dir("graft", False))


def sources_folder() -> Path:
    """Where named data sets and archives are unpacked."""
    return cache_folder() / "sources"


@contextlib.contextmanager
def cache_in_use() -> Iterator[None]:
    """While this lasts nobody clears the cache; it waits while somebody does."""
    descriptor = None
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        descriptor = lock(cache_folder() / LOCK, shared=True, wait=True)
    except OSError as error:
        # A cache that nothing can be written to is read as it is.
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


@contextlib.contextmanager
def cache_alone(cache: Path) -> Iterator[None]:
    """The cache to oneself; UsageError while it is in use."""
    descriptor = lock(cache / LOCK)
    if descriptor is None:
        raise UsageError(
            f"{cache} is in use by another graft command, such as a training; let that end first"
        )
    try:
        yield
    finally:
        os.close(descriptor)


def cache_limit() -> int:
    """The bytes that the cache may hold after a run: $GRAFT_CACHE_LIMIT (in GB), default 10 GiB.

    Raises UsageError for anything that is not a number of gigabytes.
    """
    given = os.environ.get("GRAFT_CACHE_LIMIT")
    if not given:
        return DEFAULT_LIMIT
    try:
        limit = int(float(given) * 1e9)
    except (ValueError, OverflowError):  # OverflowError: infinity
        limit = -1
    if limit < 0:
        raise UsageError(f"GRAFT_CACHE_LIMIT is a number of gigabytes, such as 20, not {given!r}")
    return limit
