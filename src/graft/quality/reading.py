"""The table that the audit reads, made in one pass over the files of a dataset."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import Dataset
from graft.data.decode import Preprocess, UnusableImageError
from graft.data.fingerprint import FINGERPRINT, SIDE, Fingerprints, fingerprints
from graft.data.reader import Loaded, stream
from graft.utils.progress import Progress

if TYPE_CHECKING:
    from graft.features.cache import Activations
    from graft.features.table import FeatureTable

# Every byte is read and decoded, but large JPEGs at an eighth of their size.
_SIZE = Preprocess(SIDE, SIDE, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@dataclass
class Reading:
    """One row for each example, as `graft.quality.audit.Table` describes it."""

    digests: list[bytes | None]
    problems: dict[int, UnusableImageError] = field(default_factory=dict)
    read: NDArray[np.uint8] | None = None  # raw fingerprints (N, bytes), without a network
    frozen: "FeatureTable | None" = None

    def note(self, loaded: Loaded) -> None:
        """Take in what became of one file."""
        self.digests[loaded.index] = loaded.digest
        if loaded.problem is not None:
            self.problems[loaded.index] = loaded.problem

    def digest(self, row: int) -> bytes:
        """The sha256 of a readable file's bytes."""
        return self.digests[row] or b""

    def fingerprints(self, rows: Sequence[int]) -> Fingerprints:
        """The fingerprints (n,) of these readable images."""
        if self.frozen is not None:
            kept = self.frozen.fingerprints.gather([self.digest(i) for i in rows])
            return fingerprints(kept.whole())
        raw = np.empty((0, FINGERPRINT.itemsize), np.uint8) if self.read is None else self.read
        return fingerprints(raw[np.asarray(rows, np.int64)])

    def features(self, rows: Sequence[int]) -> "Activations | None":
        """The features (n, D) of these images, None without a frozen network."""
        if self.frozen is None or self.frozen.backend is None:
            return None
        found = self.frozen.gather([self.digest(i) for i in rows])
        return found.columns(self.frozen.cut_size) if self.frozen.cut else found


def read_table(dataset: Dataset, progress: Progress) -> Reading:
    """Read, hash and decode every image, without a network."""
    files = [example.file for example in dataset.examples]
    raw = np.zeros((len(files), FINGERPRINT.itemsize), np.uint8)
    table = Reading([None] * len(files), read=raw)
    progress.start("checking", len(files))
    for loaded in stream(files, _SIZE, lambda index, digest: (), fingerprinted=lambda digest: True):
        table.note(loaded)
        if loaded.fingerprint is not None:
            raw[loaded.index] = loaded.fingerprint
        progress.advance(loaded.index + 1)
    progress.finish()
    return table


def encode_table(
    dataset: Dataset,
    frozen: "FeatureTable",
    views_of: Callable[[int, bytes], Sequence[int]],
    progress: Progress,
) -> Reading:
    """Read, hash and decode every image, and encode what the cache does not hold."""
    table = Reading([None] * len(dataset.examples), frozen=frozen)
    files = [example.file for example in dataset.examples]
    doing = "reading, checking, encoding" if frozen.backend else "reading, checking"
    progress.start(doing, len(files))
    frozen.compute(files, views_of, table.note, progress)
    progress.finish()
    return table
