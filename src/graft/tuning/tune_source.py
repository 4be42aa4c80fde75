"""`graft tune`, from a source to an ordinary run: search, choose, fit the winner, test it once."""

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graft.config import SplitConfig, TrainConfig
from graft.errors import UsageError
from graft.models.runtime import detect_runtime
from graft.runs.claim import TakenError, claimed
from graft.runs.folder import MARK, begun_folder, folders_for
from graft.runs.run import Run
from graft.training.recipe import train
from graft.tuning import outlook, result
from graft.tuning.candidate import Candidate, Members
from graft.tuning.costs import Budget, Costs
from graft.tuning.fine_tuning_trials import WEIGHTS
from graft.tuning.reserve import (
    CURVE,
    curve_seconds,
    ended,
    reserve_first,
    reserve_more,
    with_average,
)
from graft.tuning.sampler import Sampler, optuna_here
from graft.tuning.search import run_search
from graft.tuning.search_data import Encodings, search_data
from graft.tuning.search_state import Search
from graft.tuning.space import Space
from graft.tuning.trial_files import FOLDER, TrialFiles
from graft.tuning.trial_table import TrialTable
from graft.tuning.winner import chosen_fit
from graft.utils.cache_folder import cache_in_use
from graft.utils.files import write_json
from graft.utils.locks import lock
from graft.utils.progress import Progress

NAME = "tuned"  # of the folder that a search makes when it is given none: runs/SOURCE-tuned


@dataclass(frozen=True)
class Tuned:
    """What `graft.tune` gives: the `run` of the winner and `found`, what tune.json holds. `run` is
    None where another process goes on with the same search, which then fits the winner.
    """

    run: Run | None
    found: dict[str, Any]


@cache_in_use()
def tune_source(
    source: str | Path,
    config: TrainConfig,
    split_config: SplitConfig,
    space: Space,
    budget: Budget,
    out: Path | None,
    progress: Progress,
    resume: bool = False,
    engine: str = "auto",
) -> Tuned:
    """Search `space` for the best classifier of `source` that the budget allows, and make its run.

    `engine` is auto, optuna or portfolio. With `resume` the search in `out` goes on, or is shared
    with the process that is at it. Raises UsageError, DataError and ModelError as training does.
    """
    if split_config.time_by is not None:
        raise UsageError(
            "graft tune cross-validates, which trains on images newer than those it tests, against "
            "--time-by; leave one out"
        )
    networks = space.networks()
    config = config.model_copy(update={"model": networks[0]})
    sampled = _engine(engine)
    with _searching(source, out, resume) as folder:
        files = TrialFiles(folder)
        work = Run(folder / FOLDER)
        began = budget.spent()
        data = search_data(source, config, split_config, work, progress, budget.clock)
        read = budget.spent() - began
        shape = {**config.to_json(), **split_config.to_json()}
        files.begin({"settings": shape, "space": space.to_json(), "images": data.digest()})
        encodings = Encodings(data, config, work, progress)
        search = Search(
            encodings=encodings,
            files=files,
            space=space,
            budget=budget,
            costs=Costs(),
            runtime=detect_runtime(),
            sampler=Sampler(files.journal, config.seed) if sampled else None,
            progress=progress,
            before=max((p.at + p.seconds for p in files.passes()), default=0.0),
            on_pass=reserve_more,
        )
        reserve_first(search, read)
        try:
            run_search(search)
        except KeyboardInterrupt:
            progress.say(f"what was found is kept in {folder}; --resume goes on from there")
            raise
        searched = budget.spent()
        table = with_average(search)
        found = _found(search, table, searched, sampled)
    members = result.winner_of(found, table)
    return _finished(source, members, config, split_config, folder, found, progress, budget)


def _engine(engine: str) -> bool:
    """Whether Optuna is to be asked; UsageError where it is wanted and missing."""
    if engine not in ("auto", "optuna", "portfolio"):
        raise UsageError(f"engine is auto, optuna or portfolio, not {engine!r}")
    if engine == "optuna" and not optuna_here():
        raise UsageError(
            "--engine optuna: Optuna is not installed; pip install 'graft[tune]', or take "
            "--engine portfolio"
        )
    return engine != "portfolio" and optuna_here()


@contextlib.contextmanager
def _searching(source: str | Path, out: Path | None, resume: bool) -> Iterator[Path]:
    """The run folder with its folder of the search, held together with others who search in it."""
    folder = out or (begun_folder(str(source), NAME) if resume else None)
    joined = resume and folder is not None and (folder / FOLDER / "search.json").is_file()
    if not joined or folder is None or not (folder / MARK).is_file():
        folders = [folder] if folder else folders_for(str(source), NAME)
        reads = [Path(source)] if Path(source).exists() else []
        with claimed(folders, resume, reads) as taken:
            folder = taken
            if not joined:
                shutil.rmtree(folder / FOLDER, ignore_errors=True)
            (folder / FOLDER / "trials").mkdir(parents=True, exist_ok=True)
            (folder / FOLDER / "claims").mkdir(exist_ok=True)
    descriptor = lock(folder / MARK, shared=True)
    if descriptor is None:
        raise TakenError(
            f"{folder}: another process is fitting the winner of this search; wait until it has"
        )
    try:
        yield folder
    finally:
        os.close(descriptor)


def _found(search: Search, table: TrialTable, searched: float, sampled: bool) -> dict[str, Any]:
    """What tune.json holds but for the test."""
    rows = table.rows()
    chosen = result.conclusion(table, search.encodings.base.seed)
    skipped = search.budget.skipped
    curve = _curve(search, table)
    passes = search.files.passes()
    return {
        "source": str(search.encodings.dataset.source),
        "budget_seconds": search.budget.seconds,
        "search_seconds": round(searched, 1),
        "search_seconds_of_all": round(search.before + searched, 1),
        "engine": "optuna" if sampled else "portfolio",
        "images": len(search.data),
        "folds": len(search.data.folds),
        **chosen,
        "winner_described": rows[chosen["winner"]]["described"],
        "reasons": result.reasons(chosen, rows),
        "outlook": outlook.outlook(rows, curve, skipped, search.before + searched),
        "skipped": skipped,
        "problems": search.problems,
        "failed": [t.failed for t in table.failed if t.failed],
        "importance": result.importance(table),
        "pareto": result.pareto(rows),
        "best_by_time": outlook.best_by_time(rows),
        "image_curve": curve,
        "previews": result.previews(passes, search.data.labels),
        "trials": rows,
    }


def _curve(search: Search, table: TrialTable) -> dict[str, Any] | None:
    """Accuracy against images, on the best ridge's features; None where there is no time for it."""
    ridges = [m for m, t in enumerate(table.trials) if t.members[0].head == "ridge"]
    if not ridges:
        return None
    one: Candidate = table.trials[table.best(ridges)].members[0]
    kept = search.budget.kept.get(CURVE, 0.0)
    if not kept and not search.budget.fits(curve_seconds(search), CURVE):
        return None
    return outlook.image_curve(search.encodings, one, float(one.strength or 0))


def _finished(
    source: str | Path,
    members: Members,
    config: TrainConfig,
    split_config: SplitConfig,
    folder: Path,
    found: dict[str, Any],
    progress: Progress,
    budget: Budget,
) -> Tuned:
    """The winner's run: the only place where the test split is read."""
    progress.say_all(found["reasons"])
    one = members[0]
    settings = one.train_config(flip=config.flip, seed=config.seed, backend=config.backend)
    try:
        run = train(
            source,
            settings,
            split_config,
            folder,
            progress,
            resume=True,
            chosen=chosen_fit(members),
        )
    except TakenError as error:
        progress.say(f"{error}: what goes on there fits the winner")
        return Tuned(None, found)
    metrics = run.metrics
    found = found | {"test": metrics["accuracy"] | {"n": metrics["n"]}}
    found["honest"] = result.honest(found)
    found = ended(found, budget)
    write_found(folder, found)
    for name in ("claims", "work", WEIGHTS):
        shutil.rmtree(folder / FOLDER / name, ignore_errors=True)
    return Tuned(run, found)


def closed(tuned: Tuned, run: Run, budget: Budget, progress: Progress) -> Tuned:
    """The same when the pages are written, too: what tune.json says of the budget is of all."""
    found = ended(tuned.found, budget)
    if found["over_budget"]:
        progress.say(result.overrun(found))
    write_found(run.path, found)
    return Tuned(run, found)


def write_found(folder: Path, found: Mapping[str, Any]) -> None:
    """Write tune.json."""
    write_json(folder / FOLDER / "tune.json", {"generator": "graft", **found})
