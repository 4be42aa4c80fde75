"""Where graft keeps what it computed, fetched or unpacked, and how much of it."""

import os
from pathlib import Path

import platformdirs

from graft.errors import UsageError

DEFAULT_LIMIT = 10 * 2**30


def cache_folder() -> Path:
    """$GRAFT_CACHE, or the user's cache folder."""
    return Path(os.environ.get("GRAFT_CACHE") or platformdirs.user_cache_dir("graft", False))


def sources_folder() -> Path:
    """Where named data sets and archives are unpacked."""
    return cache_folder() / "sources"


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
