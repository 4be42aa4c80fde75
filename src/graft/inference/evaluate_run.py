"""The same numbers on another labeled source."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from graft.data.dataset import Dataset, belonging
from graft.data.decode import UnusableImageError
from graft.data.sources import load_dataset
from graft.errors import DataError, ModelError
from graft.evaluation.metrics import evaluate
from graft.inference.predictor import load
from graft.quality.duplicates import Duplicates, equal_groups
from graft.quality.finding import Finding, by_severity, images, them
from graft.quality.listing import listing_findings
from graft.quality.unreadable import unreadable_findings
from graft.runs.run import Run
from graft.utils.cache_folder import cache_folder
from graft.utils.progress import Progress


def evaluate_run(
    run: str | Path, source: str | Path, progress: Progress, backend: str = "auto"
) -> dict[str, Any]:
    """Evaluate a run on the images of a source, by the very path that predict uses.

    A source with a test split is evaluated on that split ("split": "test"), any other on all its
    images ("split": "all"), except those that stand in train or val of the run: they are left out
    and told. Labels must be among the run's classes. Intervals are over groups where the source
    has some. "findings" holds what was found, as `graft check --json` prints it.

    Raises DataError for other labels or no usable image that the run was not trained on,
    ModelError for a run without model or not finished.
    """
    classifier = load(run, backend)
    finished = Path(run) / "metrics.json"
    if not finished.is_file():
        raise ModelError(f"{run}: not a finished run, metrics.json is not there; train it again")
    stored = Run(run)
    learned = {
        bytes.fromhex(row["sha256"]) for row in stored.images if row["split"] in ("train", "val")
    }
    majority = stored.metrics["baseline"]["majority_class"]
    dataset = load_dataset(source, cache_folder() / "sources")
    tested = [example for example in dataset.examples if example.split == "test"]
    examples = tested or list(dataset.examples)
    number = {name: i for i, name in enumerate(classifier.classes)}
    strange = sorted({example.label for example in examples} - set(number))
    if strange:
        raise DataError(
            f"{source}: the run knows the classes {', '.join(classifier.classes)}; "
            f"{', '.join(strange)} is not among them: rename the folders or take them out"
        )
    dataset = replace(dataset, examples=tuple(examples))
    digests: dict[int, bytes | None] = {}
    problems: dict[int, UnusableImageError] = {}
    used, rows, known = [], [], []
    progress.start("predicting", len(examples))
    for item, probabilities in classifier.predict_files(example.file for example in examples):
        example = examples[item.loaded.index]
        progress.advance(item.loaded.index + 1)
        if item.loaded.digest in learned:
            known.append(example.path)
            continue
        if item.loaded.problem is not None:
            problems[item.loaded.index] = item.loaded.problem
            continue
        digests[item.loaded.index] = item.loaded.digest
        if probabilities is not None:
            used.append(example)
            rows.append(probabilities)
    progress.finish()
    findings = _findings(dataset, digests, problems, known, len(rows))
    for finding in findings:
        progress.say(f"{finding.kind}: {finding.message}")
    if known and not rows:
        raise DataError(
            f"{source}: all {images(len(known))} that can be used stand in train or val of "
            f"{run}; give images that it was not trained on"
        )
    if not rows:
        raise DataError(f"{source} holds no usable image below a class folder")
    metrics = evaluate(
        np.stack(rows),
        np.array([number[example.label] for example in used], np.int64),
        classifier.classes,
        split="test" if tested else "all",
        majority=majority,
        groups=belonging((example.path, example.group) for example in used),
    )
    return metrics | {"findings": [finding.to_json() for finding in findings]}


def _findings(
    dataset: Dataset,
    digests: Mapping[int, bytes | None],
    problems: Mapping[int, UnusableImageError],
    known: Sequence[str],
    left: int,
) -> list[Finding]:
    """What is wrong with the images evaluated, and which the run knows already."""
    found = []
    if known:
        message = (
            f"{images(len(known))} from train or val of the run, byte for byte; the run has "
            f"learned {them(len(known))}, so {left:,} others are evaluated; give images that the "
            "run has not seen"
        )
        found.append(Finding("trained_on", message, tuple(known)))
    duplicates = Duplicates(dataset.examples, equal_groups(digests.items()), [], list(digests))
    return found + [
        replace(finding, message=_two_labels(len(finding.sets)))
        if finding.kind == "two_labels"
        else finding
        for finding in by_severity(
            [
                *listing_findings(dataset),
                *unreadable_findings(dataset.examples, problems),
                *duplicates.findings(),
            ]
        )
    ]


def _two_labels(count: int) -> str:
    return (
        f"{images(count)} with more than one label for the same bytes; all copies get the same "
        "answer, so each counts as a mistake at least once; delete the wrong copies"
    )
