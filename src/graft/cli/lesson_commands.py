"""Commands that teach: lesson."""

import sys
from pathlib import Path

import click

from graft.cli.answers import print_json
from graft.cli.options import JSON, files
from graft.errors import ModelError


@click.command()
@click.argument("number", required=False)
@click.option(
    "--out",
    default="lessons",
    show_default=True,
    shell_complete=files,
    help="The folder to copy the lesson into.",
)
@click.option(
    "--open/--no-open",
    "wanted",
    default=None,
    help="Open it in Jupyter; by default where JupyterLab or Notebook is installed.",
)
@JSON
def lesson(number: str | None, out: str, wanted: bool | None, as_json: bool) -> None:
    """List the lessons, or copy the one with this NUMBER and open it.

    Each lesson is a notebook, and needs nothing but graft. A copy that you have changed is kept.
    """
    from graft.lessons.catalog import COPIED, KEPT, copy_lesson, find_lesson, lessons
    from graft.lessons.jupyter import hand_over_to, installed_jupyter

    if number is None:
        found = lessons()
        if as_json:
            print_json([one.to_json() for one in found])
        else:
            for one in found:
                click.echo(f"{one.number:>2}  {one.title} ({one.minutes} min)")
                click.echo(f"    {one.teaches} Needs: {one.needs}.")
            click.echo("graft lesson NUMBER copies one and opens it", err=True)
        return
    chosen = find_lesson(number)
    jupyter = installed_jupyter()
    if wanted and not jupyter:
        raise ModelError(
            "expected JupyterLab beside this Python to open the lesson with, it is not installed; "
            "pip install jupyterlab, or leave --open out"
        )
    file, state = copy_lesson(chosen, Path(out))
    if as_json:
        shown = {"number": chosen.number, "path": str(file), "state": state, "colab": chosen.colab}
        print_json(shown)
    else:
        more = "; --out FOLDER makes a fresh one" if state == KEPT else ""
        named = {COPIED: "written", KEPT: "kept your changed copy"}.get(state, state)
        click.echo(f"{named}: {file}{more}")
    if wanted or (wanted is None and jupyter and not as_json and sys.stdout.isatty()):
        hand_over_to(jupyter, file)
    if not as_json:
        for line in _ways_to_open(file, bool(jupyter)):
            click.echo(line)


def _ways_to_open(file: Path, jupyter: bool) -> list[str]:
    install = "" if jupyter else "pip install jupyterlab, then "
    return [
        f"  JupyterLab  {install}jupyter lab {file}",
        f"  VS Code     code {file}, with the Jupyter extension and this Python as its kernel:",
        f"              {sys.executable}",
        "  Colab       colab.research.google.com, File, Upload notebook",
    ]


COMMANDS: tuple[click.Command, ...] = (lesson,)
