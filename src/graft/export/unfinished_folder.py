"""The folder that an export writes in before its own has its name; leftovers of killed exports."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path

from graft.errors import UsageError
from graft.utils.locks import lock
from graft.utils.progress import Progress

LOCK = "lock"


@contextmanager
def unfinished(folder: Path, progress: Progress) -> Iterator[Path]:
    """A new, empty folder on the disk of `folder`, to write in and then to rename to `folder`; it
    is removed at the end, whatever happens.

    An export that is killed leaves it behind, hidden and named after `folder`. Such leftovers are
    removed first, and the user is told; a folder that a living process writes in stays.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in _leftovers(folder):
        progress.say(f"removed {left}, which an export left that was killed")
    outer, descriptor = _locked(folder)
    try:
        inner = outer / folder.name
        inner.mkdir()
        yield inner
    finally:
        if descriptor is not None:
            os.close(descriptor)
        shutil.rmtree(outer, ignore_errors=True)


def _locked(folder: Path) -> tuple[Path, int | None]:
    """A new folder beside `folder`, and the lock that says that somebody writes in it. The lock is
    beside what is written, not in it: so it need not be taken away before that gets its name.
    """
    while True:
        outer = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.partial")
        outer.mkdir()
        try:
            descriptor = lock(outer / LOCK)
        except FileNotFoundError:
            continue  # somebody took it for a leftover, between these two lines
        except UsageError:
            return outer, None  # no locks on this disk: nobody removes anything there
        if descriptor is not None:
            return outer, descriptor


def _leftovers(folder: Path) -> list[Path]:
    """Remove what killed exports to `folder` left, and return what is gone."""
    pattern = "[0-9a-f]" * 8
    removed = []
    for left in sorted(folder.parent.glob(f".{escape(folder.name)}.{pattern}.partial")):
        try:
            descriptor = lock(left / LOCK)
        except (OSError, UsageError):
            continue
        if descriptor is None:
            continue
        shutil.rmtree(left, ignore_errors=True)
        os.close(descriptor)
        shutil.rmtree(left, ignore_errors=True)  # Windows keeps a file that is open
        if not left.exists():
            removed.append(left)
    return removed
