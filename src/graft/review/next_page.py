"""The page of `graft next --html`: the images to label next, and whether that beats any."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from graft.report.plot_style import ACCENT, PERCENT, SECOND, STYLE, svg
from graft.report.templates import render
from graft.report.thumbnails import link, thumbnails
from graft.review.drop_query import in_words
from graft.review.next_images import NextImages
from graft.utils.user_files import write_page

SIDE = 160  # of an image, in pixels


def write_next_page(page: Path, run: str, found: NextImages) -> None:
    """Write a self-contained page with the images that were chosen for a run."""
    files = {each.path: Path(each.path) for each in found.chosen}
    text = render(
        "next_page.html",
        run=run,
        found=found,
        small=thumbnails(list(files), files, SIDE),
        links={path: link(file, page.parent) for path, file in files.items()},
        plot=choice_plot(found.curve) if found.curve else "",
        sentence=in_words(found.curve) if found.curve else "",
    )
    write_page(page, text)


def choice_plot(curve: dict[str, Any]) -> str:
    """Accuracy against the number of labels, for both ways of choosing them, as `<svg>`."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.9, 3.3))
        figure.subplots_adjust(left=0.145, right=0.955, top=0.95, bottom=0.16)
        axes = figure.subplots()
        axes.plot(
            curve["labels"], curve["random"], marker="o", ls="--", color=SECOND, label="at random"
        )
        axes.plot(
            curve["labels"], curve["drop_query"], marker="o", color=ACCENT, label="chosen as here"
        )
        axes.yaxis.set_major_formatter(PERCENT)
        axes.set_xlabel("labeled images")
        axes.set_ylabel("accuracy on test")
        axes.legend(loc="lower right")
        return svg(figure, "choice", "accuracy against labels, chosen as here and at random")
