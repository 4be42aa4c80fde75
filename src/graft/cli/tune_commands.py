"""The command that searches: tune. `graft train --budget` is the same by another door."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from graft.cli.answers import print_json, print_line
from graft.cli.options import JSON, SettingsCommand, files, given, on_stderr_progress

ENGINES = ("auto", "optuna", "portfolio")
SETTINGS = ("group_by", "flip", "seed", "backend", "label_by", "follow_links", "val_fraction")


def _print_space(ctx: click.Context, option: click.Parameter, wanted: bool) -> None:
    if wanted:
        from graft.tuning.space import Space, space_text

        click.echo(space_text(Space()))
        ctx.exit()


@click.command(cls=SettingsCommand, settings=SETTINGS)
@click.argument("source", shell_complete=files)
@click.option("--budget", default="10m", show_default=True, help="Such as 90s, 10m or 2h.")
@click.option(
    "--out",
    shell_complete=files,
    help="The run folder to make.  [default: runs/SOURCE-tuned]",
)
@click.option("--resume", is_flag=True, help="Go on with a search, or share one that is running.")
@click.option("--models", help="Networks, the default first.  [default: those on this machine]")
@click.option("--space-file", shell_complete=files, help="What to try, as --space prints it.")
@click.option(
    "--space",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_space,
    help="Print what is tried, as JSON, and exit.",
)
@click.option(
    "--engine",
    default="auto",
    type=click.Choice(ENGINES),
    show_default=True,
    help="What proposes trials: Optuna (graft[tune]), or a fixed portfolio.",
)
@JSON
def tune(source: str, as_json: bool, **settings: Any) -> None:
    """Search for the best classifier that a time budget allows, and say honestly how good it is.

    SOURCE is what graft check takes. All choices are made by cross-validation inside train and
    val; the test split is read once, for the winner, which replaces the default only if a paired
    test says so. Ctrl-C keeps what was found; --resume goes on.
    """
    show_tuned(source, as_json, given(settings))


def show_tuned(source: str, as_json: bool, options: Mapping[str, Any]) -> None:
    """Run the search that these options ask for, and print what came of it."""
    from graft.api import tune as tune_source
    from graft.errors import UsageError

    asked = dict(options)
    if "space_file" in asked:
        asked["space"] = asked.pop("space_file")
    if "models" in asked:
        asked["models"] = asked["models"].split(",")
    if "model" in asked:
        asked["models"] = [asked.pop("model")]
    if asked.pop("tensorboard", False):
        raise UsageError("--tensorboard is for one training; leave it or --budget out")
    tuned = tune_source(source, progress=on_stderr_progress(), **asked)
    if tuned.run is None:
        if as_json:
            print_json(tuned.found)
        else:
            print_line("another process goes on with this search, and fits the winner")
        return
    if as_json:
        print_json(tuned.found)
        return
    from graft.cli.console import metrics_table, tune_table

    tune_table(tuned.found)
    metrics_table(tuned.run.metrics)
    page = Path(tuned.run.path) / "tune" / "tune.html"
    click.echo(f"search: {page}, report: {tuned.run.path / 'report.html'}")


COMMANDS = (tune,)
