"""The plots of a run's report, as SVG."""

import base64
import html
import io
import math
import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from graft.report.numbers import counted, decimal, measured, percent, whole
from graft.report.plot_style import (
    ACCENT,
    INK,
    MUTED,
    PAGE_COLORS,
    PERCENT,
    RIGHT_RGB,
    RULE,
    SECOND,
    STYLE,
    WRONG_RGB,
    svg,
)
from graft.report.run_tables import best_epoch
from graft.runs.run import Record

LEAST_SPAN = 0.05  # of the accuracy axis
FEW = 10  # a bin with fewer images says little about its accuracy


@mpl.rc_context(STYLE)
def training_curves(history: Sequence[Record], kept: int | None = None) -> str:
    """Loss and accuracy of training and validation over the epochs. Marks the epoch whose weights
    were kept, and where fine-tuning began.
    """
    figure = Figure(figsize=(4.9, 4.7))
    figure.subplots_adjust(left=0.145, right=0.955, top=0.925, bottom=0.095, hspace=0.16)
    both = figure.subplots(2, sharex=True)
    _draw_curves(both, history)
    label = f"Loss and accuracy over {counted(len(history), 'epoch')}."
    label += _mark_fine_tuning(both, history)
    label += _mark_best(both, best_epoch(history, kept))
    return svg(figure, "curves", label)


def _draw_curves(both: Any, history: Sequence[Record]) -> None:
    above, below = both
    epochs = [row["epoch"] for row in history]
    for axes, measure in ((above, "loss"), (below, "accuracy")):
        for split, name, color in (("train", "training", SECOND), ("val", "validation", ACCENT)):
            values = [measured(row.get(f"{split}_{measure}")) for row in history]
            axes.plot(
                epochs,
                [math.nan if value is None else value for value in values],
                color=color,
                label=name,
                marker="o" if len(epochs) < 12 else "",
                markersize=4,
                linestyle="-" if split == "val" else (0, (4, 1.6)),
            )
        axes.set_ylabel(measure)
        axes.yaxis.set_label_coords(-0.13, 0.5)
    below.set_xlabel("epoch")
    below.yaxis.set_major_formatter(PERCENT)
    below.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    low, high = below.get_ylim()
    if high - low < LEAST_SPAN:  # else a tiny change would look like a leap
        below.set_ylim((low + high - LEAST_SPAN) / 2, (low + high + LEAST_SPAN) / 2)
    margin = max(0.4, 0.015 * len(epochs))
    below.set_xlim(epochs[0] - margin, epochs[-1] + margin)
    above.legend(loc="lower left", bbox_to_anchor=(-0.02, 0.98), ncols=2, borderpad=0)


def _mark_fine_tuning(both: Any, history: Sequence[Record]) -> str:
    """Draw a line where the stage changes; what it shows, as a sentence."""
    below, said = both[1], ""
    for before, row in pairwise(history):
        if row.get("stage") == before.get("stage"):
            continue
        for axes in both:
            axes.axvline(before["epoch"] + 0.5, color=RULE, linewidth=1.2)
        below.text(
            before["epoch"] + 0.5,
            0.03,
            "  fine-tuning",
            transform=below.get_xaxis_transform(),
            color=MUTED,
            fontsize=8,
        )
        said += f" Fine-tuning begins at epoch {row['epoch']}, of {len(history)}."
    return said


def _mark_best(both: Any, best: Record | None) -> str:
    """Draw a line at the epoch that was kept; what it shows, as a sentence."""
    if best is None:
        return ""
    above = both[0]
    for axes in both:
        axes.axvline(best["epoch"], color=MUTED, linewidth=0.9, linestyle=(0, (1, 2)))
    # Right-aligned in the margin: at the line itself it would meet the legend or the curves.
    above.text(
        1,
        1.045,
        f"best: epoch {best['epoch']}",
        ha="right",
        transform=above.transAxes,
        color=MUTED,
    )
    lowest = decimal(best["val_loss"])
    return f" The weights kept are those of epoch {best['epoch']}, validation loss {lowest}."


@mpl.rc_context(STYLE)
def reliability_diagram(reliability: Sequence[Record], ece: float | None) -> str:
    """The reliability diagram: accuracy against predicted probability in each bin, above the number
    of images in it.
    """
    figure = Figure(figsize=(4.9, 4.7))
    figure.subplots_adjust(left=0.145, right=0.955, top=0.94, bottom=0.095, hspace=0.1)
    above, below = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    filled = [row for row in reliability if row["n"]]
    above.plot((0, 1), (0, 1), color=INK, linewidth=0.9, linestyle=(0, (4, 3)), zorder=3)
    above.text(0, 1.03, "dashed: perfectly calibrated", color=MUTED, transform=above.transAxes)
    for row in filled:
        width, middle = row["high"] - row["low"], (row["high"] + row["low"]) / 2
        alpha = 0.35 if row["n"] < FEW else 0.9
        above.bar(middle, row["accuracy"], 0.94 * width, color=ACCENT, alpha=alpha, linewidth=0)
        below.bar(middle, row["n"], 0.94 * width, color=MUTED, alpha=0.45, linewidth=0)
        if width > 0.04:
            below.annotate(
                whole(row["n"]),
                (middle, row["n"]),
                (0, 1.5),
                textcoords="offset points",
                ha="center",
                fontsize=7.5,
                color=MUTED,
            )
    for axes in (above, below):
        axes.yaxis.set_label_coords(-0.13, 0.5)
    above.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="accuracy")
    below.set(ylim=(0, 1.22 * max([row["n"] for row in filled], default=1)), ylabel="images")
    below.set_xlabel("predicted probability")
    for axis in (above.yaxis, below.xaxis):
        axis.set_major_formatter(PERCENT)
    below.yaxis.set_major_locator(MaxNLocator(3, integer=True, prune="lower"))
    label = (
        f"Predicted probability against accuracy in {counted(len(filled), 'bin')}; "
        f"expected calibration error {percent(ece)}."
    )
    return svg(figure, "reliability", label)


def confusion_matrix(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> str:
    """The confusion matrix without numbers: one square for each pair of classes, stronger for a
    larger fraction of the row.

    Drawn by hand because class names come in every script: the browser has the glyphs, matplotlib
    warns.
    """
    counts = np.asarray(confusion, dtype=np.float64).reshape(len(classes), len(classes))
    fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    right = np.eye(len(classes), dtype=bool)
    cells = np.empty((*fractions.shape, 4), dtype=np.uint8)
    cells[..., :3] = np.where(right[..., None], RIGHT_RGB, WRONG_RGB)
    cells[..., 3] = np.round(255 * np.sqrt(fractions))  # the root keeps single mistakes visible
    side, left, top = 440, 132, 8
    # Enlarged here and not by the viewer: printers and PDF readers smooth small images.
    scale = math.ceil(side / len(classes))
    grid = Image.fromarray(cells).resize((scale * len(classes),) * 2, Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    grid.save(buffer, "PNG")
    drawing = [
        f'<image x="{left}" y="{top}" width="{side}" height="{side}" '
        f'href="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode("ascii")}"/>',
        f'<rect x="{left}" y="{top}" width="{side}" height="{side}" fill="none" '
        f'style="stroke: {PAGE_COLORS[RULE]}"/>',
    ]
    step = math.ceil(len(classes) / 30)
    for i in range(0, len(classes), step):
        middle = (i + 0.5) * side / len(classes)
        name = f"{html.escape(_clipped(classes[i]))}<title>{html.escape(classes[i])}</title>"
        for place in (
            f"translate({left - 6} {top + middle + 4:.1f})",
            f"translate({left + middle + 4:.1f} {top + side + 6}) rotate(-90)",
        ):
            drawing.append(f'<text transform="{place}" text-anchor="end">{name}</text>')
    label = f"Confusion matrix of {counted(len(classes), 'class', 'classes')}, true class by row."
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + side + 8} '
        f'{top + side + left}" role="img" aria-label="{label}" font-size="11" '
        f'style="fill: {PAGE_COLORS[MUTED]}">{"".join(drawing)}</svg>'
    )


def _clipped(name: str, width: int = 17) -> str:
    """The name, cut to about `width` Latin letters."""
    used = 0
    for i, letter in enumerate(name):
        used += 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        if used > width:
            return name[:i] + "…"
    return name
