"""The page of `graft demo`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from graft.inference.prediction import Prediction
from graft.report.plot_style import ACCENT, PERCENT, SECOND, STYLE, svg
from graft.report.templates import render
from graft.report.thumbnails import thumbnail
from graft.utils.files import write_text

LARGE, SMALL = 192, 112  # the side of an image, in pixels
NAMES = {"scratch": "from scratch", "frozen": "frozen, new head", "tuned": "last 20 % fine-tuned"}


@dataclass(frozen=True)
class Shown:
    """The images on the page: `classes`, some of each class that is learned, and of the unseen one
    in the end; `wrong_labels`, `copies`, `framed` and `broken`, what was planted, each file with
    what to say of it; `answers`, test images and unseen ones, each with its true class.
    """

    classes: Mapping[str, Sequence[Path]]
    wrong_labels: Sequence[tuple[Path, str, str]]  # file, label, true class
    copies: Sequence[tuple[Path, Path]]  # original, copy
    framed: Sequence[Path]
    suspects: frozenset[Path]
    answers: Sequence[tuple[Prediction, str]]


def write_story(out: Path, result: dict[str, Any], shown: Shown) -> Path:
    """Write out/report.html, a self-contained page, from demo.json's `result`."""
    page = render(
        "demo_page.html",
        result=result,
        names=NAMES,
        classes={
            name: [thumbnail(file, SMALL) for file in files]
            for name, files in shown.classes.items()
        },
        wrong_labels=[
            (thumbnail(file, SMALL), label, truth, file in shown.suspects)
            for file, label, truth in shown.wrong_labels
        ],
        copies=[(thumbnail(a, SMALL), thumbnail(b, SMALL)) for a, b in shown.copies],
        framed=[thumbnail(file, SMALL) for file in shown.framed],
        answers=[
            (thumbnail(Path(answer.path), LARGE), answer, truth) for answer, truth in shown.answers
        ],
        curve=_curve(result["curve"]),
    )
    write_text(out / "report.html", page)
    return out / "report.html"


def _curve(curve: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.4, 3.1), layout="constrained")
        axes = figure.subplots()
        for way, color, marker in (("frozen", ACCENT, "o"), ("scratch", SECOND, "s")):
            points = curve[way]
            sizes = [point["images"] for point in points]
            value = [point["value"] for point in points]
            axes.fill_between(
                sizes,
                [point["low"] for point in points],
                [point["high"] for point in points],
                color=color,
                alpha=0.16,
                linewidth=0,
            )
            name = "transfer (frozen)" if way == "frozen" else "from scratch"
            axes.plot(sizes, value, color=color, marker=marker, markersize=5, label=name)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(sizes))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticklabels([str(size) for size in sizes])
        axes.yaxis.set_major_formatter(PERCENT)
        axes.set(ylim=(0, 1.02), xlabel="images of each class", ylabel="test accuracy")
        axes.legend(loc="lower right")
        label = "Test accuracy against images of each class, with and without transfer"
        return svg(figure, "curve", label)
