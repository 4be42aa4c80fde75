"""Commands that say what images show: classify (with a pretrained network) and predict (a run)."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from graft.choices import DEFAULT_MODEL, OPEN_CLIP, ZERO_SHOT_MODEL
from graft.cli.answers import print_json, print_line
from graft.cli.options import BACKEND, JSON, files, given, model_names, on_stderr_progress
from graft.cli.shard_options import InShards, shard_options, show_shards
from graft.errors import DataError, UsageError

if TYPE_CHECKING:
    from graft.inference.policy import Policy
    from graft.inference.prediction import FileResult, Prediction

# Images on a page: as many as report.predictions_page.MOST, which takes long to import.
MOST_SHOWN = 400

HTML = click.option(
    "--html", shell_complete=files, help="Write a page with the images to this file."
)


@click.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, shell_complete=files)
@click.option(
    "--model",
    default=DEFAULT_MODEL,
    show_default=True,
    shell_complete=model_names,
    help="A name of graft models.",
)
@click.option(
    "--labels",
    help=f"Names of your own, such as 'daisy,tulip,rose'; with --model {OPEN_CLIP}…, by default "
    f"{ZERO_SHOT_MODEL}, which is downloaded once.",
)
@click.option("--top", default=3, show_default=True, type=click.IntRange(1), help="Names to show.")
@HTML
@BACKEND
@JSON
def classify(
    paths: tuple[str, ...],
    model: str,
    labels: str | None,
    top: int,
    html: str | None,
    backend: str,
    as_json: bool,
) -> None:
    """Say what image files, and folders of them, show, without any training.

    PATH may be an address, such as s3://bucket/folder, or a tar of images (docs/sources.md).

    The names are those that the pretrained network was trained for: ImageNet's 1,000 classes, from
    tench to toilet tissue. It knows no others and always answers. With --labels they are yours, and
    a network that was trained on images with their captions compares.

    With --json, one object a line. Files that cannot be read as images are named on stderr, and
    the exit code is then 3.
    """
    from graft.inference.predict import predict_paths
    from graft.inference.saved_model import pretrained, zero_shot
    from graft.utils.user_files import check_page

    check_page(html)
    if labels is None:
        network = pretrained(model, backend)
    else:
        model = given({"model": model}).get("model", ZERO_SHOT_MODEL)
        network = zero_shot(labels.split(","), model, backend)
    failed: list[tuple[str, str]] = []
    answers, count = [], 0
    for prediction in _readable(predict_paths(network, paths), failed):
        ranked = prediction.ranked[:top]
        count += 1
        if html and count <= MOST_SHOWN:  # the other names would be 100 KB an image
            answers.append(replace(prediction, probabilities=dict(ranked)))
        if as_json:
            found = {
                "path": prediction.path,
                "label": prediction.label,
                "probability": prediction.probability,
                "top": dict(ranked),
            }
            print_json(found)
        else:
            print_line(f"{prediction.path}  {_shares(ranked)}")
    if html:
        from graft.report.predictions_page import write_names

        write_names(Path(html), model, answers, failed, count)
        click.echo(f"written: {html}", err=True)
    if failed:
        sys.exit(DataError.exit_code)


@click.command()
@click.argument("run_folder", metavar="RUN", shell_complete=files)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, shell_complete=files)
@click.option("--top", default=1, show_default=True, type=click.IntRange(1), help="Labels to show.")
@click.option("--max-error", help="Abstain so that at most this fraction is wrong, such as 2%.")
@click.option(
    "--coverage", help="Prediction sets that hold the true label this often, such as 95%."
)
@click.option(
    "--nearest",
    default=0,
    type=click.IntRange(0),
    help="Nearest training images to show.",
)
@HTML
@click.option("--csv", "table", shell_complete=files, help="Write the predictions to this file.")
@click.option("--answer-all", is_flag=True, help="Answer for out-of-distribution images, too.")
@shard_options
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
    table: str | None,
    answer_all: bool,
    in_shards: InShards | None,
    backend: str,
    as_json: bool,
) -> None:
    """Predict labels with probabilities, for image files and folders of them. PATH may be an
    address, such as s3://bucket/folder, or a tar of images (docs/sources.md).

    On an image that is out of distribution, unlike the training images, the model abstains.
    --max-error and --coverage set their thresholds on the run's validation images.

    With --out, the predictions go to Parquet files in that folder, one for each shard: give each of
    many machines its --shard I/N, or all --shards to a --cluster.

    With --json, one object a line. Unreadable files are named on stderr; the exit code is then 3.
    """
    from graft.features.torch_threads import cores_for_encoder
    from graft.inference.policy import policy_for
    from graft.inference.predict import predict_paths
    from graft.inference.predictions_csv import check_csv, write_csv
    from graft.inference.saved_model import load
    from graft.runs.run import Run
    from graft.utils.user_files import check_page

    check_page(html)
    if table:
        check_csv(Path(table))
    policy, promise = policy_for(run_folder, max_error, coverage, not answer_all, nearest)
    click.echo(promise, err=True, nl=bool(promise))
    if in_shards:
        _predict_shards(run_folder, paths, policy, backend, in_shards, as_json)
        return
    failed: list[tuple[str, str]] = []
    answers, count = [], 0
    with cores_for_encoder(backend):
        results = predict_paths(load(run_folder, backend), paths, policy)
        for count, prediction in enumerate(_readable(results, failed), 1):
            if table or (html and count <= MOST_SHOWN):
                answers.append(prediction)
            _show(prediction, top, as_json)
    if table:
        write_csv(Path(table), answers, failed)
        click.echo(f"written: {table}", err=True)
    if html:
        from graft.report.predictions_page import write_answers

        known = Run(run_folder).files if nearest else {}
        write_answers(Path(html), Path(run_folder).name, answers, failed, known, promise, count)
        click.echo(f"written: {html}", err=True)
    if failed:
        sys.exit(DataError.exit_code)


def _predict_shards(
    run: str,
    paths: tuple[str, ...],
    policy: "Policy",
    backend: str,
    in_shards: InShards,
    as_json: bool,
) -> None:
    from graft.features.torch_threads import cores_for_encoder
    from graft.inference.shard_runs import predict_shards

    if len(paths) > 1 or given({"html": 0, "table": 0, "top": 0, "nearest": 0}):
        raise UsageError("--out takes one SOURCE, without --html, --csv, --top and --nearest")
    asked: dict[str, Any] = {"policy": policy, "backend": backend, **in_shards}
    with cores_for_encoder(backend):
        written = predict_shards(run, paths[0], progress=on_stderr_progress(), **asked)
    show_shards(written, as_json)


def _readable(
    results: "Iterable[FileResult]", failed: list[tuple[str, str]]
) -> "Iterator[Prediction]":
    """The predictions; files that cannot be read are named on stderr and kept in `failed`."""
    for result in results:
        if result.prediction is None:
            failed.append((result.path, result.problem))
            print_line(f"graft: {result.path} {result.problem}", err=True)
        else:
            yield result.prediction


def _show(prediction: "Prediction", top: int, as_json: bool) -> None:
    if as_json:
        print_json(prediction.to_json())
        return
    print_line(f"{prediction.path}  {_sentence(prediction, top)}")
    for like in prediction.nearest or ():
        print_line(f"    {like.similarity:.2f}  {like.label}  {like.path}")


def _sentence(prediction: "Prediction", top: int) -> str:
    """What is said of an image: its most probable labels, its set, or why none."""
    shares = _shares(prediction.ranked[:top])
    named = " or ".join(prediction.prediction_set or ())
    if prediction.reason:
        kept = f"; prediction set: {named}" if named else ""
        return f"{prediction.refusal} ({prediction.reason}{kept}; best guess: {shares})"
    return f"{named}  ({shares})" if named else shares


def _shares(ranked: list[tuple[str, float]]) -> str:
    return "  ".join(f"{name} {share:.1%}" for name, share in ranked)


COMMANDS = (classify,)
MORE_COMMANDS = (predict,)
