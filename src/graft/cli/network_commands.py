"""Commands that look inside a network: summary and explore."""

import json

import click
from click import Command

from graft.cli.options import JSON, files


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
        click.echo(json.dumps({"page": str(page), "bytes": page.stat().st_size}))
    else:
        click.echo(f"written: {page}  (open it in a browser)")


COMMANDS: tuple[Command, ...] = (explore,)
