"""What the tools do, on paths below the root."""

import io
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import graft
from graft.choices import LabelBy
from graft.errors import DataError, GraftError, UsageError
from graft.mcp_server.rooted import Rooted
from graft.models.network_file import find_file
from graft.runs.folder import lacking
from graft.runs.run import Run
from graft.utils.progress import Progress

Record = dict[str, Any]

DEPTH = 4  # folders below the root in which runs are looked for
MOST_RUNS, MOST_IMAGES = 200, 500


def list_runs(place: Rooted) -> list[Record]:
    """Each finished run below the root, by folder."""
    found = []
    for folder in sorted(_run_folders(place)):
        try:
            run = Run.finished(folder)
        except GraftError:
            continue
        found.append(
            {
                "run": place.name(folder),
                "classes": run.classes,
                "backbone": run.model["backbone"]["architecture"],
                "accuracy": run.metrics["accuracy"],
                "test_images": run.metrics["n"],
            }
        )
        if len(found) == MOST_RUNS:
            break
    return found


def describe_run(place: Rooted, run: str) -> Record:
    """A run's settings, training and results, without the paths of its images."""
    found = _run(place, run)
    metrics = {k: v for k, v in found.metrics.items() if k not in ("slices", "reliability")}
    return {
        "run": place.name(found.path),
        "settings": found.config.get("resolved") or found.config.get("settings"),
        "model": {k: v for k, v in found.model.items() if k != "format"},
        "epochs": len(found.history),
        "findings": [
            {k: v for k, v in each.items() if k in ("kind", "severity", "message")}
            for each in found.findings
        ],
        "metrics": metrics,
    }


def check_folder(place: Rooted, source: str, label_by: LabelBy | None = None) -> Record:
    """The audit of a source, each finding with its first files."""
    result = graft.check(_source(place, source), label_by=label_by).to_json()
    for finding in result["findings"]:
        finding["files"] = len(finding["paths"])
        finding["paths"] = finding["paths"][:10]
        finding.pop("sets", None)
    return result


def predict(place: Rooted, run: str, images: list[str]) -> list[Record]:
    """Predictions of files and folders, or the problem of a file."""
    from graft.inference.predict import predict_paths

    predictor = graft.load(_run(place, run).path)
    files = [file for image in images for file in _images(place, image)][:MOST_IMAGES]
    found = []
    for result in predict_paths(predictor, files):
        name = place.name(Path(result.path))
        if result.prediction is None:
            found.append({"path": name, "problem": result.problem})
        else:
            found.append(result.prediction.to_json() | {"path": name})
    return found


def summary(place: Rooted, run: str) -> Record:
    """The network of a run, layer by layer, without the arithmetic of each."""
    found = graft.summary(_run(place, run).path).to_json()
    for layer in found["layers"]:
        for name in ("arithmetic", "input_shape", "channels", "jump", "ran", "dilation"):
            layer.pop(name, None)
    return found


def nearest(place: Rooted, run: str, image: str, count: int) -> list[Record]:
    """The training images nearest to an image."""
    from graft.inference.policy import Policy

    predictor = graft.load(_run(place, run).path)
    found = predictor.predict(_file(place, image), Policy(nearest=count))
    return [asdict(each) for each in found.nearest or ()]


def explain(place: Rooted, run: str, image: str, against: str | None) -> tuple[str, bytes]:
    """The sentence of an explanation, and its heat map over the image as a PNG."""
    from graft.explanation.heat_map import explain as explained

    found = explained(_run(place, run).path, _file(place, image), against=against)
    drawn = io.BytesIO()
    found.overlay(448).save(drawn, "PNG")
    told = (
        f"{found.label} with {found.probability:.3f}; {found.sentence}; {found.comparison}. The "
        "heat map shows what the answer rests on, not whether that is the right reason."
    )
    return told, drawn.getvalue()


def evaluate(place: Rooted, run: str, source: str) -> Record:
    """The metrics of a run on another source."""
    found = graft.evaluate(_run(place, run).path, _source(place, source))
    return {k: v for k, v in found.items() if k not in ("slices", "reliability", "findings")}


def compare(place: Rooted, runs: list[str]) -> Record:
    """Finished runs side by side; nothing is written."""
    from graft.evaluation.comparison import read_comparison

    return read_comparison([_run(place, run).path for run in runs]).to_json()


def ask(place: Rooted, run: str, question: str, images: list[str]) -> Record:
    """The chat's answer to one question."""
    from graft.chat.conversation import Chat

    chat = Chat(_run(place, run).path, [_file(place, image) for image in images])
    # The run's own images may lie elsewhere; they are named in answers, and not opened here.
    vars(chat.subject.run)["files"] = {}
    return chat.ask(question).to_json()


def train(
    place: Rooted, source: str, out: str, model: str, settings: Record, progress: Progress
) -> Record:
    """Train a new run and return its results."""
    folder = place.free(out)
    given = {name: value for name, value in settings.items() if value is not None}
    run = graft.train(
        _source(place, source), out=folder, model=_model(place, model), progress=progress, **given
    )
    return describe_run(place, place.name(run.path))


def _model(place: Rooted, model: str) -> str:
    """A model's name; one that is a path must be below the root."""
    before, colon, path = model.partition(":")
    if colon and before == "local-dir":
        return f"local-dir:{place.there(path)}"
    if colon and before == "file":
        path, mark, output = path.partition("#")
        named = f"file:{place.there(path)}{mark}{output}"
        for file in find_file(named).files:  # a link among them could lead out of the root
            place.inside(str(file))
        return named
    if "/" in model or "\\" in model or Path(model).exists() or (place.root / model).exists():
        return str(place.there(model))
    return model


def _run(place: Rooted, run: str) -> Run:
    found = Run.finished(place.there(run))
    # A link among the run's files could lead out of the root.
    for file in found.path.iterdir():
        place.inside(str(file))
    return found


def _source(place: Rooted, source: str) -> Path:
    """A source below the root. One that is a table, or holds one or links, names files itself:
    each of them must be below the root, too.
    """
    from graft.data.sources import load_dataset
    from graft.utils.cache_folder import sources_folder

    found = place.there(source)
    unpacked = sources_folder().resolve()
    dataset = load_dataset(found, sources_folder())
    for link in dataset.left_out.get("link_outside", ()):
        place.inside(str(found.absolute() / link))
    for example in dataset.examples:
        if not example.file.resolve().is_relative_to(unpacked):
            place.inside(str(example.file.absolute()))
    return found


def _file(place: Rooted, image: str) -> Path:
    found = place.there(image)
    if not found.is_file():
        raise UsageError(f"{image!r} is a folder; expected an image file")
    return found


def _images(place: Rooted, image: str) -> list[Path]:
    from graft.data.sources import find_images

    outside: list[Path] = []
    files = [Path(file) for file in find_images(place.there(image), outside)]
    for file in [*files, *outside]:
        place.inside(str(file.absolute()))
    if not files:
        raise DataError(f"{image!r}: expected an image or a folder of images, there is none")
    return files


def _run_folders(place: Rooted) -> list[Path]:
    """Folders with all files of a finished run; links are not followed."""
    root, found = place.root.resolve(), []
    for folder, below, files in os.walk(root):
        if len(Path(folder).relative_to(root).parts) >= DEPTH:
            below.clear()
        if not lacking(files):
            found.append(Path(folder))
            below.clear()
    return found
