"""The verbs, as functions. Everything the command line does is one call here."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

from graft.config import DEFAULT_MODEL, TrainConfig
from graft.inference.evaluate_run import evaluate_run
from graft.inference.policy import Policy, policy_for
from graft.quality.check import CheckResult
from graft.quality.check_source import check_source
from graft.runs.run import lacks_report
from graft.training.recipe import Run, finished, train_run
from graft.utils.progress import Progress

SILENT = Progress()


def check(
    source: str | Path,
    *,
    model: str | None = None,
    backend: str = "auto",
    progress: Progress = SILENT,
) -> CheckResult:
    """What is wrong with a folder, table, archive or named data set; see CheckResult.

    With `model`, a pretrained network, also likely wrong labels and outliers.
    """
    return check_source(source, model, backend, progress)


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
    """Check, split, train, evaluate on the test split once, and write the run folder `out`.

    With `resume` an interrupted run in `out` is gone on with, to the same weights; with
    `tensorboard` event files are written, too.
    `settings` are the fields of TrainConfig. Raises DataError for images that cannot be
    trained on, ModelError for a missing model or weights, UsageError for impossible settings or
    an `out` that is in use.
    """
    # Plotting takes half a second to import, which passes while the images are read.
    early = Thread(target=import_module, args=("graft.report.run_page",))
    early.start()
    config = TrainConfig.from_dict({"model": model, **settings})
    if resume and lacks_report(Path(out)):
        run = finished(Path(out), source, config)
        progress.say(f"{out} is trained; its report was missing")
    else:
        run = train_run(source, config, Path(out), progress, resume, tensorboard)
    early.join()
    from graft.report.run_page import write_report

    write_report(run.path, run.files)
    return run


def rank(
    source: str | Path,
    backbones: Sequence[str],
    *,
    time_budget: str | None = None,
    backend: str = "auto",
    progress: Progress = SILENT,
) -> list[dict[str, Any]]:
    """Backbones by what their frozen features know of these images; see graft.training.rank."""
    from graft.data.sources import scan
    from graft.features.cache import cache_folder
    from graft.runs.run import seconds_of
    from graft.training.rank import rank as rank_backbones

    cache = cache_folder()
    seconds = seconds_of(time_budget)
    return rank_backbones(
        scan(source, cache / "sources"), backbones, cache, progress, seconds, backend
    )


def policy(
    run: str | Path,
    *,
    max_error: str | float | None = None,
    coverage: str | float | None = None,
    abstain_ood: bool = True,
    nearest: int = 0,
) -> Policy:
    """The policy for `Predictor.predict` that keeps an error budget or a coverage, and how many of
    the nearest training images to name.

    From the run's validation images. Raises UsageError for a budget that they cannot show,
    ModelError for a run without them.
    """
    return policy_for(run, max_error, coverage, abstain_ood, nearest)[0]


def evaluate(
    run: str | Path, source: str | Path, *, progress: Progress = SILENT, backend: str = "auto"
) -> dict[str, Any]:
    """The metrics of a run on another labeled source, in the form of metrics.json."""
    return evaluate_run(run, source, progress, backend)
