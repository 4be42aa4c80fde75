"""Sentences and a plot about what the numbers are worth beyond the test split."""

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from graft.report.numbers import counted, percent, points, quoted, span, whole
from graft.report.plots import ACCENT, MUTED, PERCENT, SECOND, STYLE, svg
from graft.report.run_files import Record

# A gain in accuracy that is worth twice as many images.
WORTH = 0.005


def again(metrics: Record) -> list[str]:
    """What other splits of the same images showed."""
    sentences = []
    if leak := metrics.get("leaky_split"):
        sentence = (
            f"{counted(leak['near'], 'image has', 'images have')} near copies, which were kept "
            "in one split. A random split that ignores that would have tested "
            f"{counted(leak['test_seen'], 'image')} whose copies were trained on"
        )
        if leak["accuracy"] is None:
            sentence += (
                f": {percent(leak['test_seen'] / leak['n'])} of its test split, too few to show."
            )
        else:
            one, other = leak["accuracy"], metrics["accuracy"]
            _, low, high = _difference(one, other)
            sentence += (
                f", and the same model would have scored {_interval(one)} instead of "
                f"{_interval(other)}: a difference of {_apart(one, other)}"
                f"{', which chance may have made' if low <= 0 <= high else ''}."
            )
        sentences.append(sentence)
    if fold := metrics.get("folds"):
        accuracy = fold["accuracy"]
        sentences.append(
            f"In {fold['folds']}-fold cross-validation, where each of "
            f"{counted(fold['n'], 'image')} is tested once, it named "
            f"{percent(accuracy['value'])} correctly, with a 95\u00a0% interval of "
            f"{span(accuracy['low'], accuracy['high'])}."
            + (
                f" The {counted(fold['left_out'], 'image')} of the test split that the source "
                "gives stayed out of it."
                if fold["left_out"]
                else ""
            )
        )
    if repeat := metrics.get("repeats"):
        each, n, spread = repeat["each"], repeat["n"], repeat["standard_deviation"]
        others = (
            f"{counted(len(each), 'other split')} and seeds"
            if repeat["what"] == "splits"
            else f"{counted(len(each), 'other seed')} on the same test images"
        )
        tested = whole(min(n)) if min(n) == max(n) else f"{whole(min(n))} to {whole(max(n))}"
        sentences.append(
            f"With {others} it scored {percent(repeat['mean'])} on average (95\u00a0% interval "
            f"{span(repeat['low'], repeat['high'])}, {repeat['method'].removesuffix(', 95 %')})"
            + (
                f": {span(min(each), max(each))}, a standard deviation of {points(spread)}"
                if spread is not None
                else ""
            )
            + f", on {tested} test images{' each' * (len(each) > 1)}."
        )
    return sentences


def _interval(share: Record) -> str:
    return (
        f"{percent(share['value'])} (95\u00a0% interval {span(share['low'], share['high'])}, "
        f"{share['method'].removesuffix(', 95 %')})"
    )


def _difference(one: Record, other: Record) -> tuple[float, float, float]:
    """One share less another, and its 95 % interval from theirs (Zou and Donner 2008, Statistics
    in Medicine 27, 1693-1702), as of different images: too wide where they have some in common.
    """
    value = one["value"] - other["value"]
    down = np.hypot(one["value"] - one["low"], other["high"] - other["value"])
    up = np.hypot(one["high"] - one["value"], other["value"] - other["low"])
    return value, max(-1.0, value - float(down)), min(1.0, value + float(up))


def _apart(one: Record, other: Record) -> str:
    """`+2.1 percentage points (95 % interval −0.4 to +4.6)`."""
    return _signed(*_difference(one, other))


def _signed(*ends: float) -> str:
    value, low, high = (f"{100 * end:+.1f}".replace("-", "−") for end in ends)
    return f"{value} percentage points (95\u00a0% interval {low} to {high})"


def more_data(found: Record) -> list[str]:
    """Whether more images would help, and of which class."""
    twice = found["ahead"][0]
    now = found["points"][-1]
    gain = twice["gain"]
    sentences = [
        f"With {whole(now['images'])} training images it scored {percent(now['accuracy'])} "
        f"(95\u00a0% interval {span(now['low'], now['high'])}, on {whole(found['n'])} test "
        f"images); by the curve through the points, {whole(twice['images'])} would give "
        f"{percent(twice['accuracy'])} (95\u00a0% band {span(twice['low'], twice['high'])}"
        f", {found['method']}): a gain of {_signed(gain['value'], gain['low'], gain['high'])}."
    ]
    if gain["low"] > WORTH:
        sentences.append("More images like these would help.")
    elif gain["high"] < WORTH:
        sentences.append(
            "More images like these would hardly help: look at wrong labels, at other backbones, "
            "or train deeper (--unfreeze)."
        )
    else:
        sentences.append("Whether more images like these would help cannot be told yet.")
    if first := found["next"][:1]:
        row = first[0]
        sentences.append(
            f"Photograph {quoted(row['class'])} next: {percent(row['recall'])} of it is found (95"
            f"\u00a0% interval {span(row['low'], row['high'])}, on "
            f"{counted(row['n'], 'test image')}), and the last doublings of images changed "
            f"that by {_apart(row | {'value': row['recall']}, row['before'])}."
        )
    return sentences


def slices(rows: list[Record]) -> str:
    """The slices that are worse than the rest."""
    worse = [row for row in rows if row["worse"]]
    if not worse:
        kinds = dict.fromkeys(row["quantity"] for row in rows)
        return f"No split of the test images by {', '.join(kinds)} stands out."
    told = "; ".join(
        f"{percent(row['accuracy'])} of the {whole(row['n'])} images with {slice_name(row)}"
        for row in worse
    )
    return f"It is worse where the images have something in common: {told}."


def slice_name(row: Record) -> str:
    """`the lowest third of size`, `camera “Canon EOS”`."""
    if row["value"].endswith(" third"):
        return f"the {row['value']} of {row['quantity']}"
    return f"{row['quantity']} {quoted(row['value'])}"


@mpl.rc_context(STYLE)
def curve_plot(found: dict[str, Any]) -> str:
    """Accuracy against the number of training images, with the curve and the band ahead."""
    figure = Figure(figsize=(4.9, 3.3))
    figure.subplots_adjust(left=0.145, right=0.955, top=0.95, bottom=0.16)
    axes = figure.subplots()
    sizes = [point["images"] for point in found["points"]]
    axes.plot(
        sizes,
        [point["accuracy"] for point in found["points"]],
        linestyle="",
        marker="o",
        markersize=4,
        color=ACCENT,
    )
    curve = found["curve"]
    reach = np.geomspace(min(sizes), found["ahead"][-1]["images"], 60)
    axes.plot(
        reach,
        1 - curve["floor"] - curve["scale"] * reach ** -curve["exponent"],
        color=MUTED,
        linewidth=1.2,
    )
    band = found["fitted"] + found["ahead"]
    axes.fill_between(
        [row["images"] for row in band],
        [row["low"] for row in band],
        [row["high"] for row in band],
        color=MUTED,
        alpha=0.15,
        linewidth=0,
    )
    for point in found["ahead"]:
        value = point["accuracy"]
        axes.errorbar(
            point["images"],
            value,
            yerr=[[value - point["low"]], [point["high"] - value]],
            color=SECOND,
            marker="o",
            markersize=4,
            markerfacecolor="none",
            capsize=3,
        )
    axes.set_xscale("log")
    ticks = sorted({*sizes, *(point["images"] for point in found["ahead"])})
    axes.set_xticks(ticks, minor=False)
    axes.minorticks_off()
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_xlabel("training images")
    axes.set_ylabel("accuracy on test")
    return svg(
        figure, "learning-curve", f"Accuracy with {sizes[0]} to {sizes[-1]} training images."
    )
