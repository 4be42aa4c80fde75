"""Fetch one file over HTTP: resumed when cut off, checked by its SHA-256, put in place last."""

import hashlib
import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import httpx2

from graft.errors import DownloadError

Progress = Callable[[int, int | None], None]

TIMEOUT = httpx2.Timeout(30.0, connect=15.0)  # seconds of silence, not of the whole download
RETRY_PAUSES = (1.0, 3.0)  # seconds before the second and before the third try

_CUT_OFF = (httpx2.ReadError, httpx2.ReadTimeout, httpx2.RemoteProtocolError)


def fetch(
    url: str,
    destination: Path,
    *,
    sha256: str | None,
    size: int | None = None,
    on_progress: Progress | None = None,
    way_out: str = "",
) -> Path:
    """Fetch `url` to `destination` and return it; a file that is there already is only checked.

    `sha256` is the digest that the publisher promises, in hex. If it is None, the file must have
    `size` bytes (when given), and its digest is stored beside it as NAME.sha256, so that later runs
    compare with it. `on_progress` gets the bytes so far and the bytes in all (None: not known).
    `way_out` ends the message of a failure: what else could be done.

    Several processes may fetch the same file at once.

    Raises:
        DownloadError: the server cannot be reached, refuses, breaks off, or sends another file;
            the file that is there is another one; the folder cannot be written.

    """
    partial = destination.with_name(destination.name + ".partial")
    note = destination.with_name(destination.name + ".sha256") if sha256 is None else None
    promised = _noted(note) if note else sha256
    by_hand = f"fetch it by hand and put it at {destination.absolute()}"
    by_hand += f"; {way_out}" if way_out else ""
    try:
        if destination.exists():
            problem = _problem(destination, promised, size, note)
            if problem:
                raise DownloadError(
                    f"{destination} is there but is not the file that was promised: {problem}; "
                    "delete it and run the same command again"
                )
            return destination
        destination.parent.mkdir(parents=True, exist_ok=True)
        _download(url, partial, size, on_progress, by_hand)
        problem = _problem(partial, promised, size, note)
        if problem:
            partial.unlink()
            raise DownloadError(
                f"{url} is not the file that was promised: {problem}; it was deleted: "
                f"run the same command again, or {by_hand}"
            )
        partial.replace(destination)
    except FileNotFoundError as error:
        if destination.exists():
            # Another process fetched to the same .partial and was the first to rename it.
            return fetch(url, destination, sha256=sha256, size=size)
        raise DownloadError(f"{error.filename} vanished; run the same command again") from error
    except OSError as error:
        raise DownloadError(
            f"{destination} could not be written or read: {error}; free some space or choose "
            "another folder, then run the same command again"
        ) from error
    return destination


def _problem(file: Path, promised: str | None, size: int | None, note: Path | None) -> str:
    """How `file` differs from what was promised, "" if it does not.

    `note`: where the digest of a file without a published one is stored for later runs.
    """
    digest, problem = _inspect(file, promised, size)
    if problem and note is not None and promised is not None:
        problem += f" (an earlier run stored the expected one in {note})"
    if not problem and note is not None and promised is None:
        _write_note(note, digest)
    return problem


def _download(
    url: str, partial: Path, size: int | None, on_progress: Progress | None, by_hand: str
) -> None:
    """Download the rest of `partial`, in at most three tries."""
    with httpx2.Client(follow_redirects=True, timeout=TIMEOUT) as client:
        for pause in (*RETRY_PAUSES, None):
            try:
                _stream(client, url, partial, size, on_progress)
                return
            except (httpx2.HTTPError, httpx2.InvalidURL) as error:
                cut_off = isinstance(error, _CUT_OFF)
                if cut_off and pause is not None:
                    time.sleep(pause)
                    continue
                have = partial.stat().st_size
                if not have:
                    partial.unlink()
                if cut_off and have:
                    raise DownloadError(
                        f"{url} was cut off after {have:,} bytes ({_reason(error)}); they are "
                        f"kept in {partial}: run the same command again and it resumes there"
                    ) from error
                kept = (
                    f"; the {have:,} bytes in {partial} are kept for the next run" if have else ""
                )
                raise DownloadError(
                    f"{url} could not be fetched ({_reason(error)}); {by_hand}{kept}"
                ) from error


def _stream(
    client: httpx2.Client, url: str, partial: Path, size: int | None, on_progress: Progress | None
) -> None:
    """Write the missing bytes of `partial`. Raises httpx2.HTTPError, and OSError for the disk."""
    # A range of compressed bytes would not be a range of the file.
    headers = {"Accept-Encoding": "identity"}
    partial.touch()
    # Opened before it is measured, because another process may finish and rename it meanwhile.
    with partial.open("r+b") as file:
        start = file.seek(0, os.SEEK_END)
        if start and start == size:
            return  # killed between the last byte and the rename
        if start:
            headers["Range"] = f"bytes={start}-"
        with client.stream("GET", url, headers=headers) as response:
            useless = not _write(response, file, start, size, on_progress)
    if useless:
        partial.unlink(missing_ok=True)
        _stream(client, url, partial, size, on_progress)


def _write(
    response: httpx2.Response,
    file: BinaryIO,
    start: int,
    size: int | None,
    on_progress: Progress | None,
) -> bool:
    """Write the body at `start` of `file`, or from the beginning when the server sends it all.

    False when `file` is longer than the published one, or the server sends other bytes than asked.

    The file is neither emptied nor appended to: processes that fetch at the same time write the
    same bytes to the same positions.
    """
    where = response.headers.get("Content-Range", "")
    if start and response.status_code == 416:
        return where == f"bytes */{start}"
    response.raise_for_status()
    if response.status_code != 206:
        start = 0
    elif not where.startswith(f"bytes {start}-"):
        if start == 0:
            raise httpx2.RemoteProtocolError("only a range came, but all was asked for")
        return False
    length = response.headers.get("Content-Length")
    total = start + int(length) if size is None and length else size
    file.seek(start)
    done = start
    for chunk in response.iter_raw():
        file.write(chunk)
        done += len(chunk)
        if on_progress is not None:
            on_progress(done, total)
    told_its_end = length is not None or "Transfer-Encoding" in response.headers
    if not told_its_end and size is not None and done < size:
        raise httpx2.RemoteProtocolError(f"{done:,} of {size:,} bytes came")
    file.truncate(done)
    return True


def _inspect(file: Path, promised: str | None, size: int | None) -> tuple[str, str]:
    """The SHA-256 of `file` as it is on the disk, and what is wrong with it, "" if nothing."""
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    got = file.stat().st_size
    if promised is not None and digest != promised.lower():
        return digest, f"expected sha256 {promised}, got {digest} ({got:,} bytes)"
    if promised is None and size is not None and got != size:
        return digest, f"expected {size:,} bytes, got {got:,}"
    return digest, ""


def _noted(note: Path) -> str | None:
    """The digest that an earlier run stored, in the format that `sha256sum --check` reads."""
    if not note.exists():
        return None
    digest = note.read_text(encoding="utf-8", errors="replace").partition(" ")[0]
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise DownloadError(
            f"{note} should begin with a sha256 of 64 hex digits, but begins with "
            f"{digest[:64]!r}; delete it and run the same command again"
        )
    return digest


def _write_note(note: Path, digest: str) -> None:
    beside = note.with_name(f"{note.name}.{os.getpid()}.{threading.get_ident()}")
    beside.write_text(f"{digest}  {note.stem}\n", encoding="utf-8")
    beside.replace(note)


def _reason(error: Exception) -> str:
    """`error` in a few words on one line."""
    if isinstance(error, httpx2.HTTPStatusError):
        return f"the server answered {error.response.status_code} {error.response.reason_phrase}"
    return " ".join(str(error).split()) or type(error).__name__
