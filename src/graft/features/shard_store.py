"""What the files of `graft features` hold, found by an image's sha256 as in the cache."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.data.feature_file import read_fingerprints, read_view
from graft.errors import DataError
from graft.features.activations import Activations

# A digest as NumPy compares it: 32 bytes.
DIGEST = np.dtype("S32")

Part = tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[Any]]


class ShardStore:
    """The rows of one view of all files, as `activations.Store` gives those of the cache.

    The digests are held sorted, 48 bytes an image, and the values stay on disk.
    """

    def __init__(self, parts: Iterable[Part]):
        """`parts`: of each file the digests (m, 32) of its rows, where each is among its values
        (m,), and the values (M, …), mapped.
        """
        self._maps: list[NDArray[Any]] = []
        digests, shards, rows = [], [], []
        for own, row, values in parts:
            digests.append(np.ascontiguousarray(own).view(DIGEST)[:, 0])
            shards.append(np.full(len(row), len(self._maps), np.int32))
            rows.append(row)
            self._maps.append(values)
        self.shape, self.dtype = self._maps[0].shape[1:], self._maps[0].dtype
        if any(values.shape[1:] != self.shape for values in self._maps):
            raise DataError("the files of graft features hold features of different lengths")
        known = np.concatenate(digests)
        order = np.argsort(known, kind="stable")
        self._digests = known[order]
        self._shard, self._row = np.concatenate(shards)[order], np.concatenate(rows)[order]

    def __len__(self) -> int:
        return len(self._digests)

    def __contains__(self, digest: bytes) -> bool:
        return not self.lacking([digest])

    def lacking(self, digests: Sequence[bytes]) -> list[int]:
        """The positions of those that have no row here."""
        wanted, place = self._find(digests)
        if not len(self._digests):
            return list(range(len(wanted)))
        return [int(n) for n in np.flatnonzero(self._digests[place] != wanted)]

    def gather(
        self, digests: Iterable[bytes], otherwise: "ShardStore | None" = None
    ) -> Activations:
        """The rows of these files, in this order, from `otherwise` those that are not here;
        KeyError if one is in neither.
        """
        digests = list(digests)
        wanted, place = self._find(digests)
        found = (
            self._digests[place] == wanted if len(self._digests) else np.zeros(len(wanted), bool)
        )
        maps, shard, row = self._maps, np.empty(len(wanted), np.int32), np.empty(len(wanted), int)
        shard[found], row[found] = self._shard[place[found]], self._row[place[found]]
        if not found.all():
            if otherwise is None:
                raise KeyError(digests[int(np.flatnonzero(~found)[0])].hex())
            others = otherwise.gather([digests[n] for n in np.flatnonzero(~found)])
            shard[~found], row[~found] = others.places
            shard[~found] += len(maps)
            maps = [*maps, *others.maps]
        return Activations(maps, shard, row, self.shape, self.dtype)

    def _find(self, digests: Sequence[bytes]) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """The digests as an array (n,), and where each would be among those here (n,)."""
        wanted = np.frombuffer(b"".join(digests), DIGEST)
        place = np.searchsorted(self._digests, wanted)
        return wanted, np.minimum(place, max(0, len(self._digests) - 1))


def view_store(paths: Sequence[Path], view: int) -> ShardStore:
    """The features of a view. Raises DataError for a damaged file."""

    def parts() -> Iterator[Part]:
        for path in paths:
            rows, values = read_view(path, view)
            yield read_fingerprints(path)[0][rows], np.arange(len(rows)), values

    return ShardStore(parts())


def fingerprint_store(paths: Sequence[Path]) -> ShardStore:
    """The fingerprints of the images that could be decoded. Raises DataError for a damaged file."""

    def parts() -> Iterator[Part]:
        for path in paths:
            rows, _ = read_view(path, 0)
            digests, values = read_fingerprints(path)
            yield digests[rows], rows, values

    return ShardStore(parts())
