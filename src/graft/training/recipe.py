"""From a source to a finished run. The page to read first: it is the whole job, in order."""

import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass
from dataclasses import replace as changed
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from graft.config import TrainConfig
from graft.data.groups import regrouped
from graft.data.reader import cores
from graft.data.sources import scan
from graft.errors import UsageError
from graft.evaluation.calibration import fit_temperature, softmax
from graft.features.backends import device
from graft.features.cache import cache_folder, cache_limit, trim
from graft.inference.predictor import Predictor
from graft.inference.saved_model import save
from graft.models.backbone import Backbone, resized, scratch
from graft.models.ood import fit_ood_detector
from graft.models.scratch_cnns import SCRATCH
from graft.models.weights import find_backbone
from graft.quality.audit import check_listing
from graft.runs.run import new_run, read_json, remove_unfinished, write_table
from graft.training.loggers import tensorboard_events
from graft.training.measure import answers_of, evaluate_test, known_features, write_answers
from graft.training.plan import defaults_for, make_plan
from graft.training.prepare import Prepared, prepare, stop_if_blocked
from graft.training.stage import Job
from graft.training.stages import learn
from graft.training.validation import check_feasible, folds, leaky, learning_curve, repeats
from graft.utils.files import write_json
from graft.utils.progress import Progress


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, its metrics.json, and where the images' files are."""

    path: Path
    metrics: dict[str, Any]
    files: dict[str, Path]


def train_run(
    source: str | Path,
    config: TrainConfig,
    out: Path,
    progress: Progress,
    resume: bool = False,
    tensorboard: bool = False,
) -> Run:
    """Train a classifier on `source`, evaluate it on its test split once, fill the run folder.

    With `resume` a run that was interrupted in `out` is gone on with. `tensorboard` writes event
    files, too.

    Raises DataError for blocking findings (all of them in the message), ModelError for a missing
    backbone, UsageError for a run folder in use.
    """
    began = time.perf_counter()
    started = datetime.now(UTC)
    cache, limit = cache_folder(), cache_limit()
    dataset = scan(source, cache / "sources")
    if config.group_by is not None:
        dataset = regrouped(dataset, config.group_by)
    stop_if_blocked(check_listing(dataset), dataset.source)
    backbone = backbone_of(config, cache)
    run = new_run(out, resume)
    config = resolved(config, backbone)
    plan, frozen = make_plan(config, backbone, dataset, cache, progress, run)
    clock = time.perf_counter()
    prepared = prepare(dataset, frozen, config, progress)
    check_feasible(prepared, config)
    seconds = {"decode_and_backbone": time.perf_counter() - clock}
    _write_data(run, prepared)

    clock = time.perf_counter()
    with tensorboard_events(run) if tensorboard else nullcontext() as events:
        job = Job(prepared, changed(plan, events=events), config, run, progress, resume)
        classifier = learn(job)
    # Of a resumed run the epochs that an earlier process has fitted count, too.
    now = time.perf_counter() - clock
    seconds["fit"] = max(now, sum(line["seconds"] for line in job.history))
    earlier = seconds["fit"] - now
    for note in job.notes:
        progress.say(note)
    _write_config(run, source, config, job, started)
    val, val_features = answers_of(classifier, job, "val")
    # Logarithms of probabilities are logits, but for a constant that the temperature ignores.
    logits = np.log(np.maximum(val, np.finfo(np.float64).tiny))
    classifier.temperature = fit_temperature(logits, job.labels("val"))
    val = softmax(logits, classifier.temperature)
    known = known_features(classifier, job)
    classifier.ood_detector = fit_ood_detector(known.features, val_features, config.seed)
    save(classifier, run, trained_parameters(job, classifier))

    write_answers(job, "val", classifier.classes, val)
    metrics = evaluate_test(classifier, job, val, known) | fitted_again(job)
    seconds["total"] = time.perf_counter() - began + earlier
    kept = [line for line in job.history if line["stage"] == stage_of(job, classifier)]
    metrics |= {
        "temperature": classifier.temperature,
        "epochs": len(job.history),
        "best_epoch": min(kept, key=lambda line: line["val_loss"])["epoch"],
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "from_cache": frozen.from_cache,
    }
    write_json(run / "metrics.json", metrics)
    trim(cache, limit)
    remove_unfinished(run)
    return Run(run, metrics, {example.path: example.file for example in prepared.examples})


def finished(path: Path, source: str | Path, config: TrainConfig) -> Run:
    """A run that was cut off after its last number: tidied up, and read.

    Raises UsageError for one of another source or other settings.
    """
    stored = read_json(path / "config.json")
    asked = {name: value for name, value in config.to_json().items() if value is not None}
    other = [name for name, value in asked.items() if stored["settings"].get(name) != value]
    if other or stored["source"] != str(source):
        raise UsageError(
            f"{path} holds a finished run with another {other[0] if other else 'source'}; choose "
            "another --out"
        )
    remove_unfinished(path)
    dataset = scan(source, cache_folder() / "sources")
    files = {example.path: example.file for example in dataset.examples}
    return Run(path, read_json(path / "metrics.json"), files)


def backbone_of(config: TrainConfig, cache: Path) -> Backbone:
    """The network that a config names, fed as it says; raises as find_backbone and resized."""
    return resized(
        scratch(config.model, config.image_size, config.flip)
        if config.model in SCRATCH
        else find_backbone(config.model, cache),
        config.image_size,
        config.resize,
    )


def resolved(config: TrainConfig, backbone: Backbone) -> TrainConfig:
    """The config with the defaults that depend on the kind of training filled in."""
    defaults = defaults_for(config, backbone)
    return changed(
        config,
        **{name: value for name, value in defaults.items() if getattr(config, name) is None},
    )


def stage_of(job: Job, classifier: Predictor) -> str:
    """The name of the stage whose weights were kept."""
    if not job.plan.cut:
        return "fit"
    return "probe" if classifier.frozen else "fine-tune"


def trained_parameters(job: Job, classifier: Predictor) -> int:
    """How many parameters of the classifier were trained."""
    head = sum(p.numel() for p in classifier.head.parameters())
    if classifier.frozen:
        return head
    return head + (job.plan.cut.parameters[0] if job.plan.cut else classifier.backbone.parameters)


def fitted_again(job: Job) -> dict[str, Any]:
    """What the head shows on other splits of the same features, as far as asked for."""
    config, found = job.config, {}
    if job.plan.backend is None or job.plan.cut is not None:
        return {}
    if (leak := leaky(job)) is not None:
        found["leaky_split"] = leak
    if config.folds:
        found["folds"] = folds(job, config.folds)
    if config.repeats:
        found["repeats"] = repeats(job, config.repeats)
    if config.learning_curve:
        found["learning_curve"] = learning_curve(job)
    return found


def _write_data(run: Path, prepared: Prepared) -> None:
    rows = zip(prepared.examples, prepared.splits, prepared.digests, strict=True)
    write_table(
        run / "dataset.csv",
        ["path", "label", "split", "group", "sha256"],
        ([e.path, e.label, split, e.group or "", digest.hex()] for e, split, digest in rows),
    )
    write_json(run / "findings.json", [finding.to_json() for finding in prepared.findings])


def _write_config(
    run: Path, source: str | Path, config: TrainConfig, job: Job, started: datetime
) -> None:
    backend = job.prepared.frozen.backend
    names = ("graft", "torch", "timm", "openvino", "pillow", "numpy")
    versions = {name: version(name) for name in names} | {"python": sys.version.split()[0]}
    write_json(
        run / "config.json",
        {
            "source": str(source),
            "settings": config.to_json(),
            "notes": list(job.prepared.notes),
            "training_notes": job.notes,
            "graft": version("graft"),
            "versions": versions,
            "device": str(device()),
            "backend": backend.name if backend else "torch",
            "threads": cores(),
            "seed": config.seed,
            "started": started.isoformat(timespec="seconds"),
        },
    )
