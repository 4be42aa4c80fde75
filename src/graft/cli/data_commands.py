"""Commands about images and what there is to train: check, augment, rank, models, cache."""

import json
import sys
from pathlib import Path

import click

from graft.cli.options import BACKEND, JSON, on_stderr_progress
from graft.errors import DataError, UsageError

RANKED = "mobilenetv2_100,resnet50,efficientnet_b0,convnext_tiny,vit_small_patch16_224"


@click.command()
@click.argument("source")
@click.option("--model", help="A pretrained network to find wrong labels and outliers with.")
@click.option("--html", help="Write a page with the images, to this file.")
@click.option(
    "--fix", help="Write a new table (.csv) without what cannot be used; no file is touched."
)
@BACKEND
@JSON
def check(
    source: str,
    model: str | None,
    html: str | None,
    fix: str | None,
    backend: str,
    as_json: bool,
) -> None:
    """Say what is wrong with a folder of images, by file.

    SOURCE is a folder with a folder a class, a .csv/.tsv/.parquet table with the columns image
    and label, an archive of a folder, or a named data set (digits, flowers, cats_vs_dogs,
    cifar10). Exits with 3 if it cannot be trained on.
    """
    from graft.quality.check import check as check_source
    from graft.quality.cleaning import check_target, write_fixed
    from graft.utils.cache_folder import cache_folder

    if fix:
        check_target(Path(fix))
    if html and Path(html).suffix not in (".html", ".htm"):
        raise UsageError(f"--html takes a page to write, such as audit.html, not {html!r}")
    result = check_source(source, model, backend, on_stderr_progress())
    if not model:
        click.echo("labels and outliers: not checked without --model (see graft models)", err=True)
    if html:
        from graft.report.audit_page import write_audit

        write_audit(result, Path(html))
        click.echo(f"written: {html}", err=True)
    if fix:
        click.echo(f"written: {fix}, {write_fixed(result, Path(fix), cache_folder())}", err=True)
    if as_json:
        click.echo(json.dumps(result.to_json(), ensure_ascii=False))
    else:
        from graft.cli.console import check_table

        check_table(result)
    if result.blocking:
        sys.exit(DataError.exit_code)


@click.command()
@click.argument("source")
@click.option("--out", default="augment.png", show_default=True, help="The image to write.")
@click.option("--flip/--no-flip", default=True, help="May views be mirrored?  [default: flip]")
@click.option("--image-size", default=160, show_default=True, help="Pixels a side.")
def augment(source: str, out: str, flip: bool, image_size: int) -> None:
    """Show what each --augment preset makes of SOURCE's own images, as a PNG."""
    from graft.data.sources import load_dataset
    from graft.report.augmentation_sheet import write_augmentation
    from graft.utils.cache_folder import cache_folder

    dataset = load_dataset(source, cache_folder() / "sources")
    click.echo(f"written: {write_augmentation(dataset, Path(out), flip, image_size)}")


@click.command()
@click.argument("source")
@click.option("--backbones", default=RANKED, show_default=True, help="Names as in graft models.")
@click.option("--time-budget", help="Such as 5m: no further candidate is begun after it.")
@BACKEND
@JSON
def rank(source: str, backbones: str, time_budget: str | None, backend: str, as_json: bool) -> None:
    """Which backbone suits SOURCE: each one's frozen features, judged on your own images."""
    from graft.api import rank as rank_backbones

    rows = rank_backbones(
        source,
        backbones.split(","),
        time_budget=time_budget,
        backend=backend,
        progress=on_stderr_progress(),
    )
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False))
    else:
        from graft.cli.console import rank_table

        rank_table(rows)


@click.command()
@click.argument("pattern", required=False)
@JSON
def models(pattern: str | None, as_json: bool) -> None:
    """What can be trained: a chosen few, or with PATTERN (such as 'resnet*') all of timm's."""
    from graft.models.zoo import list_models

    rows = list_models(pattern)
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False))
    else:
        from graft.cli.console import models_table

        models_table(rows)


@click.command()
@click.option("--clear", is_flag=True, help="Remove everything in it.")
@JSON
def cache(clear: bool, as_json: bool) -> None:
    """What the cache of activations, weights and unpacked data holds, and where it is."""
    from graft.features import cache as disk

    folder = disk.cache_folder()
    removed = disk.clear(folder) if clear else 0
    held = {
        entry.kind: {"files": entry.files, "bytes": entry.bytes} for entry in disk.usage(folder)
    }
    if as_json:
        shown = {"folder": str(folder), "limit": disk.cache_limit(), "removed": removed, **held}
        click.echo(json.dumps(shown))
        return
    from graft.cli.console import cache_table

    cache_table(folder, disk.cache_limit(), held, removed if clear else None)


COMMANDS = (check, augment, rank, models, cache)
