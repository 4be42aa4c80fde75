"""Files of tensors (safetensors) that need not fit in memory: written in blocks, mapped to read.

Such a file is 8 bytes of header length, a JSON header with each tensor's type, shape and place, and
the tensors' bytes. The library writes from memory and reads into it; here neither holds more than
a block.
"""

import json
import mmap
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.utils.files import replacing

MOST_HEADER = 2**20
_NAMES = {"F16": np.float16, "U8": np.uint8, "I64": np.int64}


@dataclass(frozen=True)
class Blocks:
    """A tensor of this shape whose rows come in blocks, in order."""

    shape: tuple[int, ...]
    dtype: Any
    blocks: Iterable[NDArray[Any]]


def write_tensors(
    path: Path, tensors: Mapping[str, NDArray[Any] | Blocks], metadata: Mapping[str, str]
) -> None:
    """Write tensors of float16, uint8 and int64, all or nothing, and wait until the disk has them.

    `metadata` is text by name, read without the tensors.
    """
    # The widest first, so that each begins where its own type may.
    names = sorted(tensors, key=lambda name: (-np.dtype(tensors[name].dtype).itemsize, name))
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name in names:
        tensor = tensors[name]
        dtype = np.dtype(tensor.dtype)
        begin, end = end, end + int(np.prod(tensor.shape, dtype=np.int64)) * dtype.itemsize
        kind = next(kind for kind, known in _NAMES.items() if np.dtype(known) == dtype)
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with replacing(path) as beside, beside.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            tensor = tensors[name]
            for block in tensor.blocks if isinstance(tensor, Blocks) else (tensor,):
                stream.write(np.ascontiguousarray(block, tensor.dtype).tobytes())
        if stream.tell() != 8 + len(text) + end:
            raise ValueError(f"{path}: the blocks of a tensor are not of its shape")
        stream.flush()
        os.fsync(stream.fileno())  # a name that is there must mean bytes that are there


def read_header(path: Path) -> dict[str, Any]:
    """The header of a file of tensors, without reading them.

    Raises ValueError, KeyError or TypeError for a file that is none or is not whole, OSError.
    """
    return _header_and_start(path)[0]


def _header_and_start(path: Path) -> tuple[dict[str, Any], int]:
    """The header, and where the tensors begin."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 0 < length <= MOST_HEADER:
            raise ValueError("it is no file of tensors")
        header = json.loads(stream.read(length))
        if not isinstance(header, dict):
            raise ValueError("it is no file of tensors")
        size = os.fstat(stream.fileno()).st_size
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    if size != (wanted := 8 + length + max(ends, default=0)):
        raise ValueError(f"it has {size:,} bytes, not {wanted:,}")
    return header, 8 + length


def mapped_tensors(path: Path, names: Iterable[str] | None = None) -> dict[str, NDArray[Any]]:
    """The tensors of a file by name, mapped: read when they are looked at. Raises as `read_header`.

    `names`: only these.
    """
    header, start = _header_and_start(path)
    whole = np.memmap(path, np.uint8, "r")
    found = {}
    for name in header if names is None else names:
        if name == "__metadata__":
            continue
        entry = header[name]
        begin, end = entry["data_offsets"]
        data = whole[start + begin : start + end]
        found[name] = data.view(_NAMES[entry["dtype"]]).reshape(entry["shape"])
    return found


def forget_pages(tensor: NDArray[Any]) -> None:
    """Give back the memory that the read pages of a mapped tensor take; they can be read again."""
    base: Any = tensor
    while base is not None and not isinstance(base, mmap.mmap):
        base = base.base if isinstance(base, np.ndarray) else getattr(base, "obj", None)
    if base is not None and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)
