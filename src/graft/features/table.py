"""FeatureTable: what one pass over the files of a data set gives, a row an image.

`extract` reads, hashes, decodes and encodes; `read_table` does all but encode, without PyTorch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import Dataset, Example
from graft.data.decode import Preprocess, UnusableImageError
from graft.data.feature_file import read_fingerprints
from graft.data.feature_listing import rows_of_folder
from graft.data.fingerprint import FINGERPRINT, SIDE, Fingerprints, fingerprints
from graft.data.reader import Loaded, stream
from graft.data.split import expected_split
from graft.errors import DataError, UsageError
from graft.features.activations import Activations
from graft.utils.progress import Progress

if TYPE_CHECKING:
    from graft.config import SplitConfig
    from graft.features.cached_encoder import CachedEncoder

# Every byte is read and decoded, but large JPEGs at an eighth of their size.
_SIZE = Preprocess(SIDE, SIDE, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

Rows = Sequence[int] | NDArray[np.int64]


@dataclass(frozen=True)
class FeatureTable:
    """A row for each of the N images of a data set, in its order.

    `digests` are sha256 of the files' bytes, None for a file that could not be read; `problems`
    says, by row, why a file cannot be used. `encoder` holds the activations; None where images
    were only read. `cameras`: the names of the fingerprints' cameras, where they are known without
    the images.
    """

    dataset: Dataset
    digests: list[bytes | None]
    problems: dict[int, UnusableImageError]
    encoder: "CachedEncoder | None" = None
    read: Activations | None = None  # raw fingerprints (N, F), no encoder
    cameras: Mapping[int, str] | None = None

    def __len__(self) -> int:
        return len(self.digests)

    def readable(self) -> list[int]:
        """The rows of images that could be decoded."""
        return [i for i in range(len(self)) if i not in self.problems]

    def digest(self, row: int) -> bytes:
        """The sha256 of a readable file's bytes."""
        return self.digests[row] or b""

    def select(self, rows: Rows) -> "FeatureTable":
        """The table of these images alone, with the data set of the same."""
        chosen = [int(i) for i in rows]
        return replace(
            self,
            dataset=self.dataset.select(chosen),
            digests=[self.digests[i] for i in chosen],
            problems={n: self.problems[i] for n, i in enumerate(chosen) if i in self.problems},
            read=None if self.read is None else self.read.select(np.array(chosen, np.int64)),
        )

    def fingerprints(self, rows: Rows) -> Fingerprints:
        """What the audit needs to know of these readable images, records (n,)."""
        if self.encoder is None:
            raw = self.read or Activations.of(np.empty((0, FINGERPRINT.itemsize), np.uint8))
            return fingerprints(raw[np.asarray(rows, np.int64)])
        return fingerprints(
            self.encoder.fingerprints.gather([self.digest(int(i)) for i in rows]).whole()
        )

    def activations(self, rows: Rows, view: int = 0) -> Activations:
        """What the frozen network gives for these images in one view, (n, …); pixels where all of
        it is trained. KeyError where no pass computed them: see `complete`.
        """
        if self.encoder is None:
            raise ValueError("a table that was read without an encoder has no activations")
        return self.encoder.gather([self.digest(int(i)) for i in rows], view)

    def features(self, rows: Rows, view: int = 0) -> Activations | None:
        """The features (n, D) of these images in one view; None without a frozen network."""
        if self.encoder is None or self.encoder.backend is None:
            return None
        found = self.activations(rows, view)
        return found.columns(self.encoder.cut_size) if self.encoder.cut else found

    def complete(self, rows: Rows, views: Sequence[int], progress: Progress) -> None:
        """Compute these views of these images where they are missing: an image may be in another
        split than its own content foretold (see `extract`).

        Raises DataError for an image whose file has changed since it was read.
        """
        if self.encoder is None:
            return
        if self.encoder.shards is not None:
            if lacking := self.encoder.lacking([self.digest(int(i)) for i in rows], views):
                progress.say(
                    f"{len(lacking):,} of {len(rows):,} images were not expected to be trained on, "
                    "so their shards have no augmented views; the plain one stands for them"
                )
            return
        if self.encoder.runtime is not None:
            from graft.features.shared_work import own_rows, reopened

            self._encode(own_rows(self.encoder, [int(i) for i in rows]), views, progress)
            reopened(self.encoder)
        late = self._encode([int(i) for i in rows], views, progress)
        for row in late:
            if not self.encoder.has_views(self.digest(row), views):
                raise DataError(
                    f"{self.dataset.examples[row].file}: its bytes are not those that were read "
                    "before; put the image back, or train again"
                )

    def _encode(self, rows: Sequence[int], views: Sequence[int], progress: Progress) -> list[int]:
        """Encode those of the rows that lack one of these views; which they were."""
        encoder = self.encoder
        if encoder is None:
            return []
        late = [rows[n] for n in encoder.lacking([self.digest(i) for i in rows], views)]
        if late:
            files = [self.dataset.examples[i].file for i in late]
            progress.start("encoding the rest", len(files))
            encoder.compute(files, lambda i, digest: views, lambda loaded: None, progress)
            progress.finish()
        return late


def extract(
    dataset: Dataset, encoder: "CachedEncoder", config: "SplitConfig", progress: Progress
) -> FeatureTable:
    """Read, hash, fingerprint, decode and encode every image in one pass over the files.

    What the cache holds is not computed again. All `encoder.views` views are made of images that
    their own content puts into train (an image's split is known before the others are read,
    unless it is split by time), the plain view of the others.
    """
    if dataset.features is not None:
        if encoder.shards != dataset.features:
            raise UsageError(f"{dataset.source} holds features of its own; this needs the images")
        return _of_folder(dataset, dataset.features, encoder)
    examples = dataset.examples

    rows = list(range(len(examples)))
    if encoder.runtime is not None:
        from graft.features.shared_work import own_rows

        rows = own_rows(encoder, rows)

    def views_of(place: int, digest: bytes) -> range:
        return expected_views(encoder.views, config, examples[rows[place]], digest)

    table = FeatureTable(dataset, [None] * len(examples), {}, encoder)
    doing = "reading, checking, encoding" if encoder.backend else "reading, checking"
    progress.start(doing, len(rows))
    files = [examples[row].file for row in rows]
    encoder.compute(files, views_of, lambda loaded: _note(table, loaded, rows), progress)
    progress.finish()
    if encoder.runtime is not None:
        from graft.features.shared_work import gather_rows

        gather_rows(encoder, [e.file for e in examples], table.digests, table.problems)
        # What another machine encoded into a cache that cannot be seen from here.
        table.complete(table.readable(), range(1), progress)
    return table


def expected_views(views: int, config: "SplitConfig", example: Example, digest: bytes) -> range:
    """The views to make of an image before the others are known: all `views` of those that their
    own content puts into train.
    """
    if views == 1 or config.time_by is not None:
        return range(1)
    split = expected_split(config.seed, example, digest, config.val_fraction)
    return range(views if split == "train" else 1)


def read_table(dataset: Dataset, progress: Progress) -> FeatureTable:
    """Read, hash, fingerprint and decode every image; nothing is encoded, nothing cached."""
    if dataset.features is not None:
        return _of_folder(dataset, dataset.features)
    files = [example.file for example in dataset.examples]
    raw = np.zeros((len(files), FINGERPRINT.itemsize), np.uint8)
    table = FeatureTable(dataset, [None] * len(files), {}, None, Activations.of(raw))
    progress.start("checking", len(files))
    for loaded in stream(files, _SIZE, lambda row, digest: (), fingerprinted=lambda digest: True):
        _note(table, loaded, range(len(files)))
        if loaded.fingerprint is not None:
            raw[loaded.index] = loaded.fingerprint
        progress.advance(loaded.index + 1)
    progress.finish()
    return table


def _of_folder(
    dataset: Dataset, folder: Path, encoder: "CachedEncoder | None" = None
) -> FeatureTable:
    """The table of a data set that `graft features` has read, hashed, decoded and encoded."""
    found = rows_of_folder(folder)
    paths = [example.path for example in dataset.examples]
    place = [example.path for example in found.dataset.examples]
    if paths == place:
        rows = np.arange(len(paths))
    else:
        number = {path: n for n, path in enumerate(place)}
        rows = np.array([number[path] for path in paths], np.int64)
    problems = {n: found.problems[int(i)] for n, i in enumerate(rows) if int(i) in found.problems}
    raw = None
    if encoder is None:
        maps = [read_fingerprints(path)[1] for path in found.paths]
        raw = Activations(maps, found.file[rows], found.row[rows], maps[0].shape[1:], np.uint8)
    digests = [found.digests[int(i)] for i in rows]
    return FeatureTable(dataset, digests, problems, encoder, raw, found.cameras)


def _note(table: FeatureTable, loaded: Loaded, rows: Sequence[int]) -> None:
    row = rows[loaded.index]
    table.digests[row] = loaded.digest
    if loaded.problem is not None:
        table.problems[row] = loaded.problem
