"""Taking a folder for a run: one training at a time, and only a folder that is graft's or new.

While a run is not finished its folder holds a file that says that graft made it, which the training
locks. Only where that file is are a cut-off run's files removed, to begin anew.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from graft.errors import UsageError
from graft.runs.folder import (
    FILES,
    FOLDERS,
    MARK,
    OPTIONAL,
    UNFINISHED,
    is_finished,
    remove_unfinished,
)
from graft.utils.files import naming
from graft.utils.locks import lock

TEXT = """\
graft made this folder for a run that is not finished. It is locked while the run is trained, and
removed when that is done. Where it lies, graft train --out may begin the run anew.
"""
# What file managers put into new folders.
NOBODYS = (".DS_Store", "Thumbs.db", "desktop.ini")


class TakenError(UsageError):
    """A folder that this run cannot have, where another name would do."""


@contextlib.contextmanager
def claimed(
    folders: Iterable[Path], resume: bool = False, reads: Iterable[Path] = ()
) -> Iterator[Path]:
    """The first of `folders` that can be had, made or cleared for a run and locked as long as this
    lasts. Without `resume` the checkpoints of the run that was begun there are removed.

    `reads` are the files and folders that the run reads. A folder that is left as it was made is
    removed again.

    Raises UsageError for a folder that cannot be made and, if no folder can be had, for the last
    of them: a finished run, a file, a folder that graft did not make, one that another process
    trains in, or one that holds what the run reads.
    """
    folder, descriptor, made = _first(folders, list(reads))
    try:
        _clear(folder, resume)
        yield folder
    finally:
        _leave(folder, descriptor, made)


def _leave(folder: Path, descriptor: int, made: bool) -> None:
    """End the lock. The mark goes if the run is finished or nothing else is in the folder, which
    then goes, too, if it was made.

    The mark is removed while it is locked, so that nobody else's is: on Windows after that, as open
    files cannot be removed there.
    """
    empty = folder.is_dir() and all(file.name == MARK for file in folder.iterdir())
    unmark = empty or is_finished(folder)
    if unmark and os.name == "posix":
        (folder / MARK).unlink(missing_ok=True)
    os.close(descriptor)
    if unmark and os.name != "posix":
        with contextlib.suppress(PermissionError):
            (folder / MARK).unlink(missing_ok=True)
    if empty and made:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _first(folders: Iterable[Path], reads: list[Path]) -> tuple[Path, int, bool]:
    """The folder, the descriptor of its lock, and whether it was made for this."""
    refused: TakenError | None = None
    for folder in folders:
        try:
            return folder, *_locked(folder, reads)
        except TakenError as error:
            refused = error
    raise refused or TakenError("expected a folder for the run, there is none")


def _locked(folder: Path, reads: list[Path]) -> tuple[int, bool]:
    _refuse(folder, reads)
    made = False
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            made = True
        descriptor = lock(folder / MARK)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be made: {error.strerror}") from error
    if descriptor is None:
        raise TakenError(
            f"{folder} is being trained by another process; choose another --out, or wait until "
            "that has ended"
        )
    try:
        _refuse(folder, reads)  # another process may have come between
        with naming(folder / MARK):
            os.truncate(descriptor, 0)
            os.write(descriptor, TEXT.encode())
    except BaseException:
        new = not os.fstat(descriptor).st_size
        if new or is_finished(folder):
            (folder / MARK).unlink(missing_ok=True)
        os.close(descriptor)
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise
    return descriptor, made


def _refuse(folder: Path, reads: list[Path]) -> None:
    """Raise TakenError for a folder that this run cannot have."""
    if folder.exists() and not folder.is_dir():
        raise TakenError(f"{folder} is a file; --out takes a new folder")
    if is_finished(folder):
        raise TakenError(f"{folder} holds a finished run; choose another --out, or remove it first")
    whole = folder.resolve()
    for path in reads:
        if path.resolve().is_relative_to(whole):
            raise TakenError(f"{folder} holds {path}, which this run reads; choose another --out")
    if not folder.is_dir():
        return
    names = {file.name for file in folder.iterdir()}
    own = {name for name in names if name in FILES + OPTIONAL or UNFINISHED.fullmatch(name)}
    if strange := sorted(names - own - {*NOBODYS}):
        raise TakenError(
            f"{folder} holds something other than a run ({strange[0]}); choose another --out"
        )
    if own and MARK not in names:
        raise TakenError(
            f"{folder} was not made by graft, or by one of an earlier version, and holds "
            f"{min(own)}; choose another --out"
        )


def _clear(folder: Path, resume: bool) -> None:
    for name in {*FILES, *OPTIONAL} - {*FOLDERS}:
        (folder / name).unlink(missing_ok=True)
    if not resume:
        remove_unfinished(folder)
