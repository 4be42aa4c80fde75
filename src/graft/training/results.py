"""From fitted weights to a calibrated model, its predictions for val and test, and its metrics."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.data.split import Split
from graft.errors import DataError
from graft.evaluation.calibration import fit_temperature, softmax
from graft.evaluation.metrics import evaluate
from graft.evaluation.selective import selective_prediction_report
from graft.evaluation.slices import worst_slices
from graft.features.activations import Activations
from graft.features.backends import backend_of
from graft.features.blocks import blocks_of
from graft.features.cached_encoder import CachedEncoder
from graft.features.extraction import encode
from graft.features.metadata import metadata_of
from graft.features.table import FeatureTable
from graft.inference.neighbors import Neighbors
from graft.inference.predictor import Predictor
from graft.models.ood import IMAGES, fit_ood_detector
from graft.models.ranks import gathered_rows
from graft.models.runtime import Runtime
from graft.runs.run import Run
from graft.runs.tables import MOST_WHOLE, keeps_all
from graft.runs.top_probabilities import AT_ONCE, Probabilities, TopProbabilities, each_image
from graft.training.block_shuffle import in_memory
from graft.training.new_weights import with_weights
from graft.training.plan import Plan
from graft.training.stages import Trained
from graft.utils.cache_folder import cache_folder
from graft.utils.progress import Progress

# Nearest training images of a mistake.
SHOWN = 3


@dataclass(frozen=True)
class Encoded:
    """Images of a split, as rows (n,) of the table, and the features (n, D) that the head sees;
    on disk where they do not fit in memory.
    """

    rows: NDArray[np.int64]
    features: NDArray[np.float16] | Activations

    def each(self, of: Callable[[NDArray[np.float16]], NDArray[np.float64]]) -> NDArray[np.float64]:
        """`of` features (n, D): of all at once, or block by block."""
        if not isinstance(self.features, Activations):
            return of(self.features)
        found = []
        for rows in blocks_of(len(self.rows), self.features.shape):
            found.append(of(self.features[rows]))
            self.features.forget()
        return np.concatenate(found)

    def some(self, most: int, seed: int) -> NDArray[np.float16]:
        """The features of all, or of `most` of them where they are on disk."""
        if not isinstance(self.features, Activations):
            return self.features
        count = len(self.rows)
        chosen = np.random.default_rng(seed).choice(count, min(most, count), False)
        return self.features[np.sort(chosen)]


@dataclass(frozen=True)
class Result:
    """A calibrated model and what it says: probabilities (n, K) of val and test, and the features
    of train (at most `IMAGES` of them), val and test.
    """

    model: Predictor
    encoded: dict[str, Encoded]
    probabilities: dict[str, Probabilities]


def predict_splits(
    plan: Plan, trained: Trained, table: FeatureTable, split: Split, run: Run, progress: Progress
) -> Result | None:
    """Calibrate on val, then predict val and test by the path that `graft predict` takes.

    The features of a frozen encoder are those in the table, which predict would compute again. A
    trained one reads the files: of several processes each reads its part of each split, and rank 0
    does the rest; the others get None.
    """
    model = _model(plan, trained, split, run)
    rows = {name: split.rows(name) for name in ("train", "val", "test")}
    if len(rows["train"]) > IMAGES:
        random = np.random.default_rng(plan.config.seed)
        rows["train"] = np.sort(random.choice(rows["train"], IMAGES, False))
    encoded = {
        name: Encoded(own, _features(model, table, own, name, progress, plan.runtime))
        for name, own in rows.items()
    }
    if plan.runtime.rank:
        return None
    whole = keeps_all(len(rows["val"]) + len(rows["test"]), len(split.classes))
    # Which calls are close depends on the temperature: first on that of the head itself.
    model.temperature = _temperature(model, table, encoded["val"], split, whole, plan.config.seed)
    model.ood_detector = fit_ood_detector(
        encoded["train"].some(IMAGES, plan.config.seed),
        encoded["val"].some(IMAGES, plan.config.seed),
        plan.config.seed,
    )
    probabilities = {
        name: _probabilities(model, table, encoded[name], split.labels_of(name), whole)
        for name in ("val", "test")
    }
    return Result(model, encoded, probabilities)


def _temperature(
    model: Predictor, table: FeatureTable, val: Encoded, split: Split, whole: bool, seed: int
) -> float:
    """The temperature that fits val; of too many images and classes, a sample of it."""
    chosen = np.arange(len(val.rows))
    if not whole:
        most = max(1, MOST_WHOLE // (4 * len(split.classes)))
        chosen = np.random.default_rng(seed).permutation(chosen)[:most]
        val = Encoded(val.rows[chosen], val.features[chosen])
    return fit_temperature(_logits(model, table, val), split.labels_of("val")[chosen])


def _probabilities(
    model: Predictor, table: FeatureTable, encoded: Encoded, labels: NDArray[np.int64], whole: bool
) -> Probabilities:
    """Calibrated probabilities (n, K); unless `whole`, the largest, computed block by block."""
    if whole:
        return softmax(_logits(model, table, encoded), model.temperature)
    parts = []
    step = max(1, AT_ONCE // len(model.classes))
    for start in range(0, len(labels), step):
        own = np.arange(start, min(start + step, len(labels)))
        logits = _logits(model, table, Encoded(encoded.rows[own], encoded.features[own]))
        parts.append(TopProbabilities.of(softmax(logits, model.temperature), labels[own]))
    return TopProbabilities.joined(parts)


def _model(plan: Plan, trained: Trained, split: Split, run: Run) -> Predictor:
    if trained.encoder_state is None:
        if plan.backend is None:
            raise ValueError("a network trained from pixels has weights of its own")
        return Predictor(plan.backbone, trained.head, split.classes, plan.backend)
    backbone = with_weights(plan.backbone, trained.encoder_state, run)
    backend = backend_of(backbone, plan.config.backend)
    return Predictor(backbone, trained.head, split.classes, backend, frozen=False)


def _features(
    model: Predictor,
    table: FeatureTable,
    rows: NDArray[np.int64],
    name: str,
    progress: Progress,
    runtime: Runtime,
) -> NDArray[np.float16] | Activations:
    if model.frozen and (found := table.features(rows)) is not None:
        return found.whole() if in_memory([found]) else found
    own = rows[runtime.part(len(rows))]
    files = [table.dataset.examples[i].file for i in own]
    progress.start(f"encoding {name}", len(files))
    seen = []
    for item in encode(files, model.backbone.preprocess, model.backend):
        if item.loaded.problem is not None:
            raise DataError(f"{item.loaded.file}: changed while it was in use")
        seen.append(item.values[0])
        progress.advance(len(seen))
    progress.finish()
    values = np.stack(seen) if seen else np.empty((0, 0), np.float16)
    numbers, found_values = gathered_rows(runtime, own), gathered_rows(runtime, values)
    if not np.array_equal(numbers, rows):
        raise ValueError("expected the features of each image of a split once")
    return found_values


def _logits(model: Predictor, table: FeatureTable, encoded: Encoded) -> NDArray[np.float64]:
    """Logits (n, K); those of close calls from features in float32, which are cached, too, unless
    there are no images to compute them of.
    """
    logits = encoded.each(model.logits)
    if table.encoder and table.encoder.shards:
        return logits
    close = model.close_calls(softmax(logits, model.temperature))
    if close:
        chosen = encoded.rows[close]
        exact = CachedEncoder(cache_folder(), model.backbone, model.exact, views=1, whole=True)
        exact.compute(
            [table.dataset.examples[i].file for i in chosen],
            lambda index, digest: range(1),
            lambda loaded: None,
            Progress(),
        )
        logits[close] = model.logits(exact.gather([table.digest(i) for i in chosen]).whole())
    return logits


def write_predictions(run: Run, result: Result, table: FeatureTable, split: Split) -> None:
    """Write predictions.csv: val and test."""
    examples = table.dataset.examples
    run.write_predictions(
        split.classes,
        (
            (examples[i].path, name, examples[i].label, values)
            for name in ("val", "test")
            for i, values in zip(
                split.rows(name), each_image(result.probabilities[name]), strict=True
            )
        ),
        sum(map(len, result.probabilities.values())),
    )


def write_neighbors(run: Run, result: Result, table: FeatureTable) -> None:
    """Write where the training images' features lie, and the nearest of each mistake on test."""
    model, known, test = result.model, result.encoded["train"], result.encoded["test"]
    if model.ood_detector is None:
        return
    examples = table.dataset.examples
    neighbors = Neighbors.of(
        model.ood_detector,
        known.some(IMAGES, 0),
        [examples[i].path for i in known.rows],
        [examples[i].label for i in known.rows],
    )
    answers = result.probabilities["test"].argmax(1)
    wrong = [n for n, i in enumerate(test.rows) if model.classes[answers[n]] != examples[i].label]
    found = neighbors.nearest(test.features[np.array(wrong, np.int64)], SHOWN)
    nearest = {
        examples[test.rows[n]].path: [neighbor.path for neighbor in near]
        for n, near in zip(wrong, found, strict=True)
    }
    run.write_neighbors(known.rows, neighbors.places, nearest)


def evaluate_test(run: Run, result: Result, table: FeatureTable, split: Split) -> dict[str, Any]:
    """The metrics of test, from predictions.csv alone, and what policies made on val are worth."""
    _, val_labels, val = run.predictions("val")
    paths, labels, probabilities = run.predictions("test")
    counts = np.bincount(split.labels_of("train"), minlength=len(split.classes))
    groups, val_groups = split.groups_of("test"), split.groups_of("val")
    metrics = evaluate(
        probabilities,
        labels,
        split.classes,
        majority=split.classes[int(counts.argmax())],
        groups=groups,
    )
    detector = result.model.ood_detector
    ood = result.encoded["test"].each(detector.score) if detector else None
    selective = selective_prediction_report(
        (val, val_labels), (probabilities, labels), ood, val_groups, groups
    )
    right = probabilities.argmax(1) == labels
    slices = worst_slices(right, paths, *metadata_of(table, split.rows("test")))
    return metrics | {"selective_prediction": selective, "slices": slices}
