"""The same numbers on another labelled source."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from graft.data.checks import Audit
from graft.data.dataset import MATTERS, Issue, belonging
from graft.data.looks import pictures
from graft.data.scan import scan
from graft.errors import DataError, ModelError
from graft.evaluation.metrics import evaluate
from graft.learning.cache import cache_folder
from graft.models.classifier import load
from graft.progress import Progress
from graft.runs import read_json


def evaluate_run(
    run: str | Path, source: str | Path, progress: Progress, engine: str = "auto"
) -> dict[str, Any]:
    """Evaluate a run on the pictures of a source, by the very path that predict uses.

    A source with a test part is evaluated on that part ("part": "test"), any other on all its
    pictures ("part": "all"), except those that stand in train or val of the run: they are left out
    and told. Labels must be among the run's classes. Intervals are over groups where the source
    has some. "issues" holds what was found, as `graft check --json` prints it.

    Raises DataError for other labels or no usable picture that the run was not trained on,
    ModelError for a run without model or not finished.
    """
    classifier = load(run, engine)
    finished = Path(run) / "metrics.json"
    if not finished.is_file():
        raise ModelError(f"{run}: not a finished run, metrics.json is not there; train it again")
    learned = _learned(Path(run))
    majority = read_json(finished)["baseline"]["majority_class"]
    dataset = scan(source, cache_folder() / "sources")
    tested = [example for example in dataset.examples if example.part == "test"]
    examples = tested or list(dataset.examples)
    number = {name: i for i, name in enumerate(classifier.classes)}
    strange = sorted({example.label for example in examples} - set(number))
    if strange:
        raise DataError(
            f"{source}: the run knows the classes {', '.join(classifier.classes)}; "
            f"{', '.join(strange)} is not among them: rename the folders or take them out"
        )
    audit = Audit(type(dataset)(dataset.source, tuple(examples), dataset.issues))
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
    issues = _issues(audit, known, len(rows))
    for issue in issues:
        progress.say(f"{issue.kind}: {issue.message}")
    if known and not rows:
        raise DataError(
            f"{source}: all {pictures(len(known))} that can be used stand in train or val of "
            f"{run}; give pictures that it was not trained on"
        )
    if not rows:
        raise DataError(f"{source} holds no usable picture below a class folder")
    metrics = evaluate(
        np.stack(rows),
        np.array([number[example.label] for example in used], np.int64),
        classifier.classes,
        part="test" if tested else "all",
        majority=majority,
        groups=belonging((example.path, example.group) for example in used),
    )
    return metrics | {"issues": [issue.to_json() for issue in issues]}


def _learned(run: Path) -> set[bytes]:
    """The sha256 of each picture in train or val of a run."""
    file = run / "dataset.csv"
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            return {
                bytes.fromhex(row["sha256"])
                for row in csv.DictReader(stream)
                if row["part"] in ("train", "val")
            }
    except FileNotFoundError as error:
        raise ModelError(
            f"{file} is not there, which says what the run was trained on; put it back, or train "
            "the run again"
        ) from error
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise ModelError(f"{file} is damaged: {error}; train the run again") from error


def _issues(audit: Audit, known: Sequence[str], left: int) -> list[Issue]:
    """What is wrong with the pictures evaluated, and which the run knows already."""
    found = []
    if known:
        found.append(
            Issue(
                "trained_on",
                MATTERS,
                tuple(known),
                f"{pictures(len(known))} in train or val of the run, byte for byte: they would "
                "make the result look better than it is, so they are left out, and "
                f"{left:,} evaluated; give pictures that the run has not seen",
            )
        )
    for issue in audit.issues():
        if issue.kind == "two_labels":
            count = len(issue.sets)
            message = (
                f"{pictures(count)} under more than one label, byte for byte: all copies get one "
                "answer, so each is one sure mistake or more; delete the wrong copies"
            )
            found.append(replace(issue, message=message))
        elif issue.paths and issue.kind not in ("too_few", "few"):
            found.append(issue)
    return found
