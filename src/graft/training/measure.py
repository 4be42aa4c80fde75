"""What a classifier says of the splits, and what that is worth."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.errors import DataError
from graft.evaluation.metrics import evaluate
from graft.evaluation.selective import promises
from graft.evaluation.slices import worst_slices
from graft.features.cache import cache_folder
from graft.features.extraction import encode
from graft.features.table import FeatureTable
from graft.inference.neighbors import Neighbors
from graft.inference.predictor import Predictor
from graft.models.ood import IMAGES
from graft.runs.run import NEAREST, VAL_GROUPS, VAL_PREDICTIONS, read_predictions, write_predictions
from graft.training.metadata import traits_of
from graft.training.prepare import Prepared
from graft.training.stage import Job
from graft.utils.files import write_json
from graft.utils.progress import Progress

# Nearest training images of a mistake.
SHOWN = 3


def answers_of(
    classifier: Predictor, job: Job, split: str
) -> tuple[NDArray[np.float64], NDArray[np.float16]]:
    """(n, K) probabilities for a split's images, as predict computes them from the same files, and
    the features (n, D) that they come from.

    A frozen encoder's features are those in the cache, which are what predict would compute
    again, bit for bit. A trained one reads the files.
    """
    prepared = job.prepared
    if from_cache(classifier, prepared):
        features = prepared.activations(split).whole()
        answers = classifier.probabilities(features)
        close = classifier.close_calls(answers)
        if close:
            exact = exact_features(classifier, prepared, split, close)
            answers[close] = classifier.probabilities(exact)
        return answers, features
    files = prepared.files(split)
    job.progress.start(f"predicting {split}", len(files))
    rows, seen = [], []
    for item, probabilities in classifier.encoded_files(files):
        if probabilities is None:
            raise DataError(f"{item.loaded.file}: changed while it was in use")
        rows.append(probabilities)
        seen.append(item.values[0])
        job.progress.advance(len(rows))
    job.progress.finish()
    return np.stack(rows), np.stack(seen)


def from_cache(classifier: Predictor, prepared: Prepared) -> bool:
    """Whether the cached activations are the features that the classifier's head sees."""
    return classifier.frozen and prepared.frozen.backend is classifier.backend


@dataclass(frozen=True)
class Known:
    """Training images, by position, and their features (n, D)."""

    rows: NDArray[np.int64]
    features: NDArray[np.float16]


def known_features(classifier: Predictor, job: Job) -> Known:
    """The features of training images, of at most IMAGES of them."""
    prepared = job.prepared
    rows = prepared.rows("train")
    if len(rows) > IMAGES:
        rows = np.sort(np.random.default_rng(job.config.seed).choice(rows, IMAGES, False))
    if from_cache(classifier, prepared):
        return Known(rows, prepared.frozen.gather([prepared.digests[i] for i in rows]).whole())
    files = [prepared.examples[i].file for i in rows]
    job.progress.start("looking at train", len(files))
    seen = []
    for item in encode(files, classifier.backbone.preprocess, classifier.backend):
        if item.loaded.problem is not None:
            raise DataError(f"{item.loaded.file}: changed while it was in use")
        seen.append(item.values[0])
        job.progress.advance(len(seen))
    job.progress.finish()
    return Known(rows, np.stack(seen))


def exact_features(
    classifier: Predictor, prepared: Prepared, split: str, rows: list[int]
) -> NDArray[np.float16]:
    """Features in float32, (len(rows), D), of these rows of a split; cached too."""
    chosen = prepared.rows(split)[rows]
    exact = FeatureTable(cache_folder(), classifier.backbone, classifier.exact, views=1)
    exact.compute(
        [prepared.examples[i].file for i in chosen],
        lambda index, digest: range(1),
        lambda loaded: None,
        Progress(),
    )
    return exact.gather([prepared.digests[i] for i in chosen]).whole()


def evaluate_test(
    classifier: Predictor, job: Job, val: NDArray[np.float64], known: Known
) -> dict[str, Any]:
    """Predict the test split, write predictions.csv, and make the metrics from that file; with
    `val`, the validation split's probabilities (n, K), also what policy made on them are worth.
    """
    answers, features = answers_of(classifier, job, "test")
    write_answers(job, "test", classifier.classes, answers)
    _, labels, probabilities, classes = read_predictions(job.run / "predictions.csv")
    counts = np.bincount(job.labels("train"), minlength=len(classes))
    tested = [job.prepared.examples[i] for i in job.prepared.rows("test")]
    groups, val_groups = (
        job.prepared.groups(job.prepared.rows(split)) for split in ("test", "val")
    )
    metrics = evaluate(
        probabilities,
        labels,
        classes,
        majority=classes[int(counts.argmax())],
        groups=groups,
    )
    ood_score = classifier.ood_detector.score(features) if classifier.ood_detector else None
    right = probabilities.argmax(1) == labels
    wrong = np.flatnonzero(~right)
    if classifier.ood_detector:
        trained = [job.prepared.examples[i] for i in known.rows]
        names, classes_of = [e.path for e in trained], [e.label for e in trained]
        neighbors = Neighbors.of(classifier.ood_detector, known.features, names, classes_of)
        neighbors.write(job.run, known.rows)
        nearest = neighbors.nearest(features[wrong], SHOWN)
        paths = (tested[i].path for i in wrong)
        write_json(
            job.run / NEAREST,
            {path: [n.path for n in found] for path, found in zip(paths, nearest, strict=True)},
        )
    kept = promises(
        (val, job.labels("val")), (probabilities, labels), ood_score, val_groups, groups
    )
    slices = worst_slices(right, [e.path for e in tested], *traits_of(job, "test"))
    return metrics | {"promises": kept, "slices": slices}


def write_answers(
    job: Job, split: str, classes: Sequence[str], answers: NDArray[np.float64]
) -> None:
    """Write probabilities (n, K): predictions.csv of test, val_predictions.csv of val, and beside
    that the groups, where images belong together.
    """
    examples = [job.prepared.examples[i] for i in job.prepared.rows(split)]
    write_predictions(
        job.run / ("predictions.csv" if split == "test" else VAL_PREDICTIONS),
        classes,
        (
            (example.path, example.label, values)
            for example, values in zip(examples, answers, strict=True)
        ),
    )
    if split == "val":
        groups = job.prepared.groups(job.prepared.rows("val"))
        (job.run / VAL_GROUPS).unlink(missing_ok=True)  # of an earlier run in this folder
        if groups is not None:
            write_json(job.run / VAL_GROUPS, groups)
