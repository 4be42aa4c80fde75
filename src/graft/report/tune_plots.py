"""The plots of a search's page."""

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from graft.choices import FROM_SCRATCH
from graft.report.plot_style import ACCENT, MUTED, PERCENT, SECOND, STYLE, svg

Found = Mapping[str, Any]
# Learning curves that can still be told apart.
CURVES = 8
LEAST = 0.02  # the least range of accuracies that a plot is stretched to
SECONDS = FuncFormatter(lambda value, _: f"{value:g}")
KINDS = {"ridge": ("s", "ridge regression"), "fitted": ("o", "fitted head")}


def _kind(row: Mapping[str, Any]) -> tuple[str, str]:
    one = row["candidates"][0]
    if one["model"] in FROM_SCRATCH:
        return "v", "trained from scratch"
    if one["unfreeze"] != "none":
        return "^", "fine-tuned"
    if len(row["candidates"]) > 1:
        return "D", "average of heads"
    return KINDS[one["head"]]


def lowest_shown(found: Found) -> float:
    """The accuracy that the plot of all trials begins at: trials far behind the default, such as
    the ends of ridge paths, would press the others together.
    """
    rows = found["trials"]
    scores = [row["accuracy"] for row in rows]
    shown = min(rows[0]["accuracy"], rows[found["winner"]]["accuracy"])
    return float(max(min(scores) - 0.005, shown - max(0.05, max(scores) - shown)))


@mpl.rc_context(STYLE)
def accuracy_against_time(found: Found) -> str:
    """All trials by the seconds that each took, with the front of those that none beats."""
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    axes = figure.subplots()
    rows = found["trials"]
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(_kind(row), []).append(row)
    for (marker, label), some in groups.items():
        x = [max(row["seconds"], 1e-3) for row in some]
        y = [row["accuracy"] for row in some]
        axes.plot(x, y, marker, color=MUTED, markersize=4.5, alpha=0.55, label=label)
    front = [rows[m] for m in found["pareto"]]
    x = [max(row["seconds"], 1e-3) for row in front]
    axes.step(x, [row["accuracy"] for row in front], where="post", color=ACCENT, label="front")
    for m, name, color in ((0, "default", SECOND), (found["winner"], "winner", ACCENT)):
        row = rows[m]
        axes.plot(
            max(row["seconds"], 1e-3),
            row["accuracy"],
            "o",
            markersize=9,
            markerfacecolor="none",
            markeredgewidth=2,
            color=color,
            label=name,
        )
    axes.set_xscale("log")
    axes.set_ylim(bottom=lowest_shown(found))
    axes.xaxis.set_major_formatter(SECONDS)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_xlabel("seconds that a trial took, features not counted")
    axes.set_ylabel("accuracy, cross-validated")
    figure.legend(loc="outside upper left", ncols=4, fontsize=8)
    return svg(figure, "pareto", "Accuracy of all trials against the seconds that each took.")


@mpl.rc_context(STYLE)
def best_by_time(found: Found) -> str:
    """The best figure so far against the seconds of search."""
    figure = Figure(figsize=(7.2, 2.7), layout="constrained")
    axes = figure.subplots()
    steps = found["best_by_time"]
    end = max(found["search_seconds_of_all"], steps[-1]["at"])
    x = [*(step["at"] for step in steps), end]
    y = [*(step["accuracy"] for step in steps), steps[-1]["accuracy"]]
    axes.step(x, y, where="post", color=ACCENT)
    axes.plot(x[:-1], y[:-1], "o", color=ACCENT, markersize=4)
    axes.set_xlim(0, end * 1.02)
    middle, half = (min(y) + max(y)) / 2, max(LEAST, (max(y) - min(y)) * 1.1) / 2
    axes.set_ylim(middle - half, middle + half)
    axes.xaxis.set_major_formatter(SECONDS)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_xlabel("seconds of search")
    axes.set_ylabel("best accuracy so far")
    return svg(figure, "progress", "The best accuracy so far against the seconds of search.")


@mpl.rc_context(STYLE)
def importance(found: Found, names: Mapping[str, str]) -> str:
    """How much of the differences between trials each setting explains alone."""
    rows = found["importance"][::-1]
    figure = Figure(figsize=(7.2, 0.7 + 0.32 * len(rows)), layout="constrained")
    axes = figure.subplots()
    places = range(len(rows))
    axes.barh(places, [row["share"] for row in rows], color=ACCENT, height=0.55)
    axes.set_yticks(places, [names.get(row["setting"], row["setting"]) for row in rows])
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PERCENT)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("share of the differences between trials")
    return svg(figure, "importance", "How much each setting mattered.")


@mpl.rc_context(STYLE)
def learning_curves(found: Found) -> str:
    """Accuracy on val by epoch, of the best fitted trials; empty where none was fitted."""
    fitted = [row for row in found["trials"] if any(row["curves"])]
    best = sorted(fitted, key=lambda row: -row["accuracy"])[:CURVES]
    if not best:
        return ""
    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    axes = figure.subplots()
    for number, row in enumerate(best):
        curve = row["curves"][0]
        color = ACCENT if not number else MUTED
        axes.plot(
            range(1, len(curve) + 1),
            curve,
            color=color,
            marker="o",
            markersize=2.5,
            linewidth=2.0 if not number else 1.0,
            alpha=1.0 if not number else 0.5,
            label=("the best: " if not number else "") + row["described"] if number < 1 else None,
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_xlabel("epoch")
    axes.set_ylabel("accuracy on a fold's val")
    figure.legend(loc="outside upper left", fontsize=8)
    return svg(figure, "fitting", "Accuracy on val by epoch of the best trials.")


@mpl.rc_context(STYLE)
def images_curve(found: Found) -> str:
    """Accuracy against the number of images, with the fitted power law and its band."""
    curve = found["image_curve"]
    figure = Figure(figsize=(7.2, 3.0), layout="constrained")
    axes = figure.subplots()
    points, fitted = curve["points"], [*curve["fitted"], *curve["ahead"]]
    x = [row["images"] for row in fitted]
    axes.fill_between(
        x, [row["low"] for row in fitted], [row["high"] for row in fitted], color=ACCENT, alpha=0.15
    )
    axes.plot(x, [row["accuracy"] for row in fitted], color=ACCENT, label="fitted, 95 % band")
    axes.plot(
        [row["images"] for row in points],
        [row["accuracy"] for row in points],
        "o",
        color=SECOND,
        markersize=4,
        label="measured",
    )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_xlabel("images to learn from")
    axes.set_ylabel("accuracy of a ridge regression")
    figure.legend(loc="outside upper left", ncols=2, fontsize=8)
    return svg(figure, "images", "Accuracy against the number of images to learn from.")
