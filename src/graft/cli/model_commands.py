"""Commands that make and measure classifiers: train, evaluate, validate, compare, demo."""

import sys
from pathlib import Path
from typing import Any

import click

from graft.choices import DEFAULT_MODEL
from graft.cli.answers import print_json
from graft.cli.options import (
    BACKEND,
    CORRECTIONS,
    JSON,
    SettingsCommand,
    files,
    given,
    help_all,
    on_stderr_progress,
)
from graft.cli.process import refuse_many_processes
from graft.cli.shard_options import InShards, shard_options, show_shards
from graft.errors import GraftError, UsageError
from graft.utils.torchrun import place

# The settings that `graft train --help` shows; --help-all shows the others, too.
COMMON_SETTINGS = (
    "model",
    "unfreeze",
    "epochs",
    "augment",
    "flip",
    "image_size",
    "group_by",
    "seed",
)
COMPARED = f"base_cnn,deep_cnn,{DEFAULT_MODEL},{DEFAULT_MODEL}@20%"


@click.command(cls=SettingsCommand, settings=COMMON_SETTINGS, advanced=True)
@click.argument("source", shell_complete=files)
@click.option(
    "--out",
    shell_complete=files,
    help="The run folder to make.  [default: runs/SOURCE-MODEL]",
)
@click.option("--resume", is_flag=True, help="Resume an interrupted run.")
@click.option("--tensorboard", is_flag=True, help="Write event files for TensorBoard, too.")
@click.option("--budget", help="Search so long (10m), as graft tune does.")
@CORRECTIONS
@JSON
@help_all
def train(source: str, as_json: bool, **settings: Any) -> None:
    """Audit SOURCE, which is what graft check takes, split it, train, evaluate on the test split
    once, and write a report.
    """
    from graft.api import train as train_source

    if settings["budget"]:
        refuse_many_processes("tune")
        from graft.cli.tune_commands import show_tuned

        show_tuned(source, as_json, given(settings))
        return
    run = train_source(source, progress=on_stderr_progress(), **given(settings))
    if place().rank:
        return
    if as_json:
        print_json(run.metrics)
    else:
        from graft.cli.console import metrics_table

        metrics_table(run.metrics)
        click.echo(f"report: {run.path / 'report.html'}")


@click.command()
@click.argument("run_folder", metavar="RUN", shell_complete=files)
@click.argument("source", required=False, shell_complete=files)
@shard_options
@click.option("--from", "from_folder", shell_complete=files, help="The --out of all shards.")
@BACKEND
@JSON
def evaluate(
    run_folder: str,
    source: str | None,
    in_shards: InShards | None,
    from_folder: str | None,
    backend: str,
    as_json: bool,
) -> None:
    """Evaluate a run on another labeled SOURCE, with the same metrics as train.

    With --out, only predict, into Parquet files in that folder, one for each shard: give each of
    many machines its --shard I/N, or all --shards to a --cluster. Then --from FOLDER, without
    SOURCE, checks that all shards are there and gives the numbers.
    """
    from graft.api import evaluate as evaluate_run
    from graft.features.torch_threads import cores_for_encoder

    progress = on_stderr_progress()
    if (source is None) != (from_folder is not None) or (from_folder and in_shards):
        raise UsageError("expected RUN SOURCE, or RUN --from FOLDER with the files of all shards")
    if from_folder is not None:
        from graft.inference.evaluation_shards import evaluate_from

        metrics = evaluate_from(run_folder, from_folder, progress)
    else:
        with cores_for_encoder(backend):
            if in_shards:
                from graft.inference.shard_runs import evaluate_shards

                named = {"backend": backend, "progress": progress, **in_shards}
                show_shards(evaluate_shards(run_folder, str(source), **named), as_json)
                return
            metrics = evaluate_run(run_folder, str(source), progress=progress, backend=backend)
    if as_json:
        print_json(metrics)
    else:
        from graft.cli.console import metrics_table

        metrics_table(metrics)


@click.command()
@click.argument("run_folder", metavar="RUN", shell_complete=files)
@click.option("--folds", type=int, help="Folds of cross-validation, such as 5.")
@click.option("--repeats", type=int, help="Repeats with other splits and seeds, such as 5.")
@click.option("--learning-curve", is_flag=True, help="Would more images help?")
@JSON
def validate(
    run_folder: str, folds: int | None, repeats: int | None, learning_curve: bool, as_json: bool
) -> None:
    """Find out how far a run's result depends on its split, its seed and its number of images.

    Fits the head again on the features of RUN, a run of a frozen backbone. Without options it
    does all three: 5 folds, 5 repeats and a learning curve. The run's report shows what was
    found.
    """
    from graft.api import validate as validate_run

    found = validate_run(
        run_folder,
        folds=folds,
        repeats=repeats,
        learning_curve=learning_curve,
        progress=on_stderr_progress(),
    )
    if as_json:
        print_json(found)
    else:
        from graft.cli.console import validation_table

        validation_table(found)
        click.echo(f"report: {Path(run_folder) / 'report.html'}")


@click.command(cls=SettingsCommand, settings=("seed", "flip", "image_size", "pixels"))
@click.argument(
    "sources", nargs=-1, required=True, metavar="SOURCE | RUN RUN...", shell_complete=files
)
@click.option("--models", default=COMPARED, show_default=True, help="What to train on SOURCE.")
@click.option(
    "--out",
    shell_complete=files,
    help="Where the comparison goes.  [default: runs/compare-SOURCE]",
)
@click.option("--time-budget", help="Such as 30m or 2h; after it no further model is begun.")
@JSON
def compare(
    sources: tuple[str, ...],
    models: str,
    out: str | None,
    time_budget: str | None,
    as_json: bool,
    **settings: Any,
) -> None:
    """Train several models on the same split, or take finished runs, and compare them.

    A model may be followed by what is unfrozen: resnet50@20%. Writes comparison.html,
    comparison.pdf (slides) and comparison.json. Runs that were tested on different images cannot
    be compared.
    """
    from graft.api import compare as compare_models
    from graft.runs.folder import short_name

    one = len(sources) == 1
    name = f"compare-{short_name(sources[0])}" if one else "comparison"
    folder = Path(out) if out else Path("runs") / name
    options = given({"time_budget": time_budget, **settings})
    if one or given({"models": models}):
        options["models"] = models.split(",")
    result = compare_models(*sources, out=folder, progress=on_stderr_progress(), **options)
    if as_json:
        print_json(result.to_json())
    else:
        from graft.cli.console import comparison_table

        comparison_table(result)
        click.echo(f"report: {folder / 'comparison.html'}, slides: {folder / 'comparison.pdf'}")


@click.command()
@click.option(
    "--out",
    default="runs/demo",
    show_default=True,
    shell_complete=files,
    help="Where the runs go.",
)
@JSON
def demo(out: str, as_json: bool) -> None:
    """The whole job offline, on rendered images: audit, three ways to learn, none of these.

    Each claim of its page is checked against the known truth; exits with 1 if one does not hold.
    """
    from graft.demo.story import run_demo

    result = run_demo(Path(out), on_stderr_progress())
    if as_json:
        print_json(result)
    else:
        from graft.cli.console import demo_table

        demo_table(result)
    if failed := [claim["claim"] for claim in result["claims"] if not claim["held"]]:
        click.echo(f"graft: these claims do not hold: {'; '.join(failed)}", err=True)
        sys.exit(GraftError.exit_code)


COMMANDS = (train, evaluate, validate, compare)
MORE_COMMANDS = (demo,)
