"""From a listed data set to checked, split images with their activations, in one pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from graft.config import TrainConfig
from graft.data.dataset import SPLITS, Dataset, Example, class_numbers
from graft.data.groups import split_by_time, times
from graft.data.split import assign_splits, expected_split, unit_numbers, units
from graft.errors import DataError, UsageError
from graft.features.cache import Activations
from graft.features.table import FeatureTable
from graft.quality.audit import audit
from graft.quality.finding import Finding
from graft.quality.reading import Reading, encode_table
from graft.utils.progress import Progress

# The share of images with a near duplicate up to which they count as single ones: they move an
# interval by less than its own uncertainty.
CLUSTERED = 0.05


@dataclass(frozen=True)
class Prepared:
    """The usable images with their digests, class numbers (N,) and splits (N,)."""

    dataset: Dataset
    examples: tuple[Example, ...]
    digests: tuple[bytes, ...]
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    splits: NDArray[np.str_]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    frozen: FeatureTable
    near: tuple[tuple[int, ...], ...] = ()  # positions of near duplicates, by cluster

    def rows(self, split: str) -> NDArray[np.int64]:
        """Positions of a split's images."""
        return np.flatnonzero(self.splits == split)

    def activations(self, split: str, view: int = 0) -> Activations:
        """The activations of a split, in the order of `rows`."""
        return self.frozen.gather([self.digests[i] for i in self.rows(split)], view)

    def features(self, split: str, view: int = 0) -> Activations:
        """The frozen encoder's features of a split: what stands after the cut in each row."""
        found = self.activations(split, view)
        return found.columns(self.frozen.cut_size) if self.frozen.cut else found

    def groups(self, rows: NDArray[np.int64]) -> list[str] | None:
        """What each of these images belongs to, with its copies and near duplicates; itself if
        nothing else. None if none has a group and at most CLUSTERED of them have such a like.
        """
        own = unit_numbers(self.examples, self.digests, self.near)[rows]
        _, place, sizes = np.unique(own, return_inverse=True, return_counts=True)
        grouped = any(self.examples[i].group for i in rows)
        if not grouped and (sizes[place] > 1).sum() <= CLUSTERED * len(rows):
            return None
        return [str(number) for number in own]

    def files(self, split: str) -> list[Path]:
        """The files of a split."""
        return [self.examples[i].file for i in self.rows(split)]


def prepare(
    dataset: Dataset, frozen: FeatureTable, config: TrainConfig, progress: Progress
) -> Prepared:
    """Read, hash, check and decode every file once, encode what the cache does not hold, split.

    Raises DataError when the images, once read, leave too few to train on.
    """
    views, backend = frozen.views, frozen.backend
    examples = dataset.examples

    def views_of(index: int, digest: bytes) -> range:
        # An image's split depends on its own content, so it is known before the others are read
        # and only training images get more than the plain view.
        if config.time_by is not None:
            return range(1)  # what is newest is known when all were read
        training = (
            expected_split(config.seed, examples[index], digest, config.val_fraction) == "train"
        )
        return range(views if training else 1)

    table = encode_table(dataset, frozen, views_of, progress)
    found = audit(dataset, table, frozen.cache)
    for finding in found.findings:
        progress.say(f"{finding.kind}: {finding.message}")
    stop_if_blocked(found.findings, dataset.source)
    kept = found.usable
    digests = tuple(table.digest(i) for i in kept)
    usable = tuple(examples[i] for i in kept)
    place = {i: n for n, i in enumerate(kept)}
    near = [[place[i] for i in group if i in place] for group in found.near]
    if config.time_by is None:
        splits, notes = assign_splits(usable, digests, config.seed, near, config.val_fraction)
    else:
        splits, notes = _by_time(dataset, table, config, kept, units(usable, digests, near))
    for note in notes:
        progress.say(f"split: {note}")
    complete(frozen, usable, digests, splits, frozen.views, progress)
    if backend:
        progress.say(
            f"backend: {backend.name}{'' if backend.ready else ', everything was in the cache'}"
        )
        if backend.ready and backend.ready.note:
            progress.say(f"backend: {backend.ready.note}")
    classes = tuple(sorted({example.label for example in usable}))
    labels = class_numbers(usable, classes)
    return Prepared(
        dataset,
        usable,
        digests,
        classes,
        labels,
        splits,
        found.findings,
        tuple(notes),
        frozen,
        tuple(map(tuple, near)),
    )


def _by_time(
    dataset: Dataset,
    table: Reading,
    config: TrainConfig,
    kept: Sequence[int],
    together: Sequence[Sequence[int]],
) -> tuple[NDArray[np.str_], list[str]]:
    by = config.time_by or ""
    examples = [dataset.examples[i] for i in kept]
    if any(example.split for example in examples):
        raise UsageError("--time-by is for a source that gives no splits itself")
    taken = table.fingerprints(kept)["taken"]
    splits = split_by_time(times(dataset, by, taken, kept), together, config.val_fraction)
    lacking = {e.label for e in examples} - {
        e.label for e, split in zip(examples, splits, strict=True) if split == "train"
    }
    if lacking or set(splits) != set(SPLITS):
        fault = f"train has no {', '.join(sorted(lacking))}" if lacking else "a split is empty"
        raise DataError(
            f"{dataset.source}: split by time, {fault}; the images come from too few "
            "moments, split them without --time-by"
        )
    return splits, [f"the oldest images are train, the newest test, by {by}"]


def stop_if_blocked(findings: Sequence[Finding], source: str) -> None:
    """Raise DataError with every blocking finding's message."""
    blocking = [finding.message for finding in findings if finding.blocking]
    if blocking:
        raise DataError(f"{source} cannot be trained on: {'; '.join(blocking)}")


def complete(
    frozen: FeatureTable,
    examples: Sequence[Example],
    digests: Sequence[bytes],
    splits: NDArray[np.str_],
    views: int,
    progress: Progress,
) -> None:
    """Encode the first `views` views of what these splits (N,) put into train, where they lack:
    a split may differ from what an image's own content foretold.
    """
    training = np.flatnonzero(splits == "train").tolist()
    late = [i for i in training if not frozen.has_views(digests[i], views)]
    if late:
        files = [examples[i].file for i in late]
        progress.start("encoding the rest", len(files))
        frozen.compute(files, lambda i, d: range(views), lambda loaded: None, progress)
        progress.finish()
