"""From a listed data set to checked, split pictures with their activations, in one pass."""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from graft.config import TrainConfig
from graft.data.checks import Audit
from graft.data.dataset import Dataset, Example, Issue
from graft.data.near import NEAR_FORMAT, Pairs, near_pairs
from graft.data.sketch import Sketches, sketches
from graft.data.split import own_part, split
from graft.errors import DataError
from graft.files import replacing
from graft.learning.cache import Activations
from graft.learning.frozen import Frozen
from graft.learning.judge import judged_issues
from graft.progress import Progress


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

    def files(self, part: str) -> list[Path]:
        """The files of a part."""
        return [self.examples[i].file for i in self.rows(part)]


def prepare(dataset: Dataset, frozen: Frozen, config: TrainConfig, progress: Progress) -> Prepared:
    """Read, hash, check and decode every file once, encode what the cache does not hold, split.

    Raises DataError when the pictures, once read, leave too few to train on.
    """
    views, engine = frozen.views, frozen.engine
    audit = Audit(dataset)
    examples = dataset.examples
    files = [example.file for example in examples]

    def views_of(index: int, digest: bytes) -> range:
        # An image's part depends on its own content, so it is known before the others are read
        # and only training pictures get more than the plain view.
        training = own_part(config.seed, examples[index], digest) == "train"
        return range(views if training else 1)

    progress.start("reading, checking, encoding" if engine else "reading, checking", len(files))
    frozen.compute(files, views_of, audit.note, progress)
    progress.finish()
    seen = {i: digest for i in audit.readable() if (digest := audit.digests[i])}
    rows = sketches(frozen.sketches.gather(seen.values())[np.arange(len(seen))])
    audit.look(list(seen), rows, lambda chosen: _pairs(chosen, frozen.cache))
    issues = audit.issues()
    for issue in issues:
        progress.say(f"{issue.kind}: {issue.message}")
    stop_if_blocked(issues, dataset.source)
    kept = [i for i in audit.usable() if audit.digests[i] is not None]
    digests = tuple(audit.digests[i] or b"" for i in kept)
    usable = tuple(examples[i] for i in kept)
    place = {i: n for n, i in enumerate(kept)}
    near = [[place[i] for i in group if i in place] for group in audit.copies().together()]
    parts, notes = split(usable, digests, config.seed, near)
    for note in notes:
        progress.say(f"split: {note}")
    _complete(frozen, usable, digests, parts, progress)
    if engine:
        progress.say(
            f"engine: {engine.name}{'' if engine.ready else ', everything was in the cache'}"
        )
        if engine.ready and engine.ready.note:
            progress.say(f"engine: {engine.ready.note}")
    classes = tuple(sorted({example.label for example in usable}))
    number = {name: i for i, name in enumerate(classes)}
    labels = np.array([number[example.label] for example in usable], np.int64)
    if engine:
        checked = frozen.gather(digests)
        judged = judged_issues(
            usable, labels, classes, checked.columns(frozen.cut_size) if frozen.cut else checked
        )
        for issue in judged:
            progress.say(f"{issue.kind}: {issue.message}")
        issues = [*issues, *judged]
    return Prepared(
        dataset,
        usable,
        digests,
        classes,
        labels,
        parts,
        tuple(issues),
        tuple(notes),
        frozen,
        tuple(map(tuple, near)),
    )


def _pairs(chosen: Sketches, cache: Path) -> Pairs:
    # Finding near copies takes as long as fitting a head: kept, too, by what was compared.
    file = cache / "near" / f"{hashlib.sha256(chosen.tobytes()).hexdigest()[:32]}.safetensors"
    key = {"format": str(NEAR_FORMAT)}
    if file.is_file():
        with suppress(SafetensorError, OSError), safe_open(file, "np") as stored:
            if stored.metadata() == key:
                return Pairs(stored.get_tensor("pairs"), stored.get_tensor("agreement"))
    found = near_pairs(chosen)
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as beside:
        save_file({"pairs": found.pairs, "agreement": found.agreement}, beside, key)
    return found


def stop_if_blocked(issues: Sequence[Issue], source: str) -> None:
    """Raise DataError with every blocking issue's message."""
    blocking = [issue.message for issue in issues if issue.blocking]
    if blocking:
        raise DataError(f"{source} cannot be trained on: {'; '.join(blocking)}")


def _complete(
    frozen: Frozen,
    examples: Sequence[Example],
    digests: Sequence[bytes],
    parts: NDArray[np.str_],
    progress: Progress,
) -> None:
    # Pictures that the split moved into train, against what their own content foretold.
    training = np.flatnonzero(parts == "train").tolist()
    late = [i for i in training if not frozen.has_views(digests[i])]
    if late:
        files = [examples[i].file for i in late]
        progress.start("encoding the rest", len(files))
        frozen.compute(files, lambda i, d: range(frozen.views), lambda loaded: None, progress)
        progress.finish()
