"""What `graft compare` writes: a page, slides, and the data for programs."""

from pathlib import Path

from graft.evaluation.comparison import Comparison
from graft.report import comparison_plots as plots
from graft.report import comparison_sentences as sentences
from graft.report.slides import write_slides
from graft.report.templates import render
from graft.report.thumbnails import thumbnails
from graft.utils.files import write_json, write_text

CORRECT_ALONE = 8  # images shown that one model alone classifies correctly
MATRIX_MOST = 20  # classes whose confusion matrices fit
SIDE = 132  # pixels


def write_comparison(comparison: Comparison, out: Path) -> Path:
    """Write comparison.json, comparison.html and comparison.pdf into `out`; return the page.

    Images whose files are gone are shown by name.
    """
    out.mkdir(parents=True, exist_ok=True)
    page = _page(comparison)
    write_json(out / "comparison.json", comparison.to_json())
    write_slides(comparison, out / "comparison.pdf")
    write_text(out / "comparison.html", page)
    return out / "comparison.html"


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
