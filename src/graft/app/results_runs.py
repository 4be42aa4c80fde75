"""The runs of a project: which there are, and the one that a page is about."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from graft.app.json_routes import Record
from graft.app.project import Project
from graft.app.results_answering import answering_of
from graft.errors import DataError, GraftError, UsageError
from graft.evaluation.image_results import Results
from graft.runs.folder import MARK, is_finished
from graft.runs.run import Run

if TYPE_CHECKING:
    from graft.inference.predictor import Predictor

_LOADING = Lock()


def listed_runs(project: Project) -> Record:
    """The finished runs, the newest first, each with its accuracy and
    from where it answers; `begun` are the names of those
    in training or cut off, `damaged` those that cannot be read, each with the reason.
    """
    found: list[Record] = []
    begun: list[str] = []
    damaged: list[Record] = []
    if not project.is_open:
        return {"open": False, "runs": found, "begun": begun, "damaged": damaged}
    for folder in sorted(project.runs.iterdir(), key=_age):
        if not is_finished(folder):
            begun += [folder.name] if (folder / MARK).exists() else []
            continue
        try:
            run = opened(folder)
        except GraftError as error:
            damaged.append({"name": folder.name, "reason": str(error)})
        else:
            found.append(
                {
                    "name": run.name,
                    "classes": len(run.classes),
                    "accuracy": run.metrics["accuracy"],
                    "n": run.metrics["n"],
                    "model": run.model["backbone"]["name"],
                    "started": run.config.get("started", ""),
                    "answering": answering_of(project, run),
                }
            )
    return {"open": True, "runs": found, "begun": begun, "damaged": damaged}


def chosen_run(project: Project, values: Mapping[str, Any]) -> Run:
    """The run that is named by `run` in a request, or the newest one that is finished.

    Raises UsageError, which says what to do, where there is none.
    """
    folders = sorted((each for each in project.runs.iterdir() if is_finished(each)), key=_age)
    name = values.get("run")
    if not folders:
        raise UsageError("there is no finished run yet; train one first, in step Train")
    if name is None:
        return opened(folders[0])
    folder = next((each for each in folders if each.name == name), None)
    if folder is None:
        raise UsageError(f"there is no finished run {str(name)[:99]!r}; reload the page")
    return opened(folder)


def opened(folder: Path) -> Run:
    """A finished run, read once until it is replaced; raises DataError as `Run.finished`."""
    return _opened(folder, _stamp(folder))


def predictor_of(run: Run) -> "Predictor":
    """The classifier of a run, in memory until another one is asked for."""
    with _LOADING:  # two tabs at once must not load it twice
        return _predictor(run.path, _stamp(run.path))


def results_of(run: Run, split: str) -> Results:
    """Its results on a split, sorted once."""
    return _results(run, split)


def digests_of(run: Run) -> dict[str, str]:
    """The SHA-256 of each image of a run, in hex, by its path: what thumbnails go by."""
    return {row["path"]: row.get("sha256", "") for row in run.images}


@lru_cache(maxsize=8)
def _opened(folder: Path, stamp: int) -> Run:
    return Run.finished(folder)


@lru_cache(maxsize=1)
def _predictor(folder: Path, stamp: int) -> "Predictor":
    from graft.inference.saved_model import load

    return load(folder)


@lru_cache(maxsize=4)
def _results(run: Run, split: str) -> Results:
    return Results(run, split)


def _stamp(folder: Path) -> int:
    """Changes when a run is replaced by another one of its name."""
    try:
        return (folder / "metrics.json").stat().st_mtime_ns
    except FileNotFoundError as error:
        raise DataError(f"{folder} is no longer there; reload the page") from error


def _age(folder: Path) -> tuple[float, str]:
    file = folder / "metrics.json"
    return (-file.stat().st_mtime if file.is_file() else 0.0, folder.name)
