"""The comparison as slides: a PDF, one point a slide, drawn by matplotlib."""

import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from graft.report import comparison_plots as plots
from graft.report import run_tables
from graft.report.numbers import counted, percent
from graft.report.plots import frame
from graft.report.thumbnails import square
from graft.utils.files import replacing

if TYPE_CHECKING:
    from graft.report.comparison_page import Comparison, Row

SIZE = (13.333, 7.5)  # inches: 16 to 9
INK, MUTED, RULE = "#1d2723", "#5c6963", "#d9e0dc"
STYLE = frame(INK, MUTED, RULE) | {
    "font.size": 13,
    "pdf.fonttype": 42,  # text that can be searched and copied
}
WRAP, NOTE, TITLE = 84, 130, 52  # letters a line of text, of a note, of a title
TILE = 240  # pixels a side of an image
FIGURES = ("accuracy", "precision", "recall", "F1", "ECE")
COLUMNS = ("model", *FIGURES, "parameters", "training", "images/s", "size")


@mpl.rc_context(STYLE)
def write_slides(comparison: "Comparison", out: Path, files: Mapping[str, Path]) -> None:
    """Write the PDF, all or nothing: the data, the models, how they learned, where they differ,
    what follows.
    """
    from graft.report.comparison_page import alone_right
    from graft.report.comparison_words import conclusion, tests, training, verdict

    first = comparison.rows[0].run
    names = [row.name for row in comparison.rows]
    n = counted(len(first.tested), "test image")
    best = max(comparison.rows, key=lambda row: row.run.metrics["accuracy"]["value"])
    accuracy = best.run.metrics["accuracy"]
    margin = min(0.45, 0.08 + 0.0075 * max(map(len, names)))  # room for the longest name
    pages: list[tuple[str, str, Callable[[Figure], None]]] = [
        (
            f"{counted(len(first.images), 'image')}, "
            f"{counted(len(first.classes), 'class', 'classes')}",
            f"{_source(first.config)}. {training(comparison)}",
            lambda figure: _samples(figure, comparison, files),
        ),
        (
            f"{best.name} has the highest accuracy, {percent(accuracy['value'])}",
            f"Intervals: {accuracy['method']}, on {n}.",
            lambda figure: plots.draw_accuracies(_axes(figure, left=margin), comparison),
        ),
        (
            "The figures",
            "In %, with the 95 % interval below. Precision, recall and F1 are means over the "
            "classes; ECE is how far stated probabilities lie from the truth. Features and fit are "
            "the two splits of the training time.",
            lambda figure: _table(figure, [cells(row) for row in comparison.rows]),
        ),
        (
            "How they learned",
            "Validation accuracy over the seconds of fitting.",
            lambda figure: plots.draw_curves(_axes(figure), comparison),
        ),
        (
            "F1 by class",
            "The classes that are hardest for all come first.",
            lambda figure: _f1(figure, comparison),
        ),
        (
            "What was taken for what",
            "Rows: the true class; columns: what it was called. Green is right, rust is wrong.",
            lambda figure: _confusions(figure, comparison),
        ),
    ]
    for row, places in alone_right(comparison):
        if places:
            chosen = [(first.tested[i], first.classes[first.labels[i]]) for i in places[:10]]
            pages.append(
                (
                    f"Only {row.name} gets {counted(len(places), 'image')} right",
                    "All other models give these another name.",
                    lambda figure, chosen=chosen: _images(figure, chosen, files),  # type: ignore[misc]
                )
            )
    pages += [
        (
            "What accuracy costs",
            "Time to train, all in all, and size on disk; both axes in powers of ten.",
            lambda figure: _costs(figure, comparison),
        ),
        (
            "Which differences are real",
            f"{tests(comparison)}; Holm's correction for their number.",
            lambda figure: _sentences(figure, [verdict(p, names) for p in comparison.pairs]),
        ),
        ("Conclusion", "", lambda figure: _sentences(figure, conclusion(comparison))),
    ]
    with replacing(out) as beside, PdfPages(beside, metadata={"Title": "graft comparison"}) as pdf:
        for number, (title, note, draw) in enumerate(pages, 1):
            figure = Figure(figsize=SIZE)
            size = min(27.0, 27.0 * TITLE / len(title))
            figure.text(0.06, 0.9, title, fontsize=size, fontfamily="DejaVu Serif", color=INK)
            said = textwrap.fill(note, NOTE)
            figure.text(0.06, 0.875, said, fontsize=13, color=MUTED, va="top", linespacing=1.3)
            figure.text(
                0.94,
                0.03,
                f"graft · {number} of {len(pages)}",
                fontsize=10,
                color=MUTED,
                ha="right",
            )
            draw(figure)
            pdf.savefig(figure)


def _source(config: Mapping[str, Any]) -> str:
    return Path(str(config.get("source", ""))).name or "The data"


def _axes(figure: Figure, left: float = 0.1, width: float | None = None) -> Any:
    return figure.add_axes((left, 0.14, width or 0.94 - left, 0.64))


def _samples(figure: Figure, comparison: "Comparison", files: Mapping[str, Path]) -> None:
    images = comparison.rows[0].run.images
    counts = run_tables.spread(run_tables.class_counts(images), 8)
    for r, row in enumerate(counts):
        paths = run_tables.samples(images, row.name, 6)
        column, line = divmod(r, 4)
        left, top = 0.06 + 0.46 * column, 0.79 - 0.19 * (line + 1)
        figure.text(left, top + 0.08, f"{row.name}\n{row.total:,}", fontsize=11, va="center")
        for c, path in enumerate(paths[:5]):
            _tile(figure, files.get(path), (left + 0.11 + 0.066 * c, top, 0.062, 0.17))


def _tile(figure: Figure, file: Path | None, box: tuple[float, float, float, float]) -> None:
    axes = figure.add_axes(box)
    axes.axis("off")
    if small := square(file, TILE):
        axes.imshow(small)
    else:
        axes.text(0.5, 0.5, "gone", ha="center", color=MUTED)


def cells(row: "Row") -> dict[str, str]:
    """A row of the slides' table, what belongs to a figure below it."""
    from graft.report.comparison_words import below, shown

    figures, under = shown(row), below(row)
    under |= {"parameters": f"{figures['trained']} trained", "training": f"{figures['fit']} fit"}
    cached = f" ({under['features']})" if "features" in under else ""
    figures["training"] = f"{figures['features']} features{cached}"
    found = {name: figures[name] for name in COLUMNS}
    cells = {name: f"{v}\n{under[name]}" if name in under else v for name, v in found.items()}
    return {name: text.replace("\u00a0%", "") for name, text in cells.items()} | {"model": row.name}


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


def _f1(figure: Figure, comparison: "Comparison") -> None:
    axes = _axes(figure)
    plots.draw_f1(axes, comparison)
    figure.legend(loc="lower center", bbox_to_anchor=(0.5, 0.02), ncols=4, fontsize=11)


def _confusions(figure: Figure, comparison: "Comparison") -> None:
    count = len(comparison.rows)
    columns = count if count < 5 else (count + 1) // 2
    lines = -(-count // columns)
    for i, row in enumerate(comparison.rows):
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


def _images(figure: Figure, chosen: list[tuple[str, str]], files: Mapping[str, Path]) -> None:
    for i, (path, label) in enumerate(chosen):
        line, column = divmod(i, 5)
        left, bottom = 0.06 + 0.178 * column, 0.48 - 0.37 * line
        _tile(figure, files.get(path), (left, bottom, 0.165, 0.29))
        figure.text(left + 0.0825, bottom - 0.025, label, fontsize=12, ha="center")


def _costs(figure: Figure, comparison: "Comparison") -> None:
    left, right = _axes(figure, 0.1, 0.39), _axes(figure, 0.55, 0.39)
    plots.draw_against(left, comparison, "time", "seconds to train")
    plots.draw_against(right, comparison, "size", "megabytes on disk")
    right.set_ylabel("")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="lower center", bbox_to_anchor=(0.5, 0.02), ncols=4, fontsize=11
    )


def _sentences(figure: Figure, sentences: list[str]) -> None:
    lines = sum(len(textwrap.wrap(sentence, WRAP)) + 1 for sentence in sentences)
    size = 19 if lines < 14 else 12
    text = "\n\n".join(textwrap.fill(sentence, WRAP * 19 // size) for sentence in sentences)
    figure.text(0.06, 0.78, text, fontsize=size, va="top", linespacing=1.35)
