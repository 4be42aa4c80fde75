"""Commands for better labels: review, next."""

import importlib.util
from pathlib import Path

import click

from graft.cli.answers import print_line
from graft.cli.options import files, model_names
from graft.errors import ModelError

NEEDED = ("starlette", "uvicorn")


@click.command()
@click.argument("source", metavar="SOURCE | RUN", shell_complete=files)
@click.option(
    "--model",
    shell_complete=model_names,
    help="The pretrained model that doubts labels.  [default: the run's own, or graft's]",
)
@click.option("--port", type=click.IntRange(0, 65535), help="Port; 0 takes a free one.")
@click.option("--no-browser", is_flag=True, help="Print the page's address and open nothing.")
@click.option(
    "--project",
    "home",
    shell_complete=files,
    help="Where the journal of decisions is kept.  [default: SOURCE-graft]",
)
def review(
    source: str, model: str | None, port: int | None, no_browser: bool, home: str | None
) -> None:
    """Look at the likeliest label errors on a page, and decide with one key each.

    SOURCE is what graft check takes, RUN a finished run, whose source is then reviewed by the run's
    own split. Your files stay as they are: decisions go to SOURCE-graft/decisions.csv, which graft
    train SOURCE --corrections takes. Step 2 of graft app, by itself. Ctrl-C ends it.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelError(
            f"graft review needs {', '.join(missing)}, not installed; pip install 'graft[serve]'"
        )
    from graft.app.local_server import LocalServer
    from graft.app.project import Project
    from graft.runs.folder import is_finished
    from graft.runs.run import Run

    project = Project(home=home)
    if is_finished(Path(source)):
        from graft.review.run_settings import settings_of

        run = Run.finished(source)
        source, project.review_settings = run.config["source"], settings_of(run)
    if model:
        project.review_settings |= {"model": model}
    server = LocalServer(project, port, steps=("check",))
    project.address = server.address.partition("?")[0]
    project.choose(source)
    print_line(f"{server.address}  Ctrl-C ends it; decisions: {project.journal}")
    try:
        server.serve_until_stopped(open_browser=not no_browser)
    finally:
        project.close()


COMMANDS = (review,)
