"""Writing files so that nobody ever sees a half-written one."""

import contextlib
import hashlib
import json
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Who may read a new file. Asked once: there is no way to read it without setting it.
MASK = os.umask(0o077)
os.umask(MASK)


def sha256_of(file: Path) -> bytes:
    """The SHA-256 of a file's bytes, read in pieces."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; renamed to `path` if all went well, else removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.partial")
    try:
        with naming(path):
            yield beside
        # safetensors makes files that their owner alone may read; a run is often shared.
        beside.chmod(0o666 & ~MASK)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Tell what the system refused, such as on a full disk, as an OSError that names the file:
    not all libraries say either.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise
    except Exception as error:
        if found := re.search(r"\(os error (\d+)\)", str(error)):  # from Rust, as of safetensors
            number = int(found[1])
            raise OSError(number, os.strerror(number), str(path)) from error
        raise


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, all or nothing."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8", newline="")


def write_json(path: Path, value: Any) -> None:
    """Write JSON for people and programs, all or nothing; NaN is refused."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
