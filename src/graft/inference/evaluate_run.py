"""The same numbers on another labeled source."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import Dataset, class_numbers
from graft.data.decode import UnusableImageError
from graft.data.groups import group_ids, groups_that_count
from graft.data.sources import listing_of, load_dataset
from graft.errors import DataError, ModelError
from graft.evaluation.metrics import evaluate
from graft.inference.predictor import Predictor
from graft.inference.saved_model import load
from graft.quality.duplicates import Duplicates, equal_groups
from graft.quality.finding import Finding, by_severity, images, some, them
from graft.quality.listing import listing_findings
from graft.quality.unreadable import unreadable_findings
from graft.runs.folder import is_finished
from graft.runs.run import Run
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
    predictor, stored = load(run, backend), Run(run)
    if not is_finished(stored.path):
        raise ModelError(
            f"{run}: expected a finished run, metrics.json is missing; resume it with graft train "
            "--resume"
        )
    dataset, split, unknown = _evaluated(source, predictor.classes, stored, progress)
    seen = _predicted(predictor, dataset, stored, progress)
    findings = [*unknown, *_findings(dataset, seen)]
    progress.say_all(f"{finding.kind}: {finding.message}" for finding in findings)
    if not seen.probabilities:
        known = images(len(seen.known))
        raise DataError(
            f"{dataset.source}: all {known} that can be used are in train or val of {run}; give "
            "images that it was not trained on"
            if seen.known
            else f"{dataset.source}: expected labeled images, none is usable; see graft check"
        )
    used = [dataset.examples[i] for i in seen.digests]
    metrics = evaluate(
        np.stack(seen.probabilities),
        class_numbers(used, predictor.classes),
        predictor.classes,
        split=split,
        majority=stored.metrics["baseline"]["majority_class"],
        groups=groups_that_count(group_ids(used, list(seen.digests.values()))),
    )
    return metrics | {"findings": [finding.to_json() for finding in findings]}


def _evaluated(
    source: str | Path, classes: Sequence[str], run: Run, progress: Progress
) -> tuple[Dataset, str, list[Finding]]:
    """The images to evaluate on, and the name of their split: "test", or "all" where the source
    has no test split; and a finding on the classes that the run does not know, whose images are
    left out. Raises DataError if it knows none of them.
    """
    asked = listing_of(run.config["settings"])
    dataset = load_dataset(source, sources_folder(), progress=progress, **asked)
    tested = [i for i, example in enumerate(dataset.examples) if example.split == "test"]
    chosen = dataset.select(tested) if tested else dataset
    unknown = sorted(set(chosen.classes) - set(classes))
    known = [i for i, example in enumerate(chosen.examples) if example.label in classes]
    if unknown and not known:
        raise DataError(
            f"{dataset.source}: the run knows the classes {_listed(classes)}; {_listed(unknown)} "
            "is not among them: rename or remove these labels"
        )
    return chosen.select(known), "test" if tested else "all", _unknown(chosen, unknown, classes)


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


@dataclass
class _Seen:
    """What predicting the images of a dataset gave: by position the digests of those evaluated, in
    the order of their probabilities (K,), the problems of those that cannot be used; and the paths
    of those that the run was trained on.
    """

    digests: dict[int, bytes] = field(default_factory=dict)
    probabilities: list[NDArray[np.float64]] = field(default_factory=list)
    problems: dict[int, UnusableImageError] = field(default_factory=dict)
    known: list[str] = field(default_factory=list)


def _predicted(predictor: Predictor, dataset: Dataset, run: Run, progress: Progress) -> _Seen:
    learned = {
        bytes.fromhex(row["sha256"]) for row in run.images if row["split"] in ("train", "val")
    }
    seen = _Seen()
    progress.start("predicting", len(dataset.examples))
    for item, probabilities in predictor.encoded_files(e.file for e in dataset.examples):
        index, digest = item.loaded.index, item.loaded.digest
        progress.advance(index + 1)
        if digest in learned:
            seen.known.append(dataset.examples[index].path)
        elif item.loaded.problem is not None:
            seen.problems[index] = item.loaded.problem
        elif probabilities is not None and digest is not None:
            seen.digests[index] = digest
            seen.probabilities.append(probabilities)
    progress.finish()
    return seen


def _findings(dataset: Dataset, seen: _Seen) -> list[Finding]:
    """What is wrong with the images evaluated, and which the run knows already."""
    found = []
    if count := len(seen.known):
        message = (
            f"{images(count)} from train or val of the run, byte for byte; the run has learned "
            f"{them(count)}, so {len(seen.digests):,} others are evaluated; give images that the "
            "run has not seen"
        )
        found.append(Finding("trained_on", message, tuple(seen.known)))
    duplicates = Duplicates(
        dataset.examples, equal_groups(seen.digests.items()), [], list(seen.digests)
    )
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
