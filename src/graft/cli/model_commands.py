"""Commands about classifiers: train, evaluate, predict, compare, demo."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from graft.cli.options import BACKEND, JSON, on_stderr_progress, train_options
from graft.errors import DataError

COMPARED = "base_cnn,deep_cnn,mobilenetv2_100,mobilenetv2_100@20%"


@click.command()
@click.argument("source")
@train_options
@BACKEND
@click.option("--resume", is_flag=True, help="Go on with a run that was interrupted.")
@click.option("--tensorboard", is_flag=True, help="Write event files for TensorBoard, too.")
@JSON
def train(
    source: str,
    out: str | None,
    resume: bool,
    tensorboard: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Audit, split, train, evaluate on the test split once, write a report.

    SOURCE as in graft check.
    """
    from graft.config import TrainConfig
    from graft.runs.run import free_folder

    config = TrainConfig.from_dict(settings)
    folder = Path(out) if out else free_folder(source, config.model, resume)
    from graft.api import train as train_source

    finished = train_source(
        source,
        out=folder,
        progress=on_stderr_progress(),
        resume=resume,
        tensorboard=tensorboard,
        **config.to_json(),
    )
    if as_json:
        click.echo(json.dumps(finished.metrics, ensure_ascii=False))
    else:
        from graft.cli.console import metrics_table

        metrics_table(finished.metrics)
        click.echo(f"report: {folder / 'report.html'}")


@click.command()
@click.argument("run_folder", metavar="RUN")
@click.argument("source")
@BACKEND
@JSON
def evaluate(run_folder: str, source: str, backend: str, as_json: bool) -> None:
    """The same numbers as train's, for another labeled SOURCE."""
    from graft.inference.evaluate_run import evaluate_run

    metrics = evaluate_run(run_folder, source, on_stderr_progress(), backend)
    if as_json:
        click.echo(json.dumps(metrics, ensure_ascii=False))
    else:
        from graft.cli.console import metrics_table

        metrics_table(metrics)


@click.command()
@click.argument("run_folder", metavar="RUN")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("--top", default=1, show_default=True, type=click.IntRange(1), help="Labels shown.")
@click.option("--max-error", help="Answer only where at most this share is wrong, such as 2%.")
@click.option("--coverage", help="Sets of labels that hold the true one this often, such as 95%.")
@click.option("--nearest", default=0, type=click.IntRange(0), help="Training images most like it.")
@click.option("--html", help="Write a page with the images, to this file.")
@click.option("--answer-all", is_flag=True, help="Also for images unlike those of training.")
@BACKEND
@JSON
def predict(
    run_folder: str,
    paths: tuple[str, ...],
    top: int,
    max_error: str | None,
    coverage: str | None,
    nearest: int,
    html: str | None,
    answer_all: bool,
    backend: str,
    as_json: bool,
) -> None:
    """Labels with probabilities, for files and for folders of files.

    An image unlike those of training is answered with "none of these". --max-error and
    --coverage take their thresholds from the run's validation images.

    With --json one object a line. Files that are no images are named on stderr, and the exit
    code is then 3.
    """
    from graft.inference.policy import policy_for
    from graft.inference.predict import predict_paths, training_files

    policy, promise = policy_for(run_folder, max_error, coverage, not answer_all, nearest)
    if promise:
        click.echo(promise, err=True)
    failed, answers = [], []
    for result in predict_paths(run_folder, paths, backend, policy):
        if result.prediction is not None and html:
            answers.append(result.prediction)
        if result.prediction is None:
            failed.append((result.path, result.problem))
            click.echo(f"graft: {result.path} {result.problem}", err=True)
        elif as_json:
            click.echo(json.dumps(asdict(result.prediction), ensure_ascii=False))
        else:
            ranked = sorted(result.prediction.probabilities.items(), key=lambda x: -x[1])[:top]
            shares = "  ".join(f"{name} {share:.1%}" for name, share in ranked)
            named = " or ".join(result.prediction.prediction_set or ())
            if reason := result.prediction.reason:
                kept = f"; the set: {named}" if named else ""
                shares = f"none of these ({reason}{kept}; nearest: {shares})"
            elif named:
                shares = f"{named}  ({shares})"
            click.echo(f"{result.path}  {shares}")
            for like in result.prediction.nearest or ():
                click.echo(f"    {like.similarity:.2f}  {like.label}  {like.path}")
    if html:
        from graft.report.predictions_page import write_answers

        known = training_files(run_folder) if nearest else {}
        write_answers(Path(html), Path(run_folder).name, answers, failed, known, promise)
        click.echo(f"written: {html}", err=True)
    if failed:
        sys.exit(DataError.exit_code)


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE | RUN RUN...")
@click.option("--models", default=COMPARED, show_default=True, help="To train on SOURCE.")
@click.option("--out", help="Folder of the comparison.  [default: runs/compare-SOURCE]")
@click.option("--time-budget", help="Such as 30m or 2h: no further model is begun after it.")
@click.option("--seed", default=42, show_default=True, help="Of split, weights and order.")
@click.option("--flip/--no-flip", default=True, help="May views be mirrored?  [default: flip]")
@click.option("--image-size", type=int, help="Input pixels a side, for base_cnn and deep_cnn.")
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

    A model may be followed by what is unfrozen: mobilenetv2_100@20%. Writes comparison.html,
    comparison.pdf (slides) and comparison.json. Runs that were tested on different images are
    refused.
    """
    from graft.runs.run import short_name
    from graft.training.compare import compare_runs, compare_source

    if len(sources) == 1:
        folder = Path(out) if out else Path("runs") / f"compare-{short_name(sources[0])}"
        result = compare_source(
            sources[0], models.split(","), folder, on_stderr_progress(), time_budget, settings
        )
    else:
        folder = Path(out) if out else Path("runs") / "comparison"
        result = compare_runs([Path(source) for source in sources], folder, on_stderr_progress())
    if as_json:
        click.echo(json.dumps(result.to_json(), ensure_ascii=False))
    else:
        from graft.cli.console import comparison_table

        comparison_table(result)
        click.echo(f"report: {folder / 'comparison.html'}, slides: {folder / 'comparison.pdf'}")


@click.command()
@click.option("--out", default="runs/demo", show_default=True, help="Where the runs go.")
@JSON
def demo(out: str, as_json: bool) -> None:
    """The whole story offline: is a network that has seen digits 0-4 quicker to learn 5-9?"""
    from graft.demo.digits_demo import run_demo

    result = run_demo(Path(out), on_stderr_progress())
    if as_json:
        click.echo(json.dumps(result))
    else:
        from graft.cli.console import demo_table

        demo_table(result)


COMMANDS = (train, evaluate, predict, compare, demo)
