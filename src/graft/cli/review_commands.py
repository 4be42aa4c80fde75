"""Commands for better labels: review, next."""

from pathlib import Path

import click

from graft.cli.answers import print_json, print_line
from graft.cli.needed_packages import PAGE, require_packages
from graft.cli.options import BACKEND, JSON, files, model_names, on_stderr_progress


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
    require_packages("review", PAGE)
    from graft.app.application import application
    from graft.app.local_server import LocalServer
    from graft.app.project import Project
    from graft.app.project_folder import earlier_address, home_of
    from graft.app.step_page import read_texts
    from graft.runs.folder import is_finished
    from graft.runs.run import Run

    project = Project(home=home)
    if is_finished(Path(source)):
        from graft.review.run_settings import settings_of
        from graft.runs.records import source_of

        run = Run.finished(source)
        source, project.review_settings = source_of(run.config, run.path), settings_of(run)
    if model:
        project.review_settings |= {"model": model}
    earlier = earlier_address(Path(home or home_of(source)))
    server = LocalServer(application(project, read_texts(), ("check",)), port, earlier)
    project.address = server.address
    project.choose(source)
    print_line(f"{server.address}  Ctrl-C ends it; decisions: {project.journal}")
    try:
        server.serve_until_stopped(open_browser=not no_browser)
    finally:
        project.close()


@click.command(name="next")
@click.argument("run_folder", metavar="RUN", shell_complete=files)
@click.argument("unlabeled", metavar="PATH...", nargs=-1, required=True, shell_complete=files)
@click.option("--count", default=50, show_default=True, type=click.IntRange(1), help="Images.")
@click.option("--html", shell_complete=files, help="Write a page with the images to this file.")
@click.option(
    "--csv",
    "table",
    shell_complete=files,
    help="Write a table of them to this file, with an empty column label to fill in.",
)
@click.option(
    "--curve/--no-curve",
    default=True,
    show_default=True,
    help="Simulate the choice on the run's own images, beside random choice.",
)
@BACKEND
@JSON
def next_command(
    run_folder: str,
    unlabeled: tuple[str, ...],
    count: int,
    html: str | None,
    table: str | None,
    curve: bool,
    backend: str,
    as_json: bool,
) -> None:
    """Choose which unlabeled images to label next, for a better RUN.

    PATH are images and folders of them. Chosen are images that the model is unsure of and of which
    no two are alike (DropQuery); whether that beats random choice is simulated on RUN's own images.
    """
    from graft.review.drop_query import in_words
    from graft.review.next_images import check_table, next_to_label, write_next
    from graft.utils.user_files import check_page

    check_page(html)
    if table:
        check_table(Path(table))
    found = next_to_label(
        run_folder,
        unlabeled,
        count=count,
        curve=curve,
        backend=backend,
        progress=on_stderr_progress(),
    )
    if table:
        write_next(found, Path(table))
        print_line(f"written: {table}", err=True)
    if html:
        from graft.review.next_page import write_next_page

        write_next_page(Path(html), Path(run_folder).resolve().name, found)
        print_line(f"written: {html}", err=True)
    if as_json:
        print_json(found.to_json())
        return
    for each in found.chosen:
        print_line(f"{each.path}  {each.guess} {each.probability:.0%}")
    left_out = f"{found.known:,} in the run already, {found.copies:,} copies"
    problems = f"{len(found.unreadable):,} unreadable"
    print_line(f"{len(found.chosen):,} of {found.looked_at:,} images; {left_out}, {problems}", True)
    if found.curve:
        print_line(in_words(found.curve), err=True)


COMMANDS = (review, next_command)
