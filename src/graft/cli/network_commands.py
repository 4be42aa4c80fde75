"""Commands that look inside a network: summary and explore."""

import shutil
import sys
from pathlib import Path

import click
from click import Command

from graft.cli.answers import print_json
from graft.cli.options import JSON, files, model_names


@click.command()
@click.argument("model", metavar="MODEL|RUN", shell_complete=model_names)
@click.option(
    "--image-size", type=click.IntRange(1), help="Pixels a side.  [default: the network's own]"
)
@click.option(
    "--batch",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="Images at a time, for the memory.",
)
@click.option(
    "--layer",
    metavar="NAME",
    help="Show one layer's arithmetic in full, or list the layers whose names begin with this.",
)
@click.option("--html", shell_complete=files, help="Write a page to this file.")
@JSON
def summary(
    model: str,
    image_size: int | None,
    batch: int,
    layer: str | None,
    html: str | None,
    as_json: bool,
) -> None:
    """Show what a network consists of, layer by layer.

    For each layer: its window, the shape of its output, its receptive field (how much of the image
    one output value sees), its parameters and its multiply-adds; then totals, what is frozen, and
    the memory it takes. --layer shows how each number comes about.

    MODEL is a name of graft models; its weights need not be on this machine. The table of a RUN has
    its head, too, and what was trained.
    """
    from graft.explanation.layer_table import summary as summarize
    from graft.explanation.layer_text import layer_text, listing
    from graft.utils.user_files import check_page

    check_page(html)
    found = summarize(model, image_size)
    under = found.under(layer) if layer else []
    if layer and not under:
        found.layer(layer)  # raises, with the nearest names
    if html:
        from graft.report.summary_page import write_summary

        write_summary(Path(html), found, batch)
        click.echo(f"written: {html}", err=True)
    if as_json:
        one = [each.to_json() for each in under]
        print_json(one if layer else found.to_json(batch))
    elif not layer:
        click.echo(found.text(batch, _width()))
    elif under[0].name == layer.rstrip("."):
        click.echo(layer_text(under[0]))
        if under[1:]:
            click.echo(f"\n{listing(under[1:], _width())}")
    else:
        click.echo(listing(under, _width()))


def _width() -> int | None:
    """Of the terminal; a file or another program has no width."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


@click.command()
@click.argument("run", metavar="RUN|MODEL", shell_complete=files)
@click.argument("image", metavar="IMAGE", shell_complete=files)
@click.option(
    "--out",
    default="explore.html",
    show_default=True,
    shell_complete=files,
    help="Write the page to this file.",
)
@click.option(
    "--layers",
    type=click.IntRange(1),
    help="Convolutions to show at most; without it, as many as fit.",
)
@JSON
def explore(run: str, image: str, out: str, layers: int | None, as_json: bool) -> None:
    """Write an interactive page: the network at work on one image, from pixel to probability.

    Click a map to see its kernels, and a pixel to see the patch that it came from, each product
    and their sum, and what normalization, activation and pooling make of it. Networks that were
    trained from scratch are shown whole, any other convolutional network with its first layers.
    One file of at most 2 MB, which needs no network and computes all numbers in the browser.
    """
    from graft.report.explore_page import explore as write_page

    page = write_page(run, image, out, layers=layers)
    if as_json:
        print_json({"page": str(page), "bytes": page.stat().st_size})
    else:
        click.echo(f"written: {page}  (open it in a browser)")


COMMANDS: tuple[Command, ...] = (summary, explore)
