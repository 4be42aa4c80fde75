"""Commands that say why a network answers as it does: explain."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from graft.choices import EXPLANATIONS
from graft.cli.answers import print_json, print_line
from graft.cli.options import BACKEND, JSON, files, on_stderr_progress
from graft.errors import DataError, ModelError, UsageError

if TYPE_CHECKING:
    from graft.explanation.heat_map import Explanation
    from graft.inference.predictor import Predictor


@click.command()
@click.argument("run_folder", metavar="RUN", shell_complete=files)
@click.argument("paths", metavar="[IMAGE]...", nargs=-1, shell_complete=files)
@click.option("--against", metavar="CLASS", help="Explain why it is not this class.")
@click.option("--label", metavar="CLASS", help="Explain this class.  [default: the best guess]")
@click.option(
    "--method",
    type=click.Choice(EXPLANATIONS),
    default=EXPLANATIONS[0],
    show_default=True,
    help="How the evidence is found; gradients is the fast one.",
)
@click.option(
    "--html", shell_complete=files, help="Write a page with heat maps and more to this file."
)
@click.option("--mistakes", is_flag=True, help="Add heat maps to the mistakes of the run's report.")
@BACKEND
@JSON
def explain(
    run_folder: str,
    paths: tuple[str, ...],
    against: str | None,
    label: str | None,
    method: str,
    html: str | None,
    mistakes: bool,
    backend: str,
    as_json: bool,
) -> None:
    """Say where in each image the evidence lies for what a run predicts.

    The region that matters most is covered and the image predicted again, so that the sentence can
    be checked. --against says what speaks for the predicted class and not for the other one.
    --html writes a page with the heat maps, what would change the prediction, what each stage of
    the network sees, and the nearest training images.

    With --json, one object an image. Files that cannot be read as images are named on stderr, and
    the exit code is then 3.
    """
    from graft.explanation.outside_evidence import outside_evidence
    from graft.inference.saved_model import load
    from graft.utils.user_files import check_page

    check_page(html)
    if not paths and not mistakes:
        raise UsageError("expected images to explain, or --mistakes; see graft explain --help")
    if not paths and (html or as_json):
        raise UsageError("--html and --json are about images: name some after the run")
    predictor = load(run_folder, backend)
    failed, found = _explained(predictor, paths, against, label, method, as_json)
    outside, of_classes = outside_evidence(predictor, found)
    seen = _seen(run_folder, found)
    for one, *all_said in zip(found, seen, outside, strict=True):
        for said in filter(None, all_said):
            print_line(f"graft: {one.prediction.path}: {said}", err=True)
    of_images = ["; ".join(filter(None, both)) for both in zip(seen, outside, strict=True)]
    for said in of_classes:
        print_line(f"graft: {said}", err=True)
    if html:
        _write_page(html, predictor, found, failed, (of_images, of_classes))
    if mistakes:
        _explain_mistakes(run_folder, predictor, method)
    if failed:
        sys.exit(DataError.exit_code)


def _explained(
    predictor: "Predictor",
    paths: tuple[str, ...],
    against: str | None,
    label: str | None,
    method: str,
    as_json: bool,
) -> "tuple[list[tuple[str, str]], list[Explanation]]":
    """The files that cannot be read, each with the reason, and what was said of the others."""
    from graft.data.sources import find_images
    from graft.explanation.heat_map import explain as explain_image
    from graft.explanation.heat_map import known_classes

    known_classes(predictor, label, against)
    for path in paths:
        if not Path(path).exists():
            raise UsageError(f"{path}: no such file or folder")
    failed: list[tuple[str, str]] = []
    found: list[Explanation] = []
    outside: list[Path] = []
    for file in (file for path in paths for file in find_images(Path(path), outside)):
        result = next(predictor.predict_files([file]))
        if result.prediction is None:
            failed.append((result.path, result.problem))
            print_line(f"graft: {result.path} {result.problem}", err=True)
            continue
        other = against
        if against is not None and against == (label or result.prediction.best_guess):
            print_line(
                f"graft: {file} is taken for {against} itself, which is explained against nothing",
                err=True,
            )
            other = None
        one = explain_image(predictor, file, against=other, method=method, label=label)
        found.append(one)
        if as_json:
            print_json(one.to_json())
            continue
        for line in _said(one):
            print_line(line)
    for link in outside:
        failed.append((str(link), "is a link that leads out of the folder"))
        click.echo(f"graft: {link} is a link that leads out of the folder", err=True)
    return failed, found


def _seen(run_folder: str, found: "list[Explanation]") -> list[str]:
    """What to think of each image if the network was trained with it; "" if it was not."""
    from graft.explanation.seen_before import seen_before
    from graft.runs.run import Run

    run = Run(run_folder)
    try:
        return [seen_before(run, Path(one.prediction.path)) for one in found]
    except ModelError as reason:
        print_line(f"graft: nobody knows which images it learned from: {reason}", err=True)
        return [""] * len(found)


def _said(one: "Explanation") -> list[str]:
    """The prediction, the sentence and what to think of it, a line each."""
    prediction = one.prediction
    lines = [f"{prediction.path}  {one.label} {one.probability:.1%}"]
    if one.against:
        lines[0] += f", against {one.against} {prediction.probabilities[one.against]:.1%}"
    if prediction.reason:
        lines.append(f"    the model abstains ({prediction.reason}); this is about its best guess")
    lines.append(f"    {one.sentence}")
    lines.append(f"    {one.comparison}")
    return lines


def _write_page(
    html: str,
    predictor: "Predictor",
    found: "list[Explanation]",
    failed: list[tuple[str, str]],
    warnings: tuple[list[str], list[str]],
) -> None:
    from graft.explanation.closer_look import look_closer
    from graft.explanation.stage_maps import excitement, first_filters
    from graft.report.explanation_page import write_explanations

    try:
        known = excitement(predictor)
    except (UsageError, ModelError) as reason:
        click.echo(f"graft: the page shows no training images: {reason}", err=True)
        known = None
    looks = [look_closer(predictor, one, known) for one in found]
    name = predictor.run.resolve().name if predictor.run else ""
    write_explanations(Path(html), name, looks, known, first_filters(predictor), failed, warnings)
    click.echo(f"written: {html}", err=True)


def _explain_mistakes(run_folder: str, predictor: "Predictor", method: str) -> None:
    from graft.explanation.mistake_maps import explain_mistakes
    from graft.report.run_page import write_report
    from graft.report.run_tables import mistakes
    from graft.runs.run import Run

    run = Run.finished(run_folder)
    shown = [(m.path, m.predicted, m.label) for m in mistakes(run)]
    count = explain_mistakes(predictor, run, shown, method, on_stderr_progress())
    page = write_report(run)
    click.echo(f"written: {page}, with heat maps of {count} mistakes", err=True)


COMMANDS = (explain,)
