"""The report's plots, as SVG to be put straight into a page.

Text stays text and colors are the page's own variables, so a plot follows the page's fonts and its
light or dark scheme. Nothing here needs pyplot, whose import and global state cost more than the
drawing.
"""

import base64
import html
import io
import math
import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from PIL import Image

from graft.report.numbers import counted, decimal, measured, percent, whole
from graft.report.run_files import Record
from graft.report.run_tables import best_epoch

# Stand-ins that matplotlib can parse, for page variables that it cannot; the second color is for
# a reader without the page's style sheet.
INK, MUTED, RULE, ACCENT, SECOND = "#010203", "#010204", "#010205", "#010206", "#010207"
PAGE_COLOURS = {
    INK: "var(--ink, #1d2723)",
    MUTED: "var(--muted, #5c6963)",
    RULE: "var(--rule, #d9e0dc)",
    ACCENT: "var(--accent, #0f6b5c)",
    SECOND: "var(--second, #b0762c)",
}


def frame(ink: str, muted: str, rule: str) -> dict[Any, Any]:
    """What all plots share, on a page and on a slide, in these colors."""
    return {
        "font.family": "DejaVu Sans",  # comes with matplotlib; a page's own font is used on display
        "axes.edgecolor": rule,
        "axes.labelcolor": muted,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": rule,
        "text.color": ink,
        "xtick.color": muted,
        "ytick.color": muted,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "legend.frameon": False,
    }


STYLE = frame(INK, MUTED, RULE) | {
    "font.size": 9,
    "svg.fonttype": "none",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.8,
}
PERCENT = FuncFormatter(lambda share, _: f"{100 * share:.4g}\u00a0%")
RIGHT_RGB, WRONG_RGB = (20, 124, 107), (190, 92, 44)  # legible on a light and on a dark page
LEAST_SPAN = 0.05  # of the accuracy axis
FEW = 10  # a bin with fewer images says little about its accuracy


@mpl.rc_context(STYLE)
def curves(history: Sequence[Record], kept: int | None = None) -> str:
    """Loss and accuracy of train and validation over the epochs, the kept epoch marked, and
    where fine-tuning began.
    """
    figure = Figure(figsize=(4.9, 4.7))
    figure.subplots_adjust(left=0.145, right=0.955, top=0.925, bottom=0.095, hspace=0.16)
    above, below = figure.subplots(2, sharex=True)
    epochs = [row["epoch"] for row in history]
    for axes, measure in ((above, "loss"), (below, "accuracy")):
        for split, name, color in (("train", "train", SECOND), ("val", "validation", ACCENT)):
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
    if high - low < LEAST_SPAN:  # else a hair's breadth of change would look like a leap
        below.set_ylim((low + high - LEAST_SPAN) / 2, (low + high + LEAST_SPAN) / 2)
    margin = max(0.4, 0.015 * len(epochs))
    below.set_xlim(epochs[0] - margin, epochs[-1] + margin)
    above.legend(loc="lower left", bbox_to_anchor=(-0.02, 0.98), ncols=2, borderpad=0)

    label = f"Loss and accuracy over {counted(len(epochs), 'epoch')}."
    stages = [row.get("stage") for row in history]
    for before, row in pairwise(history):
        if row.get("stage") != before.get("stage"):
            for axes in (above, below):
                axes.axvline(before["epoch"] + 0.5, color=RULE, linewidth=1.2)
            below.text(
                before["epoch"] + 0.5,
                0.03,
                "  fine-tuning",
                transform=below.get_xaxis_transform(),
                color=MUTED,
                fontsize=8,
            )
            label += f" Fine-tuning begins at epoch {row['epoch']}, of {len(stages)}."
    if best := best_epoch(history, kept):
        for axes in (above, below):
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
        label += f" The weights kept are those of epoch {best['epoch']}, validation loss {lowest}."
    return svg(figure, "curves", label)


@mpl.rc_context(STYLE)
def reliability_diagram(reliability: Sequence[Record], ece: float | None) -> str:
    """Accuracy against stated probability, bin by bin, above how many images each bin holds."""
    figure = Figure(figsize=(4.9, 4.7))
    figure.subplots_adjust(left=0.145, right=0.955, top=0.94, bottom=0.095, hspace=0.1)
    above, below = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    filled = [row for row in reliability if row["n"]]
    above.plot((0, 1), (0, 1), color=INK, linewidth=0.9, linestyle=(0, (4, 3)), zorder=3)
    above.text(
        0, 1.03, "dashed: the claim equals the truth", color=MUTED, transform=above.transAxes
    )
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
    above.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="share that was right")
    below.set(ylim=(0, 1.22 * max([row["n"] for row in filled], default=1)), ylabel="images")
    below.set_xlabel("probability it stated")
    for axis in (above.yaxis, below.xaxis):
        axis.set_major_formatter(PERCENT)
    below.yaxis.set_major_locator(MaxNLocator(3, integer=True, prune="lower"))
    label = (
        f"Stated probability against the share that was right, in {counted(len(filled), 'bin')}; "
        f"expected calibration error {percent(ece)}."
    )
    return svg(figure, "reliability", label)


def confusion_matrix(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> str:
    """The confusion matrix without numbers: a square a pair, stronger for a larger share.

    Drawn by hand because names come in every script: the browser has the glyphs, matplotlib warns.
    """
    counts = np.asarray(confusion, dtype=np.float64).reshape(len(classes), len(classes))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    right = np.eye(len(classes), dtype=bool)
    cells = np.empty((*shares.shape, 4), dtype=np.uint8)
    cells[..., :3] = np.where(right[..., None], RIGHT_RGB, WRONG_RGB)
    cells[..., 3] = np.round(255 * np.sqrt(shares))  # the root keeps single mistakes visible
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
        f'style="stroke: {PAGE_COLOURS[RULE]}"/>',
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
        f'style="fill: {PAGE_COLOURS[MUTED]}">{"".join(drawing)}</svg>'
    )


def _clipped(name: str, width: int = 17) -> str:
    """The name, cut to about `width` Latin letters."""
    used = 0
    for i, letter in enumerate(name):
        used += 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        if used > width:
            return name[:i] + "…"
    return name


def svg(figure: Figure, name: str, label: str) -> str:
    """The figure as an `<svg>` element that can stand beside others in one page."""
    buffer = io.StringIO()
    nobody = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata=nobody)
    _, _, root = buffer.getvalue().partition("<svg")
    attributes, _, body = root.partition(">")
    # matplotlib's <style> would apply to the whole page; its one rule is on the root element below.
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", body, flags=re.DOTALL)
    body = body.replace("xlink:href", "href")
    needed = set(re.findall(r'(?:href="|url\()#([^")]+)', body))
    body = re.sub(r' id="([^"]*)"', lambda m: m[0] if m[1] in needed else "", body)
    body = re.sub(r'( id="|href="#|url\(#)', rf"\1{name}-", body)
    for stand_in, color in PAGE_COLOURS.items():
        body = body.replace(stand_in, color)
    box = re.search(r'viewBox="[^"]*"', attributes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {box[0] if box else ""} role="img" '
        f'aria-label="{html.escape(label)}" '
        f'style="stroke-linejoin: round; stroke-linecap: butt">{body}'
    )
