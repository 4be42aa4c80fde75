"""The verbs, as functions. Everything the command line does is one call here."""

import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from graft.choices import DEFAULT_MODEL, LabelBy, PixelScale
from graft.config import SplitConfig, TrainConfig, configs_of
from graft.errors import UsageError
from graft.inference.evaluate_run import evaluate_run
from graft.inference.policy import Policy, policy_for
from graft.quality.check import CheckResult
from graft.quality.check import check as check_source
from graft.runs.folder import short_name
from graft.runs.run import Run
from graft.training.feature_settings import settings_of_features
from graft.training.train_or_resume import train_or_resume
from graft.utils.cache_folder import cache_folder, cache_in_use, sources_folder
from graft.utils.progress import SILENT, Progress
from graft.utils.time_budget import seconds_of

if TYPE_CHECKING:
    from graft.evaluation.comparison import Comparison
    from graft.tuning.space import Space
    from graft.tuning.tune_source import Tuned

# What `validate` does when it is not told what to do.
FOLDS, REPEATS = 5, 5


def check(
    source: str | Path,
    *,
    model: str | None = None,
    backend: str = "auto",
    label_by: LabelBy | None = None,
    follow_links: bool = False,
    corrections: str | Path | None = None,
    progress: Progress = SILENT,
) -> CheckResult:
    """What is wrong with a folder, table, archive or named dataset; see CheckResult.

    With `model`, a pretrained network, also likely label errors and outliers. `label_by`
    ("outermost" or "innermost") says which of the folders inside of class folders is the label;
    `follow_links` reads links that lead out of the source, too. `corrections` is a journal of
    decisions, as `graft review` writes it, to apply first.
    """
    return check_source(source, model, backend, progress, label_by, follow_links, corrections)


def train(
    source: str | Path,
    *,
    out: str | Path | None = None,
    model: str = DEFAULT_MODEL,
    progress: Progress = SILENT,
    resume: bool = False,
    tensorboard: bool = False,
    corrections: str | Path | None = None,
    **settings: Any,
) -> Run:
    """Audit, split, train, evaluate on the test split once, and write the run folder `out`, by
    default runs/SOURCE-MODEL. `source` may be a folder that `graft.extract_features` filled.

    `settings` are the fields of TrainConfig and SplitConfig; `seed` is for both. With `resume` an
    interrupted run in `out` resumes, to the same weights; with `tensorboard` event files are
    written, too. `corrections` is a journal of decisions, as `graft review` writes it: labels are
    corrected and images left out before anything is split; the files stay as they are.

    Raises DataError for images that cannot be trained on or a journal that does not fit them,
    ModelError for a missing model or weights, UsageError for impossible settings or an `out` that
    is in use.
    """
    config, split_config = configs_of({"model": model, **settings}, TrainConfig)
    config, split_config = settings_of_features(source, config, split_config)
    folder = Path(out) if out else None
    journal = Path(corrections) if corrections else None
    # Plotting takes half a second to import, which passes while the images are read.
    early = Thread(target=import_module, args=("graft.report.run_page",))
    early.start()

    def report(run: Run) -> None:
        early.join()
        _write_report(run)

    return train_or_resume(
        source, config, split_config, folder, progress, resume, tensorboard, journal, report
    )


def tune(
    source: str | Path,
    *,
    budget: str = "10m",
    out: str | Path | None = None,
    space: "Space | str | Path | None" = None,
    models: str | Sequence[str] | None = None,
    engine: str = "auto",
    resume: bool = False,
    progress: Progress = SILENT,
    **settings: Any,
) -> "Tuned":
    """Search for the best classifier that the time `budget` allows, and make the winner's run in
    `out`, by default runs/SOURCE-tuned; see docs/tune.md.

    All choices are made by cross-validation inside train and val; the test split is read once, for
    the winner. `space` is what is tried, or a file that says so; `models` are its networks.
    `engine` is optuna, portfolio, or auto: Optuna where it is installed. With `resume` an
    interrupted search in `out` goes on, or is shared with a process that is at it. `settings` are
    seed, flip, backend and those of SplitConfig.

    Raises what `train` raises.
    """
    began = time.perf_counter()  # before what is imported here
    from graft.report.tune_page import write_tune_page
    from graft.tuning.costs import Budget
    from graft.tuning.space import Space, read_space
    from graft.tuning.tune_source import closed, tune_source

    seconds = seconds_of(budget, "--budget")
    clock = Budget(seconds or 0.0, began=began)
    allowed = {"seed", "flip", "backend", *SplitConfig.model_fields}
    if other := sorted(set(settings) - allowed):
        raise UsageError(
            f"graft tune searches for {other[0]} itself, or does not know it; it takes "
            f"{', '.join(sorted(allowed))}"
        )
    config, split_config = configs_of(settings, TrainConfig)
    tried = space if isinstance(space, Space) else read_space(space) if space else Space()
    if models:
        names = [models] if isinstance(models, str) else list(models)
        tried = tried.model_copy(update={"models": names})
    folder = Path(out) if out else None
    found = tune_source(
        source, config, split_config, tried, clock, folder, progress, resume, engine
    )
    if found.run is not None:
        _write_report(found.run)
        write_tune_page(found.run, found.found)
        found = closed(found, found.run, clock, progress)
    return found


def validate(
    run: str | Path,
    *,
    folds: int | None = None,
    repeats: int | None = None,
    learning_curve: bool = False,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """How far the result of a finished run can be trusted: cross-validation in `folds`, `repeats`
    with other splits and seeds, and a `learning_curve`; without any of the three, all of them.

    The head is fitted again on the features of the run, whose report then shows what was found.

    Raises UsageError for a run that trained more than a head, and for folds or repeats that its
    images do not allow; DataError for a folder that is no finished run.
    """
    from graft.report.run_page import write_report
    from graft.training.validation import validate as validate_run

    for name, value, least in (("folds", folds, 2), ("repeats", repeats, 1)):
        if value is not None and value < least:
            raise UsageError(f"{name} must be a whole number of at least {least}, not {value}")
    if not (folds or repeats or learning_curve):
        folds, repeats, learning_curve = FOLDS, REPEATS, True
    finished = Run.finished(run)
    found = validate_run(finished, progress, folds, repeats, learning_curve)
    write_report(finished)
    return found


@cache_in_use()
def compare(
    *sources: str | Path,
    models: str | Sequence[str] | None = None,
    out: str | Path | None = None,
    time_budget: str | None = None,
    progress: Progress = SILENT,
    **settings: Any,
) -> "Comparison":
    """Compare finished runs, or with `models` train each of them on the same split of one source.

    A model may be followed by what is unfrozen ("mobilenetv2_100@20%"). After `time_budget`
    ("30m") no further model is begun, but at least two are trained. `settings` are those of
    `train`. Writes comparison.html, comparison.pdf and comparison.json into `out`, by default
    runs/compare-SOURCE or runs/comparison.

    Raises UsageError for fewer than two runs or models, DataError for runs that were tested on
    different images, and what `train` raises.
    """
    from graft.evaluation.comparison import read_comparison
    from graft.inference.speed import measure_speed
    from graft.report.comparison_page import check_comparison_target, write_comparison
    from graft.training.compare import train_models

    if models is None:
        if settings or time_budget:
            raise UsageError(
                "finished runs are compared as they are; leave out the settings and time budget"
            )
        folder = Path(out or "runs/comparison")
        check_comparison_target(folder)
        runs = [Run(source) for source in sources]
    else:
        if len(sources) != 1:
            raise UsageError(
                f"models are trained on one source, not on {len(sources)}; leave them out for runs"
            )
        folder = Path(out) if out else Path("runs") / f"compare-{short_name(str(sources[0]))}"
        check_comparison_target(folder)
        _, split_config = configs_of(settings, TrainConfig)
        own = {name: value for name, value in settings.items() if name in TrainConfig.model_fields}
        seconds = seconds_of(time_budget)
        names = [models] if isinstance(models, str) else models
        runs = train_models(sources[0], names, folder, progress, seconds, own, split_config)
    read_comparison([run.path for run in runs])  # is refused before anything is measured
    for run in runs:
        if run.lacks_report:
            _write_report(run)
        if run.speed is None and any(file.is_file() for file in run.files.values()):
            measure_speed(run, list(run.files.values()), progress)
    result = read_comparison([run.path for run in runs])
    write_comparison(result, folder)
    return result


@cache_in_use()
def rank(
    source: str | Path,
    backbones: str | Sequence[str],
    *,
    time_budget: str | None = None,
    backend: str = "auto",
    label_by: LabelBy | None = None,
    follow_links: bool = False,
    pixels: PixelScale | None = None,
    progress: Progress = SILENT,
) -> list[dict[str, Any]]:
    """Backbones (one name or several), best first, by how well a head on their frozen features
    classifies these images; see graft.training.rank. `label_by` and `follow_links` as for
    `check`, `pixels` as for `train`.
    """
    from graft.data.sources import load_dataset
    from graft.training.rank import rank as rank_backbones

    dataset = load_dataset(
        source, sources_folder(), label_by=label_by, follow_links=follow_links, progress=progress
    )
    seconds = seconds_of(time_budget)
    # A text is a sequence, too: of letters.
    backbones = [backbones] if isinstance(backbones, str) else backbones
    return rank_backbones(dataset, backbones, cache_folder(), progress, seconds, backend, pixels)


def policy(
    run: str | Path,
    *,
    max_error: str | float | None = None,
    coverage: str | float | None = None,
    abstain_ood: bool = True,
    nearest: int = 0,
) -> Policy:
    """When to abstain: by an error budget or a coverage, set on the run's validation images; and
    how many of the nearest training images to show with each prediction.

    Raises UsageError for a budget that the validation images cannot show, ModelError for a run
    without them.
    """
    return policy_for(run, max_error, coverage, abstain_ood, nearest)[0]


def evaluate(
    run: str | Path, source: str | Path, *, progress: Progress = SILENT, backend: str = "auto"
) -> dict[str, Any]:
    """The metrics of a run on another labeled source, in the form of metrics.json."""
    return evaluate_run(run, source, progress, backend)


def _write_report(run: Run) -> None:
    """The report of a run that was just trained, with heat maps of its mistakes."""
    from graft.explanation.mistake_maps import MISTAKES, map_mistakes
    from graft.report.run_page import write_report
    from graft.report.run_tables import mistakes

    map_mistakes(run, [(each.path, each.predicted, each.label) for each in mistakes(run, MISTAKES)])
    write_report(run)
