"""The command line: one thin command a verb. Answers on stdout, all else on stderr.

Exit codes: 0 done; 1 the system refused (disk full, no permission); 2 wrong usage; 3 the pictures
cannot be used; 4 a model or its weights are missing; 5 a download failed; 130 interrupted.
"""

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from graft.errors import INTERRUPTED, DataError, GraftError, UsageError
from graft.options import train_options

if TYPE_CHECKING:
    from graft.progress import Progress

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
_ENGINE = click.option(
    "--engine",
    default="auto",
    type=click.Choice(["auto", "openvino", "torch", "float32"]),
    help="What runs the encoder; auto takes the fastest there is and says which.",
)


COMPARED = "base_cnn,deep_cnn,mobilenetv2_100,mobilenetv2_100@20%"
RANKED = "mobilenetv2_100,resnet50,efficientnet_b0,convnext_tiny,vit_small_patch16_224"
_EXIT_CODES = (__doc__ or "").partition("\n\n")[2]


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EXIT_CODES)
@click.version_option(package_name="graft", message="graft %(version)s")
def main() -> None:
    """A folder of labelled pictures in, an image classifier you can trust and use out."""


def process() -> None:
    """Entry point of the process: `run`, then out at once.

    All is written and closed by then; taking PyTorch's modules apart would take 0.3 s more.
    """
    code = 0
    try:
        run()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # a reader that has gone
            stream.flush()
    os._exit(code)


def run() -> None:
    """The command line: errors become one line on stderr and their exit code."""
    try:
        main.main(standalone_mode=False)
    except GraftError as error:
        _fail(str(error), error.exit_code)
    except click.exceptions.Abort:
        _interrupted()
    except KeyboardInterrupt:
        _interrupted()
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except OSError as error:  # a reader of stdout that has gone (head, less) is click's business
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}", GraftError.exit_code)


def _fail(message: str, code: int) -> None:
    click.echo(f"graft: {message}", err=True)
    sys.exit(code)


def _interrupted() -> None:
    _fail(
        "interrupted; nothing is lost: what was encoded is in the cache, and a train command goes "
        "on where it was with --resume and the same --out",
        INTERRUPTED,
    )


def _progress() -> "Progress":
    from graft.progress import on_stderr

    return on_stderr()


@main.command()
@click.argument("source")
@click.option("--model", help="A pretrained network to find wrong labels and outliers with.")
@click.option("--html", help="Write a page with the pictures, to this file.")
@click.option("--fix", help="Write a table (.csv) without what cannot be used; no file is touched.")
@_ENGINE
@_JSON
def check(
    source: str,
    model: str | None,
    html: str | None,
    fix: str | None,
    engine: str,
    as_json: bool,
) -> None:
    """Say what is wrong with a folder of pictures, by file.

    SOURCE is a folder with a folder a class, a .csv/.tsv/.parquet table with the columns image
    and label, an archive of a folder, or a named data set (digits, flowers, cats_vs_dogs,
    cifar10). Exits with 3 if it cannot be trained on.
    """
    from graft.data.check import check as check_dataset
    from graft.data.scan import scan
    from graft.learning.cache import cache_folder

    if fix and not fix.endswith(".csv"):
        raise UsageError(f"--fix takes a table to write, such as cleaned.csv, not {fix!r}")
    dataset = scan(source, cache_folder() / "sources")
    if model:
        from graft.learning.audit import check_by_model

        result = check_by_model(dataset, model, engine, cache_folder(), _progress())
    else:
        result = check_dataset(dataset, _progress())
        click.echo("labels and outliers: not checked without --model (see graft models)", err=True)
    if html:
        from graft.report.audit import write_audit

        write_audit(result, Path(html))
        click.echo(f"written: {html}", err=True)
    if fix:
        from graft.data.fix import write_fixed

        click.echo(f"written: {fix}, {write_fixed(result, Path(fix))}", err=True)
    if as_json:
        click.echo(json.dumps(result.to_json(), ensure_ascii=False))
    else:
        from graft.tables import check_table

        check_table(result)
    if result.blocking:
        sys.exit(DataError.exit_code)


@main.command()
@click.argument("source")
@train_options
@_ENGINE
@click.option("--resume", is_flag=True, help="Go on with a run that was interrupted.")
@click.option("--tensorboard", is_flag=True, help="Write event files for TensorBoard, too.")
@_JSON
def train(
    source: str,
    out: str | None,
    resume: bool,
    tensorboard: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Audit, split, train, evaluate on the test part once, write a report.

    SOURCE as in graft check.
    """
    from graft.config import TrainConfig
    from graft.runs import free_folder

    config = TrainConfig.from_dict(settings)
    folder = Path(out) if out else free_folder(source, config.model)
    from graft.api import train as train_source

    finished = train_source(
        source,
        out=folder,
        progress=_progress(),
        resume=resume,
        tensorboard=tensorboard,
        **config.to_json(),
    )
    if as_json:
        click.echo(json.dumps(finished.metrics, ensure_ascii=False))
    else:
        from graft.tables import metrics_table

        metrics_table(finished.metrics)
        click.echo(f"report: {folder / 'report.html'}")


@main.command()
@click.argument("run_folder", metavar="RUN")
@click.argument("source")
@_ENGINE
@_JSON
def evaluate(run_folder: str, source: str, engine: str, as_json: bool) -> None:
    """The same numbers as train's, for another labelled SOURCE."""
    from graft.use.evaluate import evaluate_run

    metrics = evaluate_run(run_folder, source, _progress(), engine)
    if as_json:
        click.echo(json.dumps(metrics, ensure_ascii=False))
    else:
        from graft.tables import metrics_table

        metrics_table(metrics)


@main.command()
@click.argument("run_folder", metavar="RUN")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("--top", default=1, show_default=True, type=click.IntRange(1), help="Labels shown.")
@click.option("--max-error", help="Answer only where at most this share is wrong, such as 2%.")
@click.option("--coverage", help="Sets of labels that hold the true one this often, such as 95%.")
@click.option("--answer-all", is_flag=True, help="Also for pictures unlike those of training.")
@_ENGINE
@_JSON
def predict(
    run_folder: str,
    paths: tuple[str, ...],
    top: int,
    max_error: str | None,
    coverage: str | None,
    answer_all: bool,
    engine: str,
    as_json: bool,
) -> None:
    """Labels with probabilities, for files and for folders of files.

    A picture unlike those of training is answered with "none of these". --max-error and
    --coverage take their thresholds from the run's validation pictures.

    With --json one object a line. Files that are no pictures are named on stderr, and the exit
    code is then 3.
    """
    from graft.use.predict import predict_paths, rules_of

    rules, promise = rules_of(run_folder, max_error, coverage, not answer_all)
    if promise:
        click.echo(promise, err=True)
    failed = 0
    for result in predict_paths(run_folder, paths, engine, rules):
        if result.prediction is None:
            failed += 1
            click.echo(f"graft: {result.path} {result.problem}", err=True)
        elif as_json:
            shown = {name: getattr(result.prediction, name) for name in result.prediction.__slots__}
            click.echo(json.dumps(shown, ensure_ascii=False))
        else:
            ranked = sorted(result.prediction.probabilities.items(), key=lambda x: -x[1])[:top]
            shares = "  ".join(f"{name} {share:.1%}" for name, share in ranked)
            if result.prediction.reason:
                shares = (
                    f"{result.prediction.answer} ({result.prediction.reason}; nearest: {shares})"
                )
            elif result.prediction.labels:
                shares = f"{' or '.join(result.prediction.labels)}  ({shares})"
            click.echo(f"{result.path}  {shares}")
    if failed:
        sys.exit(DataError.exit_code)


@main.command()
@click.argument("source")
@click.option("--out", default="augment.png", show_default=True, help="The picture to write.")
@click.option("--flip/--no-flip", default=True, help="May views be mirrored?  [default: flip]")
@click.option("--image-size", default=160, show_default=True, help="Pixels a side.")
def augment(source: str, out: str, flip: bool, image_size: int) -> None:
    """Show what each --augment preset makes of SOURCE's own pictures, as a PNG."""
    from graft.data.scan import scan
    from graft.learning.cache import cache_folder
    from graft.report.augment import write_augmentation

    dataset = scan(source, cache_folder() / "sources")
    click.echo(f"written: {write_augmentation(dataset, Path(out), flip, image_size)}")


@main.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE | RUN RUN...")
@click.option("--models", default=COMPARED, show_default=True, help="To train on SOURCE.")
@click.option("--out", help="Folder of the comparison.  [default: runs/compare-SOURCE]")
@click.option("--time-budget", help="Such as 30m or 2h: no further model is begun after it.")
@click.option("--seed", default=42, show_default=True, help="Of split, weights and order.")
@click.option("--flip/--no-flip", default=True, help="May views be mirrored?  [default: flip]")
@click.option("--image-size", type=int, help="Input pixels a side, for base_cnn and deep_cnn.")
@_JSON
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
    comparison.pdf (slides) and comparison.json. Runs that were tested on different pictures are
    refused.
    """
    from graft.compare import compare_runs, compare_source
    from graft.runs import short_name

    if len(sources) == 1:
        folder = Path(out) if out else Path("runs") / f"compare-{short_name(sources[0])}"
        result = compare_source(
            sources[0], models.split(","), folder, _progress(), time_budget, settings
        )
    else:
        folder = Path(out) if out else Path("runs") / "comparison"
        result = compare_runs([Path(source) for source in sources], folder)
    if as_json:
        click.echo(json.dumps(result.to_json(), ensure_ascii=False))
    else:
        from graft.tables import comparison_table

        comparison_table(result)
        click.echo(f"report: {folder / 'comparison.html'}, slides: {folder / 'comparison.pdf'}")


@main.command()
@click.argument("source")
@click.option("--backbones", default=RANKED, show_default=True, help="Names as in graft models.")
@click.option("--time-budget", help="Such as 5m: no further candidate is begun after it.")
@_ENGINE
@_JSON
def rank(source: str, backbones: str, time_budget: str | None, engine: str, as_json: bool) -> None:
    """Which backbone suits SOURCE: each one's frozen features, judged on your own pictures."""
    from graft.api import rank as rank_backbones

    rows = rank_backbones(
        source,
        backbones.split(","),
        time_budget=time_budget,
        engine=engine,
        progress=_progress(),
    )
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False))
    else:
        from graft.tables import rank_table

        rank_table(rows)


@main.command()
@click.argument("pattern", required=False)
@_JSON
def models(pattern: str | None, as_json: bool) -> None:
    """What can be trained: a chosen few, or with PATTERN (such as 'resnet*') all of timm's."""
    from graft.models.listing import list_models

    rows = list_models(pattern)
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False))
    else:
        from graft.tables import models_table

        models_table(rows)


@main.command()
@click.option("--clear", is_flag=True, help="Remove everything in it.")
@_JSON
def cache(clear: bool, as_json: bool) -> None:
    """What the cache of activations, weights and unpacked data holds, and where it is."""
    from graft.learning import cache as disk

    folder = disk.cache_folder()
    removed = disk.clear(folder) if clear else 0
    held = {
        entry.kind: {"files": entry.files, "bytes": entry.bytes} for entry in disk.usage(folder)
    }
    if as_json:
        shown = {"folder": str(folder), "limit": disk.cache_limit(), "removed": removed, **held}
        click.echo(json.dumps(shown))
        return
    from graft.tables import cache_table

    cache_table(folder, disk.cache_limit(), held, removed if clear else None)


@main.command()
@click.option("--out", default="runs/demo", show_default=True, help="Where the runs go.")
@_JSON
def demo(out: str, as_json: bool) -> None:
    """The whole story offline: is a network that has seen digits 0-4 quicker to learn 5-9?"""
    from graft.demo import run_demo

    result = run_demo(Path(out), _progress())
    if as_json:
        click.echo(json.dumps(result))
    else:
        from graft.tables import demo_table

        demo_table(result)
