"""The verbs, as functions. Everything the command line does is one call here."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

from graft.config import DEFAULT_MODEL, TrainConfig
from graft.data.check import CheckResult
from graft.learning.recipe import Run, finished, train_run
from graft.models.classifier import Rules
from graft.progress import Progress
from graft.runs import lacks_report
from graft.use.check import check_source
from graft.use.evaluate import evaluate_run
from graft.use.predict import rules_of

SILENT = Progress()


def check(
    source: str | Path,
    *,
    model: str | None = None,
    engine: str = "auto",
    progress: Progress = SILENT,
) -> CheckResult:
    """What is wrong with a folder, table, archive or named data set; see CheckResult.

    With `model`, a pretrained network, also likely wrong labels and outliers.
    """
    return check_source(source, model, engine, progress)


def train(
    source: str | Path,
    *,
    out: str | Path,
    model: str = DEFAULT_MODEL,
    progress: Progress = SILENT,
    resume: bool = False,
    tensorboard: bool = False,
    **settings: Any,
) -> Run:
    """Check, split, train, evaluate on the test part once, and write the run folder `out`.

    With `resume` an interrupted run in `out` is gone on with, to the same weights; with
    `tensorboard` event files are written, too.
    `settings` are the fields of TrainConfig. Raises DataError for pictures that cannot be
    trained on, ModelError for a missing model or weights, UsageError for impossible settings or
    an `out` that is in use.
    """
    # Plotting takes half a second to import, which passes while the pictures are read.
    early = Thread(target=import_module, args=("graft.report.html",))
    early.start()
    config = TrainConfig.from_dict({"model": model, **settings})
    if resume and lacks_report(Path(out)):
        run = finished(Path(out), source, config)
        progress.say(f"{out} is trained; its report was missing")
    else:
        run = train_run(source, config, Path(out), progress, resume, tensorboard)
    early.join()
    from graft.report.html import write_report

    write_report(run.path, run.files)
    return run


def rank(
    source: str | Path,
    backbones: Sequence[str],
    *,
    time_budget: str | None = None,
    engine: str = "auto",
    progress: Progress = SILENT,
) -> list[dict[str, Any]]:
    """Backbones by what their frozen features know of these pictures; see graft.learning.rank."""
    from graft.data.scan import scan
    from graft.learning.cache import cache_folder
    from graft.learning.rank import rank as rank_backbones
    from graft.runs import seconds_of

    cache = cache_folder()
    seconds = seconds_of(time_budget)
    return rank_backbones(
        scan(source, cache / "sources"), backbones, cache, progress, seconds, engine
    )


def rules(
    run: str | Path,
    *,
    max_error: str | float | None = None,
    coverage: str | float | None = None,
    refuse_novel: bool = True,
    nearest: int = 0,
) -> Rules:
    """The rules for `Classifier.predict` that keep an error budget or a coverage, and how many of
    the nearest training pictures to show.

    From the run's validation pictures. Raises UsageError for a budget that they cannot show,
    ModelError for a run without them.
    """
    return rules_of(run, max_error, coverage, refuse_novel, nearest)[0]


def evaluate(
    run: str | Path, source: str | Path, *, progress: Progress = SILENT, engine: str = "auto"
) -> dict[str, Any]:
    """The metrics of a run on another labelled source, in the form of metrics.json."""
    return evaluate_run(run, source, progress, engine)
