"""The command that does the whole job in the browser: app."""

from pathlib import Path

import click

from graft.cli.answers import print_line
from graft.cli.needed_packages import PAGE, require_packages
from graft.cli.options import files


@click.command()
@click.argument("folder", required=False, shell_complete=files)
@click.option("--port", type=click.IntRange(0, 65535), help="Port; 0 takes a free one.")
@click.option("--no-browser", is_flag=True, help="Print the page's address and open nothing.")
@click.option(
    "--project",
    "home",
    shell_complete=files,
    help="Where decisions, added images and runs are kept.  [default: FOLDER-graft]",
)
def app(folder: str | None, port: int | None, no_browser: bool, home: str | None) -> None:
    """Do the whole job on a page in the browser, on this machine only.

    Collect images in classes (from FOLDER, dropped files or the webcam), check them, train, look
    at the results, try the classifier and take it along. FOLDER is what graft check takes; it is
    never changed: what you decide is kept in FOLDER-graft beside it. Ctrl-C ends the page, not a
    training.
    """
    require_packages("app", PAGE)
    from graft.app.application import application
    from graft.app.local_server import LocalServer
    from graft.app.project import Project
    from graft.app.project_folder import earlier_address, home_of
    from graft.app.step_page import read_texts
    from graft.app.training_process import Trainings

    project = Project(home=home)
    kept = home or (home_of(folder) if folder is not None else None)
    earlier = earlier_address(Path(kept)) if kept else ""
    server = LocalServer(application(project, read_texts()), port, earlier)
    project.address = server.address
    if folder is not None:
        project.choose(folder)
    where = f"; what you do is kept in {project.home}" if folder is not None else ""
    print_line(f"{server.address}  Ctrl-C ends it{where}")
    try:
        server.serve_until_stopped(open_browser=not no_browser)
        if project.is_open and (running := Trainings(project).running()):
            print_line(f"run {running} is still being trained; the next start shows it")
    finally:
        project.close()


COMMANDS = (app,)
