"""Locks on files. They end with the process that holds them, whatever ends it."""

import os
import random
import sys
from pathlib import Path

from graft.errors import UsageError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

BYTES = 2**30  # of which a shared lock takes one, where the system knows no shared locks


def lock(path: Path, shared: bool = False, wait: bool = False) -> int | None:
    """Lock the file `path`, which is made if it is not there, and return its descriptor; closing
    that ends the lock. None if somebody else holds it and `wait` is false.

    Shared locks exclude only those that are not shared; threads exclude each other as processes do.

    Raises UsageError for a file system without locks, OSError for a file that cannot be made.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _locked(path, descriptor, shared, wait):
                os.close(descriptor)
                return None
            # Whoever held it may have removed the file meanwhile: the lock is then on nothing.
            if _is_still(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


if sys.platform == "win32":

    def _locked(path: Path, descriptor: int, shared: bool, wait: bool) -> bool:
        first, count = (random.randrange(BYTES), 1) if shared else (0, BYTES)  # noqa: S311
        os.lseek(descriptor, first, os.SEEK_SET)
        while True:
            try:
                msvcrt.locking(descriptor, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, count)
            except OSError:  # LK_LOCK, too, gives up after ten seconds
                if not wait:
                    return False
            else:
                return True

else:

    def _locked(path: Path, descriptor: int, shared: bool, wait: bool) -> bool:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise UsageError(
                f"{path.parent}: this file system has no locks ({error.strerror}), without which "
                "two commands at once could spoil it; choose a folder on another disk"
            ) from error
        return True
