"""Activations on disk: what a frozen encoder said of an image, kept by content.

    CACHE/activations/KEY/VIEW/SHARD.safetensors      digests (n, 32) uint8, values (n, …)

KEY is the digest of all that determines the values: the encoder (weights, architecture,
preprocessing), the backend and its precision, or for plain pixels the preprocessing alone. VIEW
is the view's number and kind. A row is found by the sha256 of its image's file, so renamed,
moved and shared files cost nothing and changed ones can never hit.

Shards are written beside and renamed, and never changed: a reader sees whole shards only, two
runs at once at worst compute a row twice, and a killed run leaves all shards that it had
finished. Rows are read through memory maps, so no more of them is in memory than a batch needs.
"""

import contextlib
import math
import os
import time
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from graft.utils.files import replacing
from graft.utils.json_digest import json_digest
from graft.utils.mapped_tensors import forget_pages, mapped_tensors

SHARD_ROWS = 1024
SHARD_SECONDS = 20.0


class Activations:
    """Rows gathered from shards: `activations[rows]` is (len(rows), …) in memory."""

    def __init__(
        self,
        maps: list[NDArray[Any]],
        shard: NDArray[np.int32],
        row: NDArray[np.int64],
        shape: tuple[int, ...],
        dtype: Any,
        columns: slice = slice(None),
    ):
        self._maps, self._shard, self._row, self._columns = maps, shard, row, columns
        self.shape, self.dtype = shape, dtype

    @classmethod
    def of(cls, values: NDArray[Any]) -> "Activations":
        """The rows of an array (N, …) in memory."""
        count = len(values)
        shard = np.zeros(count, np.int32)
        return cls([values], shard, np.arange(count), values.shape[1:], values.dtype)

    def __len__(self) -> int:
        return len(self._shard)

    @property
    def maps(self) -> list[NDArray[Any]]:
        """What the rows are gathered from: the values of each shard, mapped."""
        return self._maps

    @property
    def places(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """In which of `maps` each row is, and in which row of it, (N,) each."""
        return self._shard, self._row

    @property
    def bytes(self) -> int:
        """What all rows take in memory."""
        return len(self) * math.prod(self.shape) * int(np.dtype(self.dtype).itemsize)

    def order_on_disk(self) -> NDArray[np.int64]:
        """The rows' numbers (N,) in the order in which they lie in the files."""
        return np.lexsort((self._row, self._shard))

    def forget(self) -> None:
        """Give back the memory that the files' read pages take; they can be read again."""
        for values in self._maps:
            forget_pages(values)

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        out = np.empty((len(rows), *self.shape), self.dtype)
        shards = self._shard[rows]
        for number in np.unique(shards):
            chosen = np.flatnonzero(shards == number)
            out[chosen] = self._maps[number][self._row[rows[chosen]], self._columns]
        return out

    def whole(self) -> NDArray[Any]:
        """All rows, (N, …), in memory."""
        return self[np.arange(len(self))]

    def select(self, rows: NDArray[np.int64]) -> "Activations":
        """These rows alone, in this order; nothing is read."""
        shard, row = self._shard[rows], self._row[rows]
        return Activations(self._maps, shard, row, self.shape, self.dtype, self._columns)

    def columns(self, first: int) -> "Activations":
        """The same rows, (D,) each, from column `first` on."""
        shape = (self.shape[0] - first,)
        return Activations(
            self._maps, self._shard, self._row, shape, self.dtype, slice(first, None)
        )


class Store:
    """The rows of one key and view. Open one a run; `put` rows, `flush`, then `gather`."""

    def __init__(self, folder: Path, shape: tuple[int, ...], dtype: Any):
        self.folder, self.shape, self.dtype = folder, shape, np.dtype(dtype)
        self._maps: list[NDArray[Any]] = []
        self._where: dict[bytes, tuple[int, int]] = {}
        self._waiting: dict[bytes, NDArray[Any]] = {}
        self._last = time.monotonic()
        for shard in sorted(folder.glob("*.safetensors")):
            self._open(shard)

    def __len__(self) -> int:
        return len(self._where) + len(self._waiting)

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._where or digest in self._waiting

    def lacking(self, digests: Sequence[bytes]) -> list[int]:
        """The positions of those that have no row here."""
        return [n for n, digest in enumerate(digests) if digest not in self]

    def put(self, digest: bytes, value: NDArray[Any]) -> None:
        """Keep a row; on disk once a shard is full or SHARD_SECONDS old, and at flush."""
        self._waiting[digest] = value
        old = time.monotonic() - self._last > SHARD_SECONDS
        if len(self._waiting) >= SHARD_ROWS or old:
            self.flush()

    def flush(self) -> None:
        """Write the rows that wait as a shard."""
        self._last = time.monotonic()
        if not self._waiting:
            return
        digests = np.frombuffer(b"".join(self._waiting), np.uint8).reshape(-1, 32)
        values = np.stack(list(self._waiting.values())).astype(self.dtype, copy=False)
        shard = self.folder / f"{uuid.uuid4().hex}.safetensors"
        with replacing(shard) as beside:
            save_file({"digests": digests, "values": values}, beside)
        self._waiting.clear()
        self._open(shard)

    def gather(self, digests: Iterable[bytes]) -> Activations:
        """The rows of these files, in this order; KeyError if one was never put."""
        self.flush()
        where = np.array([self._where[digest] for digest in digests], np.int64).reshape(-1, 2)
        return Activations(
            self._maps, where[:, 0].astype(np.int32), where[:, 1], self.shape, self.dtype
        )

    def _open(self, shard: Path) -> None:
        # A shard may vanish between listing and opening when another run trims the cache; once
        # mapped it stays readable. One that does not parse is as good as absent: rows are
        # computed again, and it is removed.
        try:
            digests, values = _map(shard)
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError, OSError):
            shard.unlink(missing_ok=True)
            return
        if values.shape[1:] != self.shape or values.dtype != self.dtype:
            return
        with contextlib.suppress(OSError):
            os.utime(shard)  # the time of last use, for `trim`
        number = len(self._maps)
        self._maps.append(values)
        for row, digest in enumerate(digests):
            self._where[digest.tobytes()] = (number, row)


def _map(shard: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    tensors = mapped_tensors(shard)
    return np.array(tensors["digests"]), tensors["values"]


def key_of(**described: Any) -> str:
    """The KEY of a description: equal only if every value is."""
    return json_digest(described)


def open_store(cache: Path, key: str, view: str, shape: tuple[int, ...], dtype: Any) -> Store:
    """The store of a key and view below the cache folder."""
    return Store(cache / "activations" / key / view, shape, dtype)
