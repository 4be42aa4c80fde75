"""The metrics of a run on another labeled source."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import MATTERS, Example, Finding, belonging
from graft.data.sources import scan
from graft.errors import DataError, ModelError
from graft.evaluation.metrics import evaluate
from graft.features.cache import cache_folder
from graft.inference.predictor import Predictor
from graft.inference.saved_model import load
from graft.quality.appearance import images
from graft.quality.audit import Audit
from graft.runs.run import read_json
from graft.utils.progress import Progress


def evaluate_run(
    run: str | Path, source: str | Path, progress: Progress, backend: str = "auto"
) -> dict[str, Any]:
    """Evaluate a run on the images of a source, predicted as `predict` predicts them.

    A source with a test split is evaluated on that split ("split": "test"), any other on all its
    images ("split": "all"). Images in train or val of the run are left out, and named in a
    finding. Labels must be among the run's classes. Intervals are over groups where the source
    has some. "findings" is as `graft check --json` prints it.

    Raises DataError for unknown labels, or if every usable image is in train or val of the run;
    ModelError for a run without a model, or one that is not finished.
    """
    predictor = load(run, backend)
    finished = Path(run) / "metrics.json"
    if not finished.is_file():
        raise ModelError(
            f"{run}: expected a finished run, metrics.json is not there; train it with --resume"
        )
    majority = read_json(finished)["baseline"]["majority_class"]
    seen = _trained_on(Path(run))
    dataset = scan(source, cache_folder() / "sources")
    tested = [example for example in dataset.examples if example.split == "test"]
    examples = tested or list(dataset.examples)
    number = {name: i for i, name in enumerate(predictor.classes)}
    if unknown := sorted({example.label for example in examples} - set(number)):
        raise DataError(
            f"{source}: the run knows the classes {', '.join(predictor.classes)}; "
            f"{', '.join(unknown)} is not among them: rename or remove these labels"
        )
    audit = Audit(type(dataset)(dataset.source, tuple(examples), dataset.findings))
    used, rows, known = _predicted(predictor, audit, seen, progress)
    findings = _findings(audit, known, len(rows))
    for finding in findings:
        progress.say(f"{finding.kind}: {finding.message}")
    if known and not rows:
        raise DataError(
            f"{source}: all {images(len(known))} that can be used are in train or val of "
            f"{run}; give images that it was not trained on"
        )
    if not rows:
        raise DataError(f"{source}: expected labeled images, none is usable; see graft check")
    metrics = evaluate(
        np.stack(rows),
        np.array([number[example.label] for example in used], np.int64),
        predictor.classes,
        split="test" if tested else "all",
        majority=majority,
        groups=belonging((example.path, example.group) for example in used),
    )
    return metrics | {"findings": [finding.to_json() for finding in findings]}


def _predicted(
    predictor: Predictor, audit: Audit, seen: set[bytes], progress: Progress
) -> tuple[list[Example], list[NDArray[np.float64]], list[str]]:
    """The usable examples that the run was not trained on, their probabilities (K,), and the paths
    of those that it was trained on.
    """
    examples = audit.dataset.examples
    used, rows, known = [], [], []
    progress.start("predicting", len(examples))
    for item, probabilities in predictor.encoded_files(example.file for example in examples):
        example = examples[item.loaded.index]
        progress.advance(item.loaded.index + 1)
        if item.loaded.digest in seen:
            known.append(example.path)
            continue
        audit.note(item.loaded)
        if probabilities is not None:
            used.append(example)
            rows.append(probabilities)
    progress.finish()
    return used, rows, known


def _trained_on(run: Path) -> set[bytes]:
    """The sha256 (32 bytes) of each image in train or val of a run."""
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
            f"{file} is not there, so nobody knows what the run was trained on; put it back, or "
            "train the run again"
        ) from error
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise ModelError(f"{file} is damaged: {error}; train the run again") from error


def _findings(audit: Audit, known: Sequence[str], left: int) -> list[Finding]:
    """Findings about the images evaluated, and which of them the run was trained on."""
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
                "prediction, so each is at least one mistake; delete the wrong copies"
            )
            found.append(replace(finding, message=message))
        elif finding.paths and finding.kind not in ("too_few", "few"):
            found.append(finding)
    return found
