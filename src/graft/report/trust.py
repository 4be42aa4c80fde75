"""Sentences and a plot about what the numbers are worth beyond the test part."""

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from graft.report.inputs import Record
from graft.report.numbers import counted, percent, points, quoted, span, whole
from graft.report.plots import ACCENT, MUTED, PERCENT, SECOND, STYLE, svg


def again(metrics: Record) -> list[str]:
    """What other splits of the same pictures showed."""
    sentences = []
    if leak := metrics.get("leaky_split"):
        sentence = (
            f"{counted(leak['near'], 'picture has', 'pictures have')} near copies, which were kept "
            "in one part. A random split that ignores that would have tested "
            f"{counted(leak['test_seen'], 'picture')} whose copies were trained on"
        )
        if leak["accuracy"] is None:
            sentence += (
                f": {percent(leak['test_seen'] / leak['n'])} of its test part, too few to show."
            )
        else:
            apart = leak["accuracy"]["value"] - metrics["accuracy"]["value"]
            chance = _overlap(leak["accuracy"], metrics["accuracy"])
            sentence += (
                ", and the same model would have scored "
                f"{percent(leak['accuracy']['value'])} instead of "
                f"{percent(metrics['accuracy']['value'])} (a difference of {points(abs(apart))}"
                f"{', within chance' if chance else ''})."
            )
        sentences.append(sentence)
    if fold := metrics.get("folds"):
        accuracy = fold["accuracy"]
        sentences.append(
            f"In {fold['folds']}-fold cross-validation, where each of "
            f"{counted(fold['n'], 'picture')} is tested once, it named "
            f"{percent(accuracy['value'])} correctly, with a 95\u00a0% interval of "
            f"{span(accuracy['low'], accuracy['high'])}."
        )
    if repeat := metrics.get("repeats"):
        spread = repeat["standard_deviation"]
        sentences.append(
            f"With {counted(len(repeat['each']), 'other split')} and seeds it scored "
            f"{percent(repeat['mean'])} on average"
            + (f", with a standard deviation of {points(spread)}" if spread is not None else "")
            + "."
        )
    return sentences


def _overlap(one: Record, other: Record) -> bool:
    return bool(one["low"] <= other["high"] and other["low"] <= one["high"])


def more_data(found: Record) -> list[str]:
    """Whether more pictures would help, and of which class."""
    twice = found["ahead"][0]
    now = found["points"][-1]
    gain = twice["accuracy"] - now["accuracy"]
    sentences = [
        f"With {whole(now['pictures'])} training pictures it scored {percent(now['accuracy'])}; by "
        f"the curve through the points, {whole(twice['pictures'])} would give "
        f"{percent(twice['accuracy'])} (95\u00a0% band {span(twice['low'], twice['high'])}"
        f", {found['method']})."
    ]
    if twice["low"] > now["accuracy"]:
        sentences.append("More pictures like these would help.")
    elif gain < 0.005:
        sentences.append(
            "More pictures like these would hardly help: look at wrong labels, at other backbones, "
            "or train deeper (--unfreeze)."
        )
    else:
        sentences.append("Whether more pictures like these would help cannot be told yet.")
    if first := found["next"][:1]:
        row = first[0]
        sentences.append(
            f"Photograph {quoted(row['class'])} next: {percent(row['recall'])} of it is found, and "
            f"more pictures have brought it {points(max(row['gained'], 0.0))} lately."
        )
    return sentences


def slices(rows: list[Record]) -> str:
    """The slices that are worse than the rest."""
    worse = [row for row in rows if row["worse"]]
    if not worse:
        kinds = dict.fromkeys(row["quantity"] for row in rows)
        return f"No part of the test pictures by {', '.join(kinds)} stands out."
    told = "; ".join(
        f"{percent(row['accuracy'])} of the {whole(row['n'])} pictures with {slice_name(row)}"
        for row in worse
    )
    return f"It is worse where the pictures have something in common: {told}."


def slice_name(row: Record) -> str:
    """`the lowest third of size`, `camera “Canon EOS”`."""
    if row["value"].endswith(" third"):
        return f"the {row['value']} of {row['quantity']}"
    return f"{row['quantity']} {quoted(row['value'])}"


@mpl.rc_context(STYLE)
def curve_plot(found: dict[str, Any]) -> str:
    """Accuracy against the number of training pictures, with the curve and the band ahead."""
    figure = Figure(figsize=(4.9, 3.3))
    figure.subplots_adjust(left=0.145, right=0.955, top=0.95, bottom=0.16)
    axes = figure.subplots()
    sizes = [point["pictures"] for point in found["points"]]
    axes.plot(
        sizes,
        [point["accuracy"] for point in found["points"]],
        linestyle="",
        marker="o",
        markersize=4,
        color=ACCENT,
    )
    curve = found["curve"]
    reach = np.geomspace(min(sizes), found["ahead"][-1]["pictures"], 60)
    axes.plot(
        reach,
        1 - curve["floor"] - curve["scale"] * reach ** -curve["exponent"],
        color=MUTED,
        linewidth=1.2,
    )
    for point in found["ahead"]:
        value = point["accuracy"]
        axes.errorbar(
            point["pictures"],
            value,
            yerr=[[value - point["low"]], [point["high"] - value]],
            color=SECOND,
            marker="o",
            markersize=4,
            markerfacecolor="none",
            capsize=3,
        )
    axes.set_xscale("log")
    ticks = sorted({*sizes, *(point["pictures"] for point in found["ahead"])})
    axes.set_xticks(ticks, minor=False)
    axes.minorticks_off()
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_xlabel("training pictures")
    axes.set_ylabel("accuracy on test")
    return svg(
        figure, "learning-curve", f"Accuracy with {sizes[0]} to {sizes[-1]} training pictures."
    )
