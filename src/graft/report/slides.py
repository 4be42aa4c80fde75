"""A comparison as slides: a PDF with one message on each slide, drawn by matplotlib."""

import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from graft.evaluation.comparison import ComparedRun, Comparison
from graft.report import comparison_plots as plots
from graft.report import comparison_sentences as sentences
from graft.report import run_tables
from graft.report.numbers import counted, percent
from graft.report.plot_style import frame
from graft.report.thumbnails import square
from graft.runs.run import Run
from graft.utils.user_files import replacing_own

SIZE = (13.333, 7.5)  # inches: 16 to 9
INK, MUTED, RULE = "#1d2723", "#5c6963", "#d9e0dc"
STYLE = frame(INK, MUTED, RULE) | {
    "font.size": 13,
    "pdf.fonttype": 42,  # text that can be searched and copied
}
SERIF = "DejaVu Serif"
WRAP, NOTE, TITLE = 84, 130, 52  # letters in a line of text, of a note, of a title
TILE = 240  # the side of an image in pixels
FIGURES = ("accuracy", "precision", "recall", "F1", "ECE")
COLUMNS = ("model", *FIGURES, "parameters", "training", "images/s", "size")


@dataclass(frozen=True)
class Slide:
    """A slide: its title, a note below it, and what draws the rest."""

    title: str
    note: str
    draw: Callable[[Figure], None]


@mpl.rc_context(STYLE)
def write_slides(comparison: Comparison, out: Path) -> None:
    """Write the slides as a PDF, all or nothing. Images whose files are gone are left blank."""
    slides = [*_results(comparison), *_details(comparison), *_conclusions(comparison)]
    described = {"Title": "graft comparison", "Creator": "graft"}
    with replacing_own(out) as beside, PdfPages(beside, metadata=described) as pdf:
        for number, slide in enumerate(slides, 1):
            figure = Figure(figsize=SIZE)
            size = min(27.0, 27.0 * TITLE / len(slide.title))
            figure.text(0.06, 0.9, slide.title, fontsize=size, fontfamily=SERIF, color=INK)
            said = textwrap.fill(slide.note, NOTE)
            figure.text(0.06, 0.875, said, fontsize=13, color=MUTED, va="top", linespacing=1.3)
            page = f"graft · {number} of {len(slides)}"
            figure.text(0.94, 0.03, page, fontsize=10, color=MUTED, ha="right")
            slide.draw(figure)
            pdf.savefig(figure)


def _results(comparison: Comparison) -> list[Slide]:
    """The data and the figures of every model."""
    first, best = comparison.runs[0].run, comparison.best
    images = counted(len(first.images), "image")
    n = counted(comparison.n, "test image")
    margin = min(0.45, 0.08 + 0.0075 * max(map(len, comparison.names)))  # for the longest name
    return [
        Slide(
            f"{images}, {counted(len(first.classes), 'class', 'classes')}",
            f"{_source(first.config)}. {sentences.the_images(comparison)}",
            lambda figure: _samples(figure, first),
        ),
        Slide(
            f"{best.name} has the highest accuracy: {percent(best.accuracy['value'])}",
            f"With 95 % intervals ({best.accuracy['method'].removesuffix(', 95 %')}) on {n}.",
            lambda figure: plots.draw_accuracies(_axes(figure, left=margin), comparison),
        ),
        Slide(
            "Results",
            "In %, with the 95 % interval below. Precision, recall and F1 are means over the "
            "classes. ECE is the average gap between predicted probability and accuracy. Training "
            "time: to compute features, and to fit.",
            lambda figure: _table(figure, [cells(run) for run in comparison.runs]),
        ),
    ]


def _details(comparison: Comparison) -> list[Slide]:
    """How models learned, and where they differ."""
    slides = [
        Slide(
            "Training",
            "Validation accuracy over the seconds of training.",
            lambda figure: plots.draw_curves(_axes(figure), comparison),
        ),
        Slide(
            "F1 by class",
            "The classes with the lowest F1 come first.",
            lambda figure: _f1(figure, comparison),
        ),
        Slide(
            "Confusion matrix",
            "Rows: the true class. Columns: the predicted class. Green is correct, rust is a "
            "mistake.",
            lambda figure: _confusions(figure, comparison),
        ),
    ]
    others = "The other model is" if len(comparison.runs) == 2 else "All other models are"
    for compared, images in comparison.correct_alone():
        if images:
            slides.append(
                Slide(
                    f"Only {compared.name} gets {counted(len(images), 'image')} right",
                    f"{others} wrong about these.",
                    partial(_images, run=comparison.runs[0].run, chosen=images[:10]),
                )
            )
    return slides


def _conclusions(comparison: Comparison) -> list[Slide]:
    """Cost, tests and conclusion."""
    verdicts = [sentences.the_verdict(pair, comparison.names) for pair in comparison.pairs]
    return [
        Slide(
            "Accuracy and cost",
            "Total training time and size on disk, on logarithmic axes.",
            lambda figure: _costs(figure, comparison),
        ),
        Slide(
            "Are the differences real?",
            sentences.the_tests(comparison),
            lambda figure: _write(figure, verdicts),
        ),
        Slide(
            "Conclusion",
            "",
            lambda figure: _write(figure, sentences.the_conclusion(comparison)),
        ),
    ]


def _source(config: Mapping[str, Any]) -> str:
    return Path(str(config.get("source", ""))).name or "The data"


def _axes(figure: Figure, left: float = 0.1, width: float | None = None) -> Any:
    return figure.add_axes((left, 0.14, width or 0.94 - left, 0.64))


def _samples(figure: Figure, run: Run) -> None:
    images = run.images
    counts = run_tables.spread(run_tables.class_counts(images), 8)
    for r, row in enumerate(counts):
        paths = run_tables.samples(images, row.name, 6)
        column, line = divmod(r, 4)
        left, top = 0.06 + 0.46 * column, 0.79 - 0.19 * (line + 1)
        figure.text(left, top + 0.08, f"{row.name}\n{row.total:,}", fontsize=11, va="center")
        for c, path in enumerate(paths[:5]):
            _tile(figure, run.files.get(path), (left + 0.11 + 0.066 * c, top, 0.062, 0.17))


def _tile(figure: Figure, file: Path | None, box: tuple[float, float, float, float]) -> None:
    axes = figure.add_axes(box)
    axes.axis("off")
    if small := square(file, TILE):
        axes.imshow(small)
    else:
        axes.text(0.5, 0.5, "file is gone", ha="center", color=MUTED)


def cells(compared: ComparedRun) -> dict[str, str]:
    """A row of the slides' table: each figure with its small print on the next line."""
    figures, under = sentences.cells(compared), sentences.small_print(compared)
    under |= {"parameters": f"{figures['trained']} trained", "training": f"{figures['fit']} fit"}
    cached = f" ({under['features']})" if "features" in under else ""
    figures["training"] = f"{figures['features']} features{cached}"
    found = {name: figures[name] for name in COLUMNS}
    both = {name: f"{v}\n{under[name]}" if name in under else v for name, v in found.items()}
    plain = {name: text.replace("\u00a0%", "") for name, text in both.items()}
    return plain | {"model": compared.name.replace(" (", "\n(")}


def _table(figure: Figure, rows: list[dict[str, str]]) -> None:
    left, width = 0.06, 0.88
    axes = figure.add_axes((left, 0.12, width, 0.66))
    axes.axis("off")
    letters = [
        max(len(line) for row in rows for line in [name, *row[name].split("\n")]) + 2
        for name in COLUMNS
    ]
    height = min(1.0, 0.13 * (len(rows) + 1))
    table = axes.table(
        [[row[name] for name in COLUMNS] for row in rows],
        colLabels=list(COLUMNS),
        colWidths=[count / sum(letters) for count in letters],
        bbox=(0, 1 - height, 1, height),  # type: ignore[arg-type]
        cellLoc="right",
        colLoc="right",
        edges="horizontal",
    )
    table.auto_set_font_size(False)
    # A letter is about 0.57 of its height wide, a point 1/72 inch.
    table.set_fontsize(min(12.0, width * SIZE[0] * 72 / (0.57 * sum(letters))))
    for (line, column), cell in table.get_celld().items():
        cell.set_edgecolor(RULE)
        cell.PAD = 1 / letters[column]  # a letter
        if column == 0:
            cell.get_text().set_horizontalalignment("left")
        if line == 0:
            cell.get_text().set_color(MUTED)


def _f1(figure: Figure, comparison: Comparison) -> None:
    axes = _axes(figure)
    plots.draw_f1(axes, comparison)
    figure.legend(loc="lower center", bbox_to_anchor=(0.5, 0.02), ncols=4, fontsize=11)


def _confusions(figure: Figure, comparison: Comparison) -> None:
    count = len(comparison.runs)
    columns = count if count < 5 else (count + 1) // 2
    lines = -(-count // columns)
    for i, row in enumerate(comparison.runs):
        line, column = divmod(i, columns)
        width, height = 0.86 / columns, 0.68 / lines
        axes = figure.add_axes(
            (0.09 + column * width, 0.1 + (lines - 1 - line) * height, 0.78 * width, 0.8 * height)
        )
        size = 11 if len(row.run.classes) < 13 else 7
        plots.draw_confusion(axes, row.run.metrics["confusion"], row.run.classes, size)
        axes.set_title(row.name, fontsize=12, color=INK)
        if column:
            axes.set_yticklabels([])


def _images(figure: Figure, run: Run, chosen: list[tuple[str, str]]) -> None:
    for i, (path, label) in enumerate(chosen):
        line, column = divmod(i, 5)
        left, bottom = 0.06 + 0.178 * column, 0.48 - 0.37 * line
        _tile(figure, run.files.get(path), (left, bottom, 0.165, 0.29))
        figure.text(left + 0.0825, bottom - 0.025, label, fontsize=12, ha="center")


def _costs(figure: Figure, comparison: Comparison) -> None:
    left, right = _axes(figure, 0.1, 0.39), _axes(figure, 0.55, 0.39)
    plots.draw_against(left, comparison, plots.total_seconds, "total training time, seconds")
    plots.draw_against(right, comparison, plots.megabytes, "size on disk, megabytes")
    right.set_ylabel("")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="lower center", bbox_to_anchor=(0.5, 0.02), ncols=4, fontsize=11
    )


def _write(figure: Figure, lines: list[str]) -> None:
    count = sum(len(textwrap.wrap(line, WRAP)) + 1 for line in lines)
    size = 19 if count < 14 else 12
    text = "\n\n".join(textwrap.fill(line, WRAP * 19 // size) for line in lines)
    figure.text(0.06, 0.78, text, fontsize=size, va="top", linespacing=1.35)
