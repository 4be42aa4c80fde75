"""From a listed data set to checked, split pictures with their activations, in one pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from graft.config import TrainConfig
from graft.data.checks import Audit
from graft.data.dataset import PARTS, Dataset, Example, Issue, class_numbers
from graft.data.grouping import split_by_time, times
from graft.data.split import own_part, split, unit_numbers, units
from graft.errors import DataError, UsageError
from graft.learning.audit import judge, read_and_check
from graft.learning.cache import Activations
from graft.learning.frozen import Frozen
from graft.progress import Progress

# The share of pictures with a near duplicate up to which they count as single ones: they move an
# interval by less than its own uncertainty.
CLUSTERED = 0.05


@dataclass(frozen=True)
class Prepared:
    """The usable pictures with their digests, class numbers (N,) and parts (N,)."""

    dataset: Dataset
    examples: tuple[Example, ...]
    digests: tuple[bytes, ...]
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    parts: NDArray[np.str_]
    issues: tuple[Issue, ...]
    notes: tuple[str, ...]
    frozen: Frozen
    near: tuple[tuple[int, ...], ...] = ()  # positions of near duplicates, by cluster

    def rows(self, part: str) -> NDArray[np.int64]:
        """Positions of a part's pictures."""
        return np.flatnonzero(self.parts == part)

    def activations(self, part: str, view: int = 0) -> Activations:
        """The activations of a part, in the order of `rows`."""
        return self.frozen.gather([self.digests[i] for i in self.rows(part)], view)

    def features(self, part: str, view: int = 0) -> Activations:
        """The frozen encoder's features of a part: what stands after the cut in each row."""
        found = self.activations(part, view)
        return found.columns(self.frozen.cut_size) if self.frozen.cut else found

    def groups(self, rows: NDArray[np.int64]) -> list[str] | None:
        """What each of these pictures belongs to, with its copies and near duplicates; itself if
        nothing else. None if none has a group and at most CLUSTERED of them have such a like.
        """
        own = unit_numbers(self.examples, self.digests, self.near)[rows]
        _, place, sizes = np.unique(own, return_inverse=True, return_counts=True)
        grouped = any(self.examples[i].group for i in rows)
        if not grouped and (sizes[place] > 1).sum() <= CLUSTERED * len(rows):
            return None
        return [str(number) for number in own]

    def files(self, part: str) -> list[Path]:
        """The files of a part."""
        return [self.examples[i].file for i in self.rows(part)]


def prepare(dataset: Dataset, frozen: Frozen, config: TrainConfig, progress: Progress) -> Prepared:
    """Read, hash, check and decode every file once, encode what the cache does not hold, split.

    Raises DataError when the pictures, once read, leave too few to train on.
    """
    views, engine = frozen.views, frozen.engine
    examples = dataset.examples

    def views_of(index: int, digest: bytes) -> range:
        # An image's part depends on its own content, so it is known before the others are read
        # and only training pictures get more than the plain view.
        if config.time_by is not None:
            return range(1)  # what is newest is known when all were read
        training = own_part(config.seed, examples[index], digest, config.val_share) == "train"
        return range(views if training else 1)

    audit = read_and_check(dataset, frozen, views_of, progress)
    issues = audit.issues()
    for issue in issues:
        progress.say(f"{issue.kind}: {issue.message}")
    stop_if_blocked(issues, dataset.source)
    kept = [i for i in audit.usable() if audit.digests[i] is not None]
    digests = tuple(audit.digests[i] or b"" for i in kept)
    usable = tuple(examples[i] for i in kept)
    place = {i: n for n, i in enumerate(kept)}
    near = [[place[i] for i in group if i in place] for group in audit.copies().together()]
    if config.time_by is None:
        parts, notes = split(usable, digests, config.seed, near, config.val_share)
    else:
        parts, notes = _by_time(audit, config, kept, units(usable, digests, near))
    for note in notes:
        progress.say(f"split: {note}")
    complete(frozen, usable, digests, parts, frozen.views, progress)
    if engine:
        progress.say(
            f"engine: {engine.name}{'' if engine.ready else ', everything was in the cache'}"
        )
        if engine.ready and engine.ready.note:
            progress.say(f"engine: {engine.ready.note}")
    classes = tuple(sorted({example.label for example in usable}))
    labels = class_numbers(usable, classes)
    judged = judge(usable, digests, labels, classes, frozen)
    for issue in judged:
        progress.say(f"{issue.kind}: {issue.message}")
    return Prepared(
        dataset,
        usable,
        digests,
        classes,
        labels,
        parts,
        (*issues, *judged),
        tuple(notes),
        frozen,
        tuple(map(tuple, near)),
    )


def _by_time(
    audit: Audit, config: TrainConfig, kept: Sequence[int], together: Sequence[Sequence[int]]
) -> tuple[NDArray[np.str_], list[str]]:
    by = config.time_by or ""
    examples = [audit.dataset.examples[i] for i in kept]
    if any(example.part for example in examples):
        raise UsageError("--time-by is for a source that gives no parts itself")
    row = {position: n for n, position in enumerate(audit.positions)}
    taken = audit.sketches["taken"][[row[i] for i in kept]]
    parts = split_by_time(times(audit.dataset, by, taken, kept), together, config.val_share)
    lacking = {e.label for e in examples} - {
        e.label for e, part in zip(examples, parts, strict=True) if part == "train"
    }
    if lacking or set(parts) != set(PARTS):
        fault = f"train has no {', '.join(sorted(lacking))}" if lacking else "a part is empty"
        raise DataError(
            f"{audit.dataset.source}: split by time, {fault}; the pictures come from too few "
            "moments, split them without --time-by"
        )
    return parts, [f"the oldest pictures are train, the newest test, by {by}"]


def stop_if_blocked(issues: Sequence[Issue], source: str) -> None:
    """Raise DataError with every blocking issue's message."""
    blocking = [issue.message for issue in issues if issue.blocking]
    if blocking:
        raise DataError(f"{source} cannot be trained on: {'; '.join(blocking)}")


def complete(
    frozen: Frozen,
    examples: Sequence[Example],
    digests: Sequence[bytes],
    parts: NDArray[np.str_],
    views: int,
    progress: Progress,
) -> None:
    """Encode the first `views` views of what these parts (N,) put into train, where they lack:
    a split may differ from what a picture's own content foretold.
    """
    training = np.flatnonzero(parts == "train").tolist()
    late = [i for i in training if not frozen.has_views(digests[i], views)]
    if late:
        files = [examples[i].file for i in late]
        progress.start("encoding the rest", len(files))
        frozen.compute(files, lambda i, d: range(views), lambda loaded: None, progress)
        progress.finish()
