"""Commands about images and what there is to train: check, augment, rank, models, cache."""

import sys
from pathlib import Path

import click

from graft.choices import LABELS_BY, PIXEL_SCALES, PIXELS_HELP, LabelBy, PixelScale
from graft.cli.answers import print_json, print_line
from graft.cli.options import BACKEND, CORRECTIONS, JSON, files, model_names, on_stderr_progress
from graft.errors import DataError, UsageError

LABEL_BY = click.option(
    "--label-by",
    type=click.Choice(LABELS_BY),
    help="Of folders inside of class folders, which one is the label.  [default: outermost]",
)
FOLLOW_LINKS = click.option(
    "--follow-links", is_flag=True, help="Read links that lead out of SOURCE, too."
)
RANKED = "tf_efficientnet_lite0,resnet50,efficientnet_b0,convnext_tiny,vit_small_patch16_224"


@click.command()
@click.argument("source", shell_complete=files)
@click.option(
    "--model",
    shell_complete=model_names,
    help="A pretrained model that also finds label errors and outliers.",
)
@click.option("--html", shell_complete=files, help="Write a page with the images to this file.")
@click.option(
    "--fix",
    shell_complete=files,
    help="Write a table (.csv) of the usable images; your files stay as they are.",
)
@LABEL_BY
@FOLLOW_LINKS
@CORRECTIONS
@BACKEND
@JSON
def check(
    source: str,
    model: str | None,
    html: str | None,
    fix: str | None,
    label_by: LabelBy | None,
    follow_links: bool,
    corrections: str | None,
    backend: str,
    as_json: bool,
) -> None:
    """Audit the images and labels of a dataset, file by file.

    SOURCE is a folder with one folder for each class, a .csv/.tsv/.parquet table with the columns
    image and label, an archive of such a folder, a folder of Parquet or WebDataset tar shards, or a
    named dataset (digits, rendered_objects, flowers, cats_vs_dogs, cifar10). All but the last may
    lie elsewhere: s3://, gs://, az://, hf:// or https:// (docs/sources.md). Exits with 3 if it
    cannot be trained on.
    """
    from graft.quality.check import check as check_source
    from graft.quality.cleaning import check_target, write_fixed
    from graft.utils.cache_folder import cache_folder
    from graft.utils.user_files import check_page

    if fix:
        check_target(Path(fix))
    check_page(html)
    result = check_source(
        source, model, backend, on_stderr_progress(), label_by, follow_links, corrections
    )
    if not model:
        click.echo("label errors and outliers: checked with --model only (graft models)", err=True)
    if html:
        from graft.report.audit_page import write_audit

        write_audit(result, Path(html))
        click.echo(f"written: {html}", err=True)
    if fix and result.dataset.features:
        raise UsageError(
            f"--fix writes a table of images, and {source} holds features; leave it out"
        )
    if fix:
        print_line(f"written: {fix}, {write_fixed(result, Path(fix), cache_folder())}", err=True)
    if as_json:
        print_json(result.to_json())
    else:
        from graft.cli.console import check_table

        check_table(result)
    if result.blocking:
        sys.exit(DataError.exit_code)


@click.command()
@click.argument("source", shell_complete=files)
@click.option(
    "--out",
    default="augment.png",
    show_default=True,
    shell_complete=files,
    help="The PNG to write.",
)
@click.option("--flip/--no-flip", default=True, show_default=True, help="Mirror some views.")
@click.option(
    "--image-size",
    default=160,
    show_default=True,
    type=click.IntRange(8, 1024),
    help="Pixels a side.",
)
@LABEL_BY
@FOLLOW_LINKS
def augment(
    source: str,
    out: str,
    flip: bool,
    image_size: int,
    label_by: LabelBy | None,
    follow_links: bool,
) -> None:
    """Draw what each --augment preset does to images of SOURCE, as a PNG."""
    from graft.data.sources import load_dataset
    from graft.report.augmentation_sheet import write_augmentation
    from graft.utils.cache_folder import cache_in_use, sources_folder

    with cache_in_use():
        dataset = load_dataset(
            source, sources_folder(), label_by=label_by, follow_links=follow_links
        )
        page = write_augmentation(dataset, Path(out), flip, image_size)
    click.echo(f"written: {page}")


@click.command()
@click.argument("source", shell_complete=files)
@click.option("--backbones", default=RANKED, show_default=True, help="Names as in graft models.")
@click.option("--time-budget", help="Such as 5m; after it no further backbone is begun.")
@LABEL_BY
@FOLLOW_LINKS
@click.option("--pixels", type=click.Choice(PIXEL_SCALES), help=PIXELS_HELP)
@BACKEND
@JSON
def rank(
    source: str,
    backbones: str,
    time_budget: str | None,
    label_by: LabelBy | None,
    follow_links: bool,
    pixels: PixelScale | None,
    backend: str,
    as_json: bool,
) -> None:
    """Rank backbones by how well their frozen features classify the images of SOURCE."""
    from graft.api import rank as rank_backbones

    rows = rank_backbones(
        source,
        backbones.split(","),
        time_budget=time_budget,
        backend=backend,
        label_by=label_by,
        follow_links=follow_links,
        pixels=pixels,
        progress=on_stderr_progress(),
    )
    if as_json:
        print_json(rows)
    else:
        from graft.cli.console import rank_table

        rank_table(rows)


@click.command()
@click.argument("pattern", required=False)
@JSON
def models(pattern: str | None, as_json: bool) -> None:
    """List the models to choose from; PATTERN (such as 'resnet*') searches all of timm.

    'torchvision:resnet*' searches torchvision, and file:FILE says what a network's file holds.
    """
    from graft.models.zoo import list_models

    rows = list_models(pattern)
    if as_json:
        print_json(rows)
    else:
        from graft.cli.console import models_table

        models_table(rows)


@click.command()
@click.option("--clear", is_flag=True, help="Remove everything in it.")
@JSON
def cache(clear: bool, as_json: bool) -> None:
    """Show where the cache is and what it holds: activations, weights, unpacked datasets."""
    from graft.features.cache import clear as clear_cache
    from graft.features.cache import usage
    from graft.utils.cache_folder import cache_folder, cache_limit

    folder = cache_folder()
    removed = clear_cache(folder) if clear else 0
    held = {entry.kind: {"files": entry.files, "bytes": entry.bytes} for entry in usage(folder)}
    if as_json:
        shown = {"folder": str(folder), "limit": cache_limit(), "removed": removed, **held}
        print_json(shown)
        return
    from graft.cli.console import cache_table

    cache_table(folder, cache_limit(), held, removed if clear else None)


COMMANDS = (check, rank, augment)
MORE_COMMANDS = (models, cache)
