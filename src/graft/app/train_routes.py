"""Step 3, Train: one button, what it will cost, the curves, and all runs."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from graft.app import json_routes
from graft.app.json_routes import Record, asked, told
from graft.app.project import Project
from graft.app.run_list import (
    RUNNING,
    asked_of,
    curves_of,
    described,
    finished_runs,
    log_lines,
    run_names,
)
from graft.app.time_prediction import in_another_process
from graft.app.training_process import Trainings
from graft.app.training_stage import stage_of
from graft.choices import DEFAULT_MODEL
from graft.errors import DataError, UsageError
from graft.report.glossary import words

SETTINGS = ("model", "unfreeze", "image_size", "flip", "epochs", "seed")
EXPLAINED = (
    "train-validation-test",
    "transfer-learning",
    "epoch",
    "loss",
    "overfitting",
    "fine-tuning",
    "image-size",
    "confidence-interval",
)
# A report has its styles in it and loads nothing.
REPORT_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def routes(project: Project) -> list[Route]:
    """The page and what it asks for."""
    trainings, predictions = Trainings(project), Predictions(project)
    return [
        Route("/train", _page),
        asked("/api/train/models", lambda query: {"models": _models(), "words": words(EXPLAINED)}),
        asked("/api/train/runs", lambda query: _runs(trainings)),
        asked("/api/train/running", lambda query: _running(trainings)),
        asked("/api/train/curves/{name}", lambda query: _curves(project, query["name"])),
        told("/api/train/predict", lambda body: predictions.of(_settings(body), trainings)),
        told("/api/train/start", lambda body: {"name": trainings.start(_settings(body))}),
        told("/api/train/stop", lambda b: _done(trainings.stop, b)),
        told("/api/train/resume", lambda b: _done(trainings.resume, b)),
        told("/api/train/compare", lambda body: _compared(project, body)),
        Route("/report/{name}", _report(project)),
    ]


def _page(request: Request) -> Response:
    found: Response = request.app.state.pages.response("train")
    return found


def _models() -> list[Record]:
    from graft.models.zoo import list_models

    rows = [row for row in list_models() if row["here"]]
    rows.sort(key=lambda row: row["name"] != DEFAULT_MODEL)
    return [{"name": row["name"], "note": row["note"]} for row in rows]


def _settings(body: Record) -> Record:
    """The settings that were given, as graft.train takes them."""
    given = body.get("settings", {})
    if not isinstance(given, dict) or set(given) - {*SETTINGS}:
        raise UsageError(f"expected settings of {', '.join(SETTINGS)}")
    return {name: value for name, value in given.items() if value is not None}


def _runs(trainings: Trainings) -> Record:
    runs = trainings.project.runs
    names = run_names(runs)
    return {"runs": [described(runs, name, trainings.state_of(name)) for name in names]}


def _running(trainings: Trainings) -> Record:
    """The run that is being trained, with what it is doing and its epochs so far."""
    name = trainings.running()
    if name is None:
        return {"name": None}
    runs = trainings.project.runs
    return {
        **described(runs, name, RUNNING),
        **stage_of(log_lines(runs, name)),
        "epochs": curves_of(runs, name),
    }


def _curves(project: Project, name: str) -> Record:
    _check(project, [name])
    return {"name": name, "epochs": curves_of(project.runs, name)}


def _done(action: Callable[[str], None], body: Record) -> Record:
    action(json_routes.text(body, "name"))
    return {}


def _compared(project: Project, body: Record) -> Record:
    """What a comparison of finished runs concludes, in sentences."""
    from graft.evaluation.comparison import read_comparison
    from graft.report.comparison_sentences import the_conclusion, the_images, the_verdict

    names = json_routes.texts(body, "names")
    _check(project, names)
    try:
        found = read_comparison([project.runs / name for name in names])
    except DataError as error:
        raise DataError(
            f"runs {' and '.join(names)} were tested on other images or labels: some were added, "
            "left out or relabeled between them, so their numbers cannot be compared; train "
            "both settings again"
        ) from error
    verdicts = [the_verdict(pair, found.names) for pair in found.pairs]
    return {"sentences": [*the_conclusion(found), *verdicts, the_images(found)]}


def _check(project: Project, names: list[str]) -> None:
    if unknown := set(names) - {*run_names(project.runs)}:
        raise UsageError(f"there is no run {min(unknown)}")


def _report(project: Project) -> Callable[[Request], Response]:
    def report(request: Request) -> Response:
        name = request.path_params["name"]
        _check(project, [name])
        page = project.runs / name / "report.html"
        if not page.is_file():
            return JSONResponse({"error": f"run {name} has no report yet"}, 404)
        headers = {"content-security-policy": REPORT_POLICY, "cache-control": "no-cache"}
        return FileResponse(page, headers=headers)

    return report


class Predictions:
    """How long trainings will take: measured one at a time, and remembered for the same images."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="graft-time")
        self.known: dict[tuple[Any, ...], Future[Record]] = {}

    def of(self, settings: Record, trainings: Trainings) -> Record:
        """The prediction, or `pending`: it is asked for again. While a training runs nothing is
        measured, as that would disturb both.
        """
        project = self.project
        if not project.index.done or trainings.running():
            return {"pending": True}
        images = [i for i in project.images() if i.label and not i.kept_out and i.sha256]
        done = len(run_names(project.runs))  # a run leaves images encoded
        key = (str(project.home), project.revision, done, *sorted(settings.items()))
        if key not in self.known:
            table: Path = project.write_table()
            digests = [image.sha256 for image in images]
            self.known.clear()
            self.known[key] = self.pool.submit(in_another_process, table, digests, settings)
        future = self.known[key]
        if not future.done():
            return {"pending": True}
        return _by_last(future.result(), project.runs, settings)


def _by_last(told: Record, runs: Path, settings: Record) -> Record:
    """With the time that the newest run of these settings took to learn, by the number of images:
    it knows when learning ends early, which what was measured does not.
    """
    wanted = {name: value for name, value in settings.items() if name != "seed"}
    for run in finished_runs(runs) if "fit" in told else []:
        asked = asked_of(runs, run.name)
        of = {name: value for name, value in asked["settings"].items() if name != "seed"}
        fit = run.metrics.get("seconds", {}).get("fit")
        if of == wanted and fit is not None and asked["images"]:
            fit *= told["images"] / asked["images"]
            return told | {"seconds": told["seconds"] - told["fit"] + fit, "fit": fit}
    return told
