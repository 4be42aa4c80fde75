"""Fingerprints of more images than fit in memory with their thumbnails."""

import numpy as np
from numpy.typing import NDArray

from graft.data.fingerprint import FINGERPRINT, SIDE, Fingerprints
from graft.features.table import FeatureTable
from graft.quality.near_duplicates import Ints
from graft.quality.near_sketches import blocks

# All of a fingerprint but its thumbnail: 68 bytes of 4,164.
LOOKS = np.dtype([(name, FINGERPRINT[name]) for name in FINGERPRINT.names or () if name != "gray"])


def looks_of(table: FeatureTable, rows: list[int]) -> Fingerprints:
    """The fingerprints of these readable images without `gray`, records (n,)."""
    looks = np.empty(len(rows), LOOKS)
    for block in blocks(len(rows)):
        found = table.fingerprints(rows[block])
        for name in LOOKS.names or ():
            looks[name][block] = found[name]
    return looks


class TableThumbnails:
    """The thumbnails (N, SIDE, SIDE) of these readable images of a table, read when asked for."""

    def __init__(self, table: FeatureTable, rows: list[int]):
        self.table, self.rows = table, np.asarray(rows, np.int64)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Ints) -> NDArray[np.uint8]:
        found = np.empty((len(rows), SIDE, SIDE), np.uint8)
        for block in blocks(len(rows)):
            found[block] = self.table.fingerprints(self.rows[rows[block]])["gray"]
        return found
