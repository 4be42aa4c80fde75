"""The same numbers on another labelled source."""

from pathlib import Path
from typing import Any

import numpy as np

from graft.data.checks import Audit
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
    pictures ("part": "all"). Labels must be among the run's classes.

    Raises DataError for other labels or no usable picture, ModelError for a run without model
    or not finished.
    """
    classifier = load(run, engine)
    finished = Path(run) / "metrics.json"
    if not finished.is_file():
        raise ModelError(f"{run}: not a finished run, metrics.json is not there; train it again")
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
    labels, rows = [], []
    progress.start("predicting", len(examples))
    for item, probabilities in classifier.predict_files(example.file for example in examples):
        audit.note(item.loaded)
        progress.advance(item.loaded.index + 1)
        if probabilities is not None:
            labels.append(number[examples[item.loaded.index].label])
            rows.append(probabilities)
    progress.finish()
    for issue in audit.issues():
        if issue.paths and issue.kind not in ("too_few", "few", "two_labels"):
            progress.say(f"{issue.kind}: {issue.message}")
    if not rows:
        raise DataError(f"{source} holds no usable picture below a class folder")
    return evaluate(
        np.stack(rows),
        np.array(labels, np.int64),
        classifier.classes,
        part="test" if tested else "all",
        majority=majority,
    )
