"""A comparison's plots. The page and the slides bring the axes to draw on."""

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from graft.evaluation.comparison import ComparedRun, Comparison
from graft.report.numbers import counted
from graft.report.plot_style import PERCENT, RIGHT_RGB, STYLE, WRONG_RGB, svg

# Distinct for color-blind readers too (Okabe & Ito 2008), legible on light and on dark.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS = ("o", "s", "^", "D", "v", "P")
MOST_CLASSES = 20


def color(i: int) -> str:
    """The color of model i."""
    return COLORS[i % len(COLORS)]


def draw_accuracies(axes: Any, comparison: Comparison) -> None:
    """Each model's accuracy as a point with its 95 % interval."""
    for i, row in enumerate(comparison.runs):
        accuracy = row.accuracy
        axes.plot(
            (accuracy["low"], accuracy["high"]),
            (i, i),
            color=color(i),
            linewidth=5,
            alpha=0.35,
            solid_capstyle="round",
        )
        axes.plot(accuracy["value"], i, "o", color=color(i), markersize=7)
    axes.set_yticks(range(len(comparison.runs)), [row.name for row in comparison.runs])
    axes.set_ylim(len(comparison.runs) - 0.5, -0.5)
    axes.xaxis.set_major_formatter(PERCENT)
    axes.set_xlabel("accuracy on the test split, 95 % interval")
    axes.grid(visible=False, axis="y")


def draw_curves(axes: Any, comparison: Comparison) -> None:
    """Validation accuracy over the seconds spent training."""
    for i, row in enumerate(comparison.runs):
        spent = np.cumsum([line.get("seconds") or 0.0 for line in row.run.history])
        values = [line.get("val_accuracy") for line in row.run.history]
        axes.plot(
            spent,
            values,
            color=color(i),
            marker=MARKERS[i % len(MARKERS)],
            markersize=3.5,
            linewidth=1.5,
            label=row.name,
        )
    # From a tenth of a second to an hour on one axis.
    _log(axes)
    axes.set_xlabel("seconds of training (without computing features)")
    axes.set_ylabel("validation accuracy")
    axes.yaxis.set_major_formatter(PERCENT)
    axes.legend(loc="lower right", fontsize="small")


def draw_f1(axes: Any, comparison: Comparison) -> None:
    """F1 of each class with its 95 % interval, a point for each model; the
    lowest classes first.
    """
    first = comparison.runs[0].run
    scores, lows, highs = (
        np.array(
            [
                [row.run.metrics["per_class"][name][key] for name in first.classes]
                for row in comparison.runs
            ]
        )
        for key in ("f1", "f1_low", "f1_high")
    )  # (M, K) each
    order = np.argsort(scores.mean(0))[:MOST_CLASSES]
    # Points and no bars: an axis that does not begin at 0 would make bars lie.
    width = 0.6 / len(comparison.runs)
    for i, row in enumerate(comparison.runs):
        value = scores[i, order]
        axes.errorbar(
            np.arange(len(order)) + (i - (len(comparison.runs) - 1) / 2) * width,
            value,
            (value - lows[i, order], highs[i, order] - value),
            color=color(i),
            ecolor=(color(i), 0.35),
            elinewidth=4,
            fmt=MARKERS[i % len(MARKERS)],
            markersize=6,
            label=row.name,
        )
    axes.set_xticks(
        range(len(order)),
        [first.classes[k] for k in order],
        rotation=0 if len(order) < 7 else 35,
        ha="center" if len(order) < 7 else "right",
    )
    axes.set_ylabel("F1")
    axes.yaxis.set_major_formatter(PERCENT)
    axes.grid(visible=False, axis="x")


def draw_against(
    axes: Any, comparison: Comparison, cost_of: Callable[[ComparedRun], float], label: str
) -> None:
    """Accuracy against what a model costs, on a logarithmic axis."""
    for i, row in enumerate(comparison.runs):
        if not (cost := cost_of(row)):
            continue
        accuracy = row.accuracy
        axes.plot(
            (cost, cost),
            (accuracy["low"], accuracy["high"]),
            color=color(i),
            alpha=0.35,
            linewidth=4,
            solid_capstyle="round",
        )
        axes.plot(
            cost,
            accuracy["value"],
            MARKERS[i % len(MARKERS)],
            color=color(i),
            markersize=7,
            label=row.name,
        )
    _log(axes)
    axes.set_xlabel(label)
    axes.set_ylabel("accuracy")
    axes.yaxis.set_major_formatter(PERCENT)


def _log(axes: Any) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def total_seconds(row: ComparedRun) -> float:
    """The total training time."""
    return row.seconds


def megabytes(row: ComparedRun) -> float:
    """The size of the weights on disk."""
    return row.bytes / 1e6


def draw_confusion(
    axes: Any, confusion: Sequence[Sequence[int]], classes: Sequence[str], size: float
) -> None:
    """A confusion matrix, rows = true class, colored by the fraction of the row; text of `size`
    points.
    """
    counts = np.asarray(confusion, float)
    fractions = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    image = np.ones((*fractions.shape, 3))
    hit, miss = np.array(RIGHT_RGB) / 255, np.array(WRONG_RGB) / 255
    for r in range(len(counts)):
        for c in range(len(counts)):
            strength = fractions[r, c] ** 0.5
            image[r, c] = 1 - strength * (1 - (hit if r == c else miss))
            if len(counts) <= 12 and counts[r, c]:
                axes.text(
                    c,
                    r,
                    f"{int(counts[r, c])}",
                    ha="center",
                    va="center",
                    fontsize=size,
                    color="white" if strength > 0.65 else "#1d2723",
                )
    axes.imshow(image)
    small = len(classes) <= 30
    axes.set_xticks(
        range(len(classes)) if small else [], classes if small else [], rotation=90, fontsize=size
    )
    axes.set_yticks(range(len(classes)) if small else [], classes if small else [], fontsize=size)
    axes.grid(visible=False)


@mpl.rc_context(STYLE)
def accuracies(comparison: Comparison) -> str:
    """`draw_accuracies`, for a page."""
    figure = Figure(figsize=(7.2, 0.75 + 0.42 * len(comparison.runs)), layout="constrained")
    draw_accuracies(figure.subplots(), comparison)
    return svg(figure, "accuracies", "Accuracy of each model with its 95 % interval.")


@mpl.rc_context(STYLE)
def training_progress(comparison: Comparison) -> str:
    """`draw_curves`, for a page."""
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    draw_curves(figure.subplots(), comparison)
    label = f"Validation accuracy of {counted(len(comparison.runs), 'model')} over training time."
    return svg(figure, "learning", label)


@mpl.rc_context(STYLE)
def f1_by_class(comparison: Comparison) -> str:
    """`draw_f1`, for a page."""
    figure = Figure(figsize=(7.2, 3.3), layout="constrained")
    axes = figure.subplots()
    draw_f1(axes, comparison)
    figure.legend(loc="outside upper left", ncols=4, fontsize=8)
    return svg(figure, "f1", "F1 of each class, models side by side.")


@mpl.rc_context(STYLE)
def accuracy_against_cost(comparison: Comparison) -> str:
    """Accuracy against training time and against size, side by side, for a page."""
    figure = Figure(figsize=(7.2, 3.1), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    draw_against(left, comparison, total_seconds, "total training time, seconds")
    draw_against(right, comparison, megabytes, "size on disk, megabytes")
    right.set_ylabel("")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=4, fontsize=8)
    return svg(figure, "cost", "Accuracy against training time and size on disk.")
