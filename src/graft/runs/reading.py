"""Reading a run's files with bounds: whoever made the folder, no file of it may hang graft or fill
the memory. What is off is a ValueError in one line; those who call name the run and say what to do.
"""

import json
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

if TYPE_CHECKING:
    from torch import Tensor

MB = 2**20
# Bytes of a file, at most: ten times what a run of a million images or of 1,000 classes has. The
# Parquet tables of larger ones are read by columns, with bounds of their own.
LARGEST = {
    "model.json": 16 * MB,
    "config.json": 16 * MB,
    "speed.json": MB,
    "digests.json": MB,
    "dataset.csv": 512 * MB,
    "predictions.csv": 512 * MB,
}
LARGEST_OTHER = 256 * MB
# Values in a JSON file, at most: each takes up to two hundred bytes of memory.
MOST_VALUES = 5_000_000
# Characters of a line of a table, at most.
LONGEST_LINE = 16 * MB
# Bytes of the header of a safetensors file; that of the largest network of timm has 0.3 MB.
LARGEST_HEADER = 8 * MB
# A number that JSON does not know and Python writes: an epoch's loss that was not finite.
NOT_FINITE = ("history.jsonl",)

Header = dict[str, tuple[str, tuple[int, ...]]]  # by name: dtype, as "F32", and shape


def checked_size(file: Path, most: int | None = None) -> int:
    """The size in bytes of a regular file; links are followed.

    Raises ValueError for anything else (a pipe would hang, a device never end) and for a file of
    more than `most` bytes, FileNotFoundError where there is none.
    """
    found = file.stat()
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{file.name}: expected a regular file, it is {_kind(found.st_mode)}")
    limit = most or LARGEST.get(file.name, LARGEST_OTHER)
    if found.st_size > limit:
        raise ValueError(f"{file.name}: has {found.st_size:,} bytes, expected {limit:,} at most")
    return found.st_size


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a pipe" if stat.S_ISFIFO(mode) else "a device or a socket"


def read_text(file: Path) -> str:
    """The text of a file that is not too large. Raises as `checked_size`, and ValueError for one
    that cannot be read or is not UTF-8.
    """
    checked_size(file)
    try:
        return file.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file.name}: not UTF-8 text: {error.reason}") from error
    except OSError as error:
        raise ValueError(f"{file.name}: cannot be read: {error.strerror}") from error


def read_json(file: Path) -> Any:
    """The value of a JSON file; raises as `read_text`, and ValueError for anything but JSON."""
    return parsed(read_text(file), file.name)


def read_json_lines(file: Path) -> list[Any]:
    """The values of a file with one to a line; raises as `read_json`."""
    text = read_text(file)
    _check_count(text, file.name)
    return [parsed(line, file.name) for line in text.splitlines() if line.strip()]


def parsed(text: str, name: str) -> Any:
    """The value of JSON text of a file of that name; ValueError for anything else, also for NaN,
    for more values or more depth than any file of a run has, and for half of a character.
    """
    _check_count(text, name)

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is no number")

    try:
        value = json.loads(text, parse_constant=None if name in NOT_FINITE else refuse)
        if "\\u" in text:  # a lone surrogate could be neither printed nor written
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError(f"{name}: not JSON of a run: too deep") from error
    except UnicodeEncodeError as error:
        raise ValueError(f"{name}: not JSON of a run: half of a surrogate pair") from error
    except ValueError as error:
        raise ValueError(f"{name}: not JSON: {error}") from error
    return value


def _check_count(text: str, name: str) -> None:
    count = text.count(",") + text.count("[") + text.count("{")
    if count > MOST_VALUES:
        raise ValueError(f"{name}: has {count:,} values, expected {MOST_VALUES:,} at most")


def lines_of(stream: TextIO, name: str) -> Iterator[str]:
    """The lines of an open table; ValueError for one that no table of a run has."""
    while line := stream.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE:
            raise ValueError(f"{name}: a line of more than {LONGEST_LINE:,} characters")
        yield line


@contextmanager
def open_tensors(file: Path) -> Iterator[tuple[Header, Any]]:
    """The names, dtypes and shapes of a safetensors file, from its header alone, and the open file
    to read them from. The library checks that they fill the file to its last byte.

    Raises ValueError for another kind of file, FileNotFoundError where there is none.
    """
    from safetensors import SafetensorError, safe_open

    size = checked_size(file, 2**50)
    with file.open("rb") as stream:
        header = int.from_bytes(stream.read(8), "little")
    if header > min(size, LARGEST_HEADER):
        raise ValueError(f"{file.name}: not safetensors: a header of {header:,} bytes")
    try:
        with safe_open(file, "pt") as opened:
            slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118
            yield {n: (s.get_dtype(), tuple(s.get_shape())) for n, s in slices.items()}, opened
    except SafetensorError as error:
        raise ValueError(f"{file.name}: not safetensors: {error}") from error
    except (OSError, OverflowError) as error:
        raise ValueError(f"{file.name}: cannot be read: {error}") from error


def check_tensors(
    found: Header, expected: Mapping[str, tuple[bool, tuple[int, ...]]], name: str
) -> None:
    """Raise ValueError unless a file of that name has just the `expected` tensors: whether each is
    of floating point, and its shape, where -1 is any length.
    """
    for kind, names in (
        ("lacks", expected.keys() - found.keys()),
        ("has an unknown", found.keys() - expected.keys()),
    ):
        if names:
            more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
            raise ValueError(f"{name}: {kind} tensor {shown(min(names))}{more}")
    for key, (floating, shape) in expected.items():
        dtype, has = found[key]
        if len(has) != len(shape) or any(n not in (-1, m) for n, m in zip(shape, has, strict=True)):
            raise ValueError(f"{name}: {shown(key)} has the shape {list(has)}, not {list(shape)}")
        if (dtype in ("F64", "F32", "F16", "BF16")) != floating:
            raise ValueError(f"{name}: {shown(key)} is of the type {dtype}")


def read_tensors(opened: Any, found: Header, name: str) -> "dict[str, Tensor]":
    """All tensors of an open file, in memory of their own: the file may go. ValueError for NaN or
    infinity in one of them.
    """
    import torch

    tensors = {}
    with torch.inference_mode(False):
        for key in found:
            tensors[key] = opened.get_tensor(key).clone()
            if tensors[key].is_floating_point() and not tensors[key].isfinite().all():
                raise ValueError(f"{name}: {shown(key)} holds NaN or infinity")
    return tensors


def shown(text: object, most: int = 80) -> str:
    """Anything from a stranger's file for one line of a message: escaped, and cut if it is long."""
    line = "".join(
        c if c.isprintable() else c.encode("unicode_escape", "replace").decode()
        for c in str(text)[: most + 1]
    )
    return line if len(line) <= most else line[: most - 1] + "…"
