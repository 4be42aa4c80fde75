"""The command that converts a network of another tool, once: import."""

from typing import Any

import click

from graft.choices import PIXEL_SCALES, PIXELS_HELP
from graft.cli.answers import print_json
from graft.cli.options import JSON, files, given


@click.command("import")
@click.argument("file", shell_complete=files)
@click.option("--out", shell_complete=files, help="The new folder.  [default: the file's name]")
@click.option("--pixels", type=click.Choice(PIXEL_SCALES), help=PIXELS_HELP)
@click.option(
    "--output",
    metavar="NAME",
    help="The output or the layer that gives the features.  [default: the first output; of Keras "
    "Applications what comes before the classifier]",
)
@click.option(
    "--as",
    "architecture",
    metavar="NAME",
    help="Its name in Keras Applications, for a file of weights alone whose name does not say it.",
)
@JSON
def import_(file: str, as_json: bool, **options: Any) -> None:
    """Convert a network of another tool, once, to a folder that graft uses from then on.

    FILE is one of Keras (.keras or .h5, which needs graft[keras]), ONNX, TFLite or OpenVINO IR, or
    the folder of a SavedModel. The folder is named as file:FOLDER, as a frozen backbone. Where timm
    has an equal network (MobileNetV2, VGG and EfficientNet of Keras Applications), it is also
    local-dir:FOLDER, which can be fine-tuned.
    """
    from graft.models.importing import import_network

    found = import_network(file, **given(options))
    if as_json:
        print_json(found)
        return
    rows, columns = found["size"]
    click.echo(f"written: {found['folder']} ({found['features']:,} features, {rows} × {columns})")
    click.echo(f"frozen: --model {found['frozen']}")
    if found["fine_tuned"]:
        click.echo(f"to be fine-tuned: --model {found['fine_tuned']} --unfreeze 20%")
    else:
        click.echo(f"not to be fine-tuned: {found['reason']}")


COMMANDS: tuple[click.Command, ...] = (import_,)
