"""The folder that a project has of its own: made, marked as graft's and locked."""

import getpass
import os
import shutil
import stat
from datetime import datetime
from pathlib import Path

from graft.errors import UsageError
from graft.utils.locks import lock

MARK = ".graft-project"
KEY = ".graft-address"  # the address with its key, which its owner alone may read
UNPACKING = ".adding-"  # how folders begin in which archives are unpacked
TEXT = """\
graft app made this folder for the images of {source}.
It holds your decisions (decisions.csv), the images that you added (added/), the runs (runs/) and
thumbnails. It is locked while graft app is open; the last who opened it:
{who}
"""


def home_of(source: str | Path) -> Path:
    """The project folder of a source: beside it, by its name; of a named data set in the folder
    where one is.
    """
    path = Path(source).absolute()
    name = path.name.split(".")[0] if path.is_file() else path.name
    return path.with_name(f"{name or 'images'}-graft")


def taken(home: Path, source: str, address: str) -> int:
    """Make the folder or take the one that is there, and lock it; returns the lock's descriptor.

    `address` is told to whoever comes second; the key in it, after "?", to the same user alone.

    Raises UsageError for a folder that graft did not make, one that cannot be written to and one
    that is open elsewhere.
    """
    if home.exists() and not (home / MARK).is_file() and (home.is_file() or any(home.iterdir())):
        raise UsageError(
            f"{home} is there already and was not made by graft app; move it away, or name another "
            "with --project"
        )
    try:
        home.mkdir(parents=True, exist_ok=True)
        descriptor = lock(home / MARK)
    except OSError as error:
        raise UsageError(
            f"{home} cannot be written to ({error.strerror}); name another folder with --project"
        ) from error
    if descriptor is None:
        raise UsageError(
            f"{source} is open in another graft app{_who(home)}; use that{_key(home)}, or end it"
        )
    _keep_key(home, address)
    place, since = address.partition("?")[0], datetime.now().astimezone()
    said = f"{place} by {_user()} since {since:%Y-%m-%d %H:%M}"
    for left in home.glob(f"{UNPACKING}*"):  # of an app that was killed
        shutil.rmtree(left, ignore_errors=True)
    os.ftruncate(descriptor, 0)
    os.write(descriptor, TEXT.format(source=source, who=said).encode())
    return descriptor


def _keep_key(home: Path, address: str) -> None:
    if "?" in address:
        (home / KEY).unlink(missing_ok=True)
        descriptor = os.open(home / KEY, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(address + "\n")


def earlier_address(home: Path) -> str:
    """Where the page of a project is or was last, with its key; "" where nobody knows, or others
    than its owner could have read or written it.
    """
    file = home / KEY
    try:
        status = file.lstat()
        own = not hasattr(os, "getuid") or status.st_uid == os.getuid()
        if not (stat.S_ISREG(status.st_mode) and own):
            return ""
        if os.name == "posix" and status.st_mode & 0o077:
            return ""
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _key(home: Path) -> str:
    address = earlier_address(home)
    is_now = address and address.partition("?")[0] in _who(home)
    return f" at {address}" if is_now else ""


def _who(home: Path) -> str:
    try:
        lines = (home / MARK).read_text(encoding="utf-8").strip().splitlines()
    except OSError:
        return ""
    return f" ({lines[-1]})" if lines else ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody"
