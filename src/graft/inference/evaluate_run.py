"""The same numbers on another labeled source."""

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import Dataset, class_numbers
from graft.data.decode import UnusableImageError
from graft.data.groups import group_ids, groups_that_count
from graft.data.sources import listing_of, load_dataset
from graft.errors import DataError, ModelError
from graft.evaluation.metrics import evaluate
from graft.inference.saved_model import load
from graft.quality.duplicates import Duplicates, equal_groups
from graft.quality.finding import Finding, by_severity, images, some, them
from graft.quality.listing import listing_findings
from graft.quality.unreadable import unreadable_findings
from graft.runs.folder import is_finished
from graft.runs.image_table import KnownDigests
from graft.runs.run import Run
from graft.runs.tables import keeps_all
from graft.runs.top_probabilities import AT_ONCE, Probabilities, TopProbabilities
from graft.utils.cache_folder import cache_in_use, sources_folder
from graft.utils.progress import Progress

# More names than these are counted in a message.
LISTED = 12


@cache_in_use()
def evaluate_run(
    run: str | Path, source: str | Path, progress: Progress, backend: str = "auto"
) -> dict[str, Any]:
    """Evaluate a run on the images of a source, predicted as `predict` predicts them.

    A source with a test split is evaluated on that split ("split": "test"), any other on all its
    images ("split": "all"). Images in train or val of the run are left out, and named in a
    finding; so are those of classes that the run does not know. Intervals are over groups where the
    source has some. "findings" is as `graft check --json` prints it.

    Raises DataError if the run knows no label, or if every usable image is in its train or val;
    ModelError for a run without a model, or one that is not finished.
    """
    predictor, stored = load(run, backend), finished_run(run)
    asked = listing_of(stored.config["settings"])
    dataset = load_dataset(source, sources_folder(), progress=progress, **asked)
    chosen = Chosen.of(dataset, predictor.classes)
    seen = Seen(chosen.dataset, predictor.classes)
    learned = KnownDigests(stored.images, ("train", "val"))
    progress.start("predicting", len(chosen.dataset.examples))
    for item, probabilities in predictor.encoded_files(e.file for e in chosen.dataset.examples):
        loaded = item.loaded
        seen.add(loaded.index, loaded.digest, loaded.problem, learned, probabilities)
        progress.advance(loaded.index + 1)
    progress.finish()
    return measured(stored, chosen, seen, progress)


def finished_run(run: str | Path) -> Run:
    """A run that can be evaluated; ModelError for one that is not finished."""
    stored = Run(run)
    if not is_finished(stored.path):
        raise ModelError(
            f"{run}: expected a finished run, metrics.json is missing; resume it with graft train "
            "--resume"
        )
    return stored


def measured(stored: Run, chosen: "Chosen", seen: "Seen", progress: Progress) -> dict[str, Any]:
    """The metrics of what was seen, with the findings; raises as `evaluate_run`."""
    findings = [*chosen.unknown, *_findings(chosen.dataset, seen)]
    progress.say_all(f"{finding.kind}: {finding.message}" for finding in findings)
    if not seen.digests:
        named, known = chosen.dataset.source, images(len(seen.known))
        raise DataError(
            f"{named}: all {known} that can be used are in train or val of {stored.path}; give "
            "images that it was not trained on"
            if seen.known
            else f"{named}: expected labeled images, none is usable; see graft check"
        )
    used = [chosen.dataset.examples[i] for i in seen.evaluated]
    metrics = evaluate(
        seen.probabilities(),
        class_numbers(used, seen.classes),
        seen.classes,
        split=chosen.split,
        majority=stored.metrics["baseline"]["majority_class"],
        groups=groups_that_count(group_ids(used, [seen.digests[i] for i in seen.evaluated])),
    )
    return metrics | {"findings": [finding.to_json() for finding in findings]}


@dataclass(frozen=True)
class Chosen:
    """The images to evaluate on, and the name of their split: "test", or "all" where the source
    has no test split; and a finding on the classes that the run does not know, whose images are
    left out.
    """

    dataset: Dataset
    split: str
    unknown: list[Finding]

    @classmethod
    def of(cls, dataset: Dataset, classes: Sequence[str]) -> Self:
        """Of a source's images. Raises DataError if the run knows none of its classes."""
        tested = [i for i, example in enumerate(dataset.examples) if example.split == "test"]
        chosen = dataset.select(tested) if tested else dataset
        unknown = sorted(set(chosen.classes) - set(classes))
        known = [i for i, example in enumerate(chosen.examples) if example.label in {*classes}]
        if unknown and not known:
            raise DataError(
                f"{dataset.source}: the run knows the classes {_listed(classes)}; "
                f"{_listed(unknown)} is not among them: rename or remove these labels"
            )
        split = "test" if tested else "all"
        return cls(chosen.select(known), split, _unknown(chosen, unknown, classes))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED:,} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def _unknown(dataset: Dataset, unknown: list[str], classes: Sequence[str]) -> list[Finding]:
    if not unknown:
        return []
    paths = tuple(example.path for example in dataset.examples if example.label in unknown)
    message = (
        f"the run does not know {some(unknown)}, only {_listed(classes)}; {images(len(paths))} "
        "left out, though the run would call each of them one of its own classes; rename these "
        "labels if they are known under another name"
    )
    return [Finding("unknown_class", message, paths)]


class Seen:
    """What predicting the images of `dataset` gave, added in any order: by position the `digests`
    of those evaluated and the `problems` of those that cannot be used, and the positions of those
    `known`, which the run was trained on.

    Of so many images and classes that a run would keep the largest probabilities only, so does
    this.
    """

    def __init__(self, dataset: Dataset, classes: Sequence[str]):
        self.dataset, self.classes = dataset, classes
        self.digests: dict[int, bytes] = {}
        self.problems: dict[int, UnusableImageError] = {}
        self.known: list[int] = []
        self._number = {name: i for i, name in enumerate(classes)}
        self._whole = keeps_all(len(dataset.examples), len(classes))
        self._rows: list[NDArray[np.float64]] = []
        self._labels: list[int] = []
        self._kept: list[TopProbabilities] = []

    def add(
        self,
        index: int,
        digest: bytes | None,
        problem: UnusableImageError | None,
        learned: Container[bytes],
        probabilities: NDArray[np.float64] | TopProbabilities | None,
    ) -> None:
        """Add image `index` with its probabilities (K,), or what is kept of them, (1, K)."""
        if digest is not None and digest in learned:
            self.known.append(index)
        elif problem is not None:
            self.problems[index] = problem
        elif probabilities is not None and digest is not None:
            self.digests[index] = digest
            if isinstance(probabilities, TopProbabilities):
                self._kept.append(probabilities)
                return
            self._rows.append(probabilities)
            self._labels.append(self._number[self.dataset.examples[index].label])
            if not self._whole and len(self._rows) * len(self.classes) >= AT_ONCE:
                self._keep()

    @property
    def evaluated(self) -> list[int]:
        """The positions of the images evaluated, in order."""
        return sorted(self.digests)

    def probabilities(self) -> Probabilities:
        """Of the images evaluated, (N, K), in their order."""
        order = np.argsort(np.fromiter(self.digests, np.int64), kind="stable")
        if self._whole and not self._kept:
            return np.stack([self._rows[i] for i in order])
        self._keep()
        return TopProbabilities.joined(self._kept)[order]

    def _keep(self) -> None:
        if self._rows:
            self._kept.append(TopProbabilities.of(np.stack(self._rows), self._labels))
        self._rows, self._labels = [], []


def _findings(dataset: Dataset, seen: Seen) -> list[Finding]:
    """What is wrong with the images evaluated, and which the run knows already."""
    found = []
    if count := len(seen.known):
        message = (
            f"{images(count)} from train or val of the run, byte for byte; the run has learned "
            f"{them(count)}, so {len(seen.digests):,} others are evaluated; give images that the "
            "run has not seen"
        )
        paths = tuple(dataset.examples[i].path for i in sorted(seen.known))
        found.append(Finding("trained_on", message, paths))
    digests = [(i, seen.digests[i]) for i in seen.evaluated]
    duplicates = Duplicates(dataset.examples, equal_groups(digests), [], seen.evaluated)
    return found + [
        replace(finding, message=_two_labels(len(finding.sets)))
        if finding.kind == "two_labels"
        else finding
        for finding in by_severity(
            [
                *listing_findings(dataset),
                *unreadable_findings(dataset.examples, seen.problems),
                *duplicates.findings(),
            ]
        )
    ]


def _two_labels(count: int) -> str:
    return (
        f"{images(count)} with more than one label for the same bytes; all copies get the same "
        "answer, so each counts as a mistake at least once; delete the wrong copies"
    )
