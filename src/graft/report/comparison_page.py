"""What `graft compare` writes: a page, slides, and the data for programs."""

from pathlib import Path

from graft.evaluation.comparison import Comparison
from graft.report import comparison_plots as plots
from graft.report import comparison_sentences as sentences
from graft.report.slides import write_slides
from graft.report.templates import render
from graft.report.thumbnails import thumbnails
from graft.utils.user_files import check_target, write_page, write_result

CORRECT_ALONE = 8  # images shown that one model alone classifies correctly
MATRIX_MOST = 20  # classes whose confusion matrices fit
SIDE = 132  # pixels


def write_comparison(comparison: Comparison, out: Path) -> Path:
    """Write comparison.json, comparison.html and comparison.pdf into `out`; return the page.

    Images whose files are gone are shown by name. Raises UsageError as check_comparison_target.
    """
    check_comparison_target(out)
    page = _page(comparison)
    write_result(out / "comparison.json", comparison.to_json())
    write_slides(comparison, out / "comparison.pdf")
    write_page(out / "comparison.html", page)
    return out / "comparison.html"


def check_comparison_target(out: Path) -> None:
    """Raise UsageError for a folder that holds files of these names that graft did not write."""
    for ending in (".json", ".pdf", ".html"):
        check_target(out / f"comparison{ending}", (ending,))


def _page(comparison: Comparison) -> str:
    first = comparison.runs[0].run
    alone = comparison.correct_alone()
    shown = [path for _, images in alone for path, _ in images[:CORRECT_ALONE]]
    return render(
        "comparison_page.html",
        comparison=comparison,
        sentences=sentences,
        source=first.config.get("source"),
        classes=first.classes,
        alone=alone,
        most=CORRECT_ALONE,
        matrix_most=MATRIX_MOST,
        tiles=thumbnails(shown, first.files, SIDE),
        drawings={
            "accuracy": plots.accuracies(comparison),
            "curves": plots.training_progress(comparison),
            "f1": plots.f1_by_class(comparison),
            "cost": plots.accuracy_against_cost(comparison),
        },
    )
