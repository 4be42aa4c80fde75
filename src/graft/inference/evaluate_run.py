"""The same numbers on another labeled source."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from graft.data.dataset import MATTERS, Finding, belonging
from graft.data.sources import load_dataset
from graft.errors import DataError, ModelError
from graft.evaluation.metrics import evaluate
from graft.features.cache import cache_folder
from graft.inference.predictor import load
from graft.quality.appearance import images
from graft.quality.audit import Audit
from graft.runs.run import read_json
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
    learned = _learned(Path(run))
    majority = read_json(finished)["baseline"]["majority_class"]
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
    audit = Audit(type(dataset)(dataset.source, tuple(examples), dataset.findings))
    used, rows, known = [], [], []
    progress.start("predicting", len(examples))
    for item, probabilities in classifier.predict_files(example.file for example in examples):
        example = examples[item.loaded.index]
        progress.advance(item.loaded.index + 1)
        if item.loaded.digest in learned:
            known.append(example.path)
            continue
        audit.note(item.loaded)
        if probabilities is not None:
            used.append(example)
            rows.append(probabilities)
    progress.finish()
    findings = _findings(audit, known, len(rows))
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


def _learned(run: Path) -> set[bytes]:
    """The sha256 of each image in train or val of a run."""
    file = run / "dataset.csv"
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            return {
                bytes.fromhex(row["sha256"])
                for row in csv.DictReader(stream)
                if row["split"] in ("train", "val")
            }
    except FileNotFoundError as error:
        raise ModelError(
            f"{file} is not there, which says what the run was trained on; put it back, or train "
            "the run again"
        ) from error
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise ModelError(f"{file} is damaged: {error}; train the run again") from error


def _findings(audit: Audit, known: Sequence[str], left: int) -> list[Finding]:
    """What is wrong with the images evaluated, and which the run knows already."""
    found = []
    if known:
        found.append(
            Finding(
                "trained_on",
                MATTERS,
                tuple(known),
                f"{images(len(known))} in train or val of the run, byte for byte: they would "
                "make the result look better than it is, so they are left out, and "
                f"{left:,} evaluated; give images that the run has not seen",
            )
        )
    for finding in audit.findings():
        if finding.kind == "two_labels":
            count = len(finding.sets)
            message = (
                f"{images(count)} under more than one label, byte for byte: all copies get one "
                "answer, so each is one sure mistake or more; delete the wrong copies"
            )
            found.append(replace(finding, message=message))
        elif finding.paths and finding.kind not in ("too_few", "few"):
            found.append(finding)
    return found
