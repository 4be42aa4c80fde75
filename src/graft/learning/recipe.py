"""From a source to a finished run. The page to read first: it is the whole job, in order."""

import hashlib
import json
import sys
import time
from dataclasses import dataclass
from dataclasses import replace as changed
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import nn

from graft.config import TrainConfig
from graft.data.checks import check_listing
from graft.data.scan import scan
from graft.data.stream import cores
from graft.evaluation.calibration import fit_temperature
from graft.evaluation.metrics import evaluate
from graft.files import write_json
from graft.learning.batches import in_order, shuffled, statistics, steps_of
from graft.learning.cache import cache_folder, cache_limit, trim
from graft.learning.fit import Epoch, FitSettings, fit
from graft.learning.frozen import Frozen
from graft.learning.prepare import Prepared, prepare, stop_if_blocked
from graft.models.backbone import SCRATCH, Backbone, find_backbone, scratch
from graft.models.classifier import Classifier
from graft.models.encode import infer_float16
from graft.models.engine import BATCH, LazyEngine, device
from graft.models.head import Head
from graft.progress import Progress
from graft.runs import new_run, read_predictions, write_predictions, write_table

# Measured in docs/recipes.md.
FROZEN: dict[str, Any] = {"epochs": 20, "views": 3, "learning_rate": 2e-3}
FROM_PIXELS: dict[str, Any] = {"epochs": 40, "views": 5, "learning_rate": 3e-3}
# Small sets take smaller steps, so that an epoch has several.
STEPS_AN_EPOCH = 8
SMALLEST_BATCH = 16
# Where the weights of a network trained from pixels lie until model.safetensors is written.
ENCODER_PART = ".encoder.safetensors"


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, its metrics.json, and where the pictures' files are."""

    path: Path
    metrics: dict[str, Any]
    files: dict[str, Path]


def train_run(source: str | Path, config: TrainConfig, out: Path, progress: Progress) -> Run:
    """Train a classifier on `source`, evaluate it on its test part once, fill the run folder.

    Raises DataError for blocking issues (all of them in the message), ModelError for a missing
    backbone, UsageError for a run folder in use.
    """
    began = time.perf_counter()
    started = datetime.now(UTC)
    cache, limit = cache_folder(), cache_limit()
    dataset = scan(source, cache / "sources")
    stop_if_blocked(check_listing(dataset), dataset.source)
    backbone = (
        scratch(config.image_size)
        if config.model == SCRATCH
        else find_backbone(config.model, cache)
    )
    run = new_run(out)
    config = resolved(config, backbone)
    clock = time.perf_counter()
    prepared = prepare(dataset, backbone, config, cache, progress)
    seconds = {"decode_and_backbone": time.perf_counter() - clock}
    _write_data(run, prepared)
    _write_config(run, source, config, prepared, started)

    clock = time.perf_counter()
    classifier, history = learn(prepared, backbone, config, run, progress)
    seconds["fit"] = time.perf_counter() - clock
    classifier.save(run)

    metrics = evaluate_test(classifier, prepared, run)
    seconds["total"] = time.perf_counter() - began
    metrics |= {
        "temperature": classifier.temperature,
        "epochs": len(history),
        "best_epoch": min(history, key=lambda e: e.val_loss).epoch,
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
    }
    write_json(run / "metrics.json", metrics)
    trim(cache, limit)
    (run / ENCODER_PART).unlink(missing_ok=True)
    return Run(run, metrics, {example.path: example.file for example in prepared.examples})


def resolved(config: TrainConfig, backbone: Backbone) -> TrainConfig:
    """The config with the defaults that depend on the kind of training filled in."""
    defaults = FROM_PIXELS if backbone.weights is None else FROZEN
    return changed(
        config,
        **{name: value for name, value in defaults.items() if getattr(config, name) is None},
    )


def learn(
    prepared: Prepared, backbone: Backbone, config: TrainConfig, run: Path, progress: Progress
) -> tuple[Classifier, list[Epoch]]:
    """Fit the head (or the whole of base_cnn) on train, early stopping and temperature on val."""
    classes = prepared.classes
    views = [prepared.activations("train", view) for view in range(config.views or 1)]
    train_labels = prepared.labels[prepared.rows("train")]
    val_view, val_labels = prepared.activations("val"), prepared.labels[prepared.rows("val")]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        head = Head(
            backbone.features,
            len(classes),
            config.hidden if backbone.weights is not None else 0,
            config.dropout_in,
            config.dropout_hidden,
        )
        model: nn.Module = head
        if backbone.weights is None:
            encoder = backbone.build()
            model = nn.Sequential(encoder, head).to(memory_format=torch.channels_last)
    if backbone.weights is not None:
        head.standardise(*statistics(views[0]))

    batch = batch_size(config.batch_size, len(train_labels))
    epochs = config.epochs or 1
    progress.start("fitting", epochs)
    with (run / "history.jsonl").open("w", encoding="utf-8") as lines:

        def on_epoch(epoch: Epoch) -> None:
            fields = {name: getattr(epoch, name) for name in Epoch.__slots__}
            lines.write(json.dumps(fields) + "\n")
            lines.flush()
            progress.advance(
                epoch.epoch, f"val accuracy {epoch.val_accuracy:.1%}, loss {epoch.val_loss:.3f}"
            )

        history = fit(
            model,
            lambda epoch: shuffled(views, train_labels, batch, config.seed, epoch),
            steps_of(len(train_labels), batch),
            lambda: in_order(val_view, val_labels),
            FitSettings(
                epochs=epochs,
                learning_rate=config.learning_rate or 1e-3,
                weight_decay=config.weight_decay,
                label_smoothing=config.label_smoothing,
                patience=config.patience,
                seed=config.seed,
            ),
            on_epoch,
        )
    progress.finish()
    frozen = backbone.weights is not None
    if not frozen:
        backbone = trained(backbone, encoder.body, run)
    engine = prepared.frozen.engine or LazyEngine(backbone.build, config.engine)
    classifier = Classifier(backbone, head.cpu(), classes, frozen=frozen, engine=engine)
    val_logits = classifier.logits(features_of(classifier, prepared, "val"))
    classifier.temperature = fit_temperature(val_logits, val_labels)
    return classifier, history


def features_of(classifier: Classifier, prepared: Prepared, part: str) -> NDArray[np.float16]:
    """The encoder's features of a part, (n, D), as predict computes them from the same files.

    A frozen encoder's are those in the cache, which are what `predict` would compute again, bit
    for bit. A trained one's are computed now, from the cached pixels.
    """
    activations = prepared.activations(part)
    if classifier.frozen:
        return activations[np.arange(len(activations))]
    blocks = (
        (None, activations[np.arange(i, min(i + BATCH, len(activations)))])
        for i in range(0, len(activations), BATCH)
    )
    return np.concatenate([f for _, f in infer_float16(classifier.engine, blocks)])


def batch_size(most: int, pictures: int) -> int:
    """The batch: a power of two that gives about STEPS_AN_EPOCH steps, 16 to `most`."""
    wanted = 2 ** int(np.log2(max(1, pictures / STEPS_AN_EPOCH)))
    return int(min(most, max(SMALLEST_BATCH, wanted)))


def trained(backbone: Backbone, body: nn.Module, run: Path) -> Backbone:
    """base_cnn with the weights that it has now; they lie in the run until the model is saved."""
    state = save({k: v.cpu().contiguous() for k, v in body.state_dict().items()})
    weights = run / ENCODER_PART
    weights.write_bytes(state)
    digest = hashlib.sha256(state + json.dumps(backbone.to_json()).encode()).hexdigest()
    return changed(backbone, digest=digest, weights=weights)


def exact_features(
    classifier: Classifier, prepared: Prepared, rows: list[int]
) -> NDArray[np.float16]:
    """Features in float32, (len(rows), D), of these rows of the test part; cached too."""
    chosen = prepared.rows("test")[rows]
    exact = Frozen(cache_folder(), classifier.backbone, classifier.exact, views=1, flip=False)
    exact.compute(
        [prepared.examples[i].file for i in chosen],
        lambda index, digest: range(1),
        lambda loaded: None,
        Progress(),
    )
    view = exact.gather([prepared.digests[i] for i in chosen])
    return view[np.arange(len(view))]


def evaluate_test(classifier: Classifier, prepared: Prepared, run: Path) -> dict[str, Any]:
    """Predict the test part, write predictions.csv, and make the metrics from that file alone."""
    examples = [prepared.examples[i] for i in prepared.rows("test")]
    answers = classifier.probabilities(features_of(classifier, prepared, "test"))
    close = classifier.close_calls(answers)
    if close:
        answers[close] = classifier.probabilities(exact_features(classifier, prepared, close))
    write_predictions(
        run / "predictions.csv",
        classifier.classes,
        (
            (example.path, example.label, values)
            for example, values in zip(examples, answers, strict=True)
        ),
    )
    _, labels, probabilities, classes = read_predictions(run / "predictions.csv")
    counts = np.bincount(prepared.labels[prepared.rows("train")], minlength=len(classes))
    return evaluate(probabilities, labels, classes, majority=classes[int(counts.argmax())])


def _write_data(run: Path, prepared: Prepared) -> None:
    rows = zip(prepared.examples, prepared.parts, prepared.digests, strict=True)
    write_table(
        run / "dataset.csv",
        ["path", "label", "part", "group", "sha256"],
        ([e.path, e.label, part, e.group or "", digest.hex()] for e, part, digest in rows),
    )
    write_json(run / "issues.json", [issue.to_json() for issue in prepared.issues])


def _write_config(
    run: Path, source: str | Path, config: TrainConfig, prepared: Prepared, started: datetime
) -> None:
    engine = prepared.frozen.engine
    names = ("graft", "torch", "timm", "openvino", "pillow", "numpy")
    versions = {name: version(name) for name in names} | {"python": sys.version.split()[0]}
    write_json(
        run / "config.json",
        {
            "source": str(source),
            "settings": config.to_json(),
            "notes": list(prepared.notes),
            "graft": version("graft"),
            "versions": versions,
            "device": str(device()),
            "engine": engine.name if engine else "torch",
            "threads": cores(),
            "seed": config.seed,
            "started": started.isoformat(timespec="seconds"),
        },
    )
