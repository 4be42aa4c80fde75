"""What `graft validate` found, and slices of the test images: sentences and a plot."""

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from graft.report.numbers import counted, percent, points, quoted, span, whole
from graft.report.plot_style import ACCENT, MUTED, PERCENT, SECOND, STYLE, svg
from graft.runs.run import Record

# The gain in accuracy from which twice as many images are worth it.
WORTH = 0.005


def other_splits(validation: Record, accuracy: Record) -> list[str]:
    """What other splits and seeds showed, from validation.json and the accuracy in metrics.json."""
    sentences = []
    if leak := validation.get("leaky_split"):
        sentences.append(_leaky_split(leak, accuracy))
    if folds := validation.get("folds"):
        sentences.append(_cross_validation(folds))
    if repeats := validation.get("repeats"):
        sentences.append(_repeats(repeats))
    return sentences


def _leaky_split(leak: Record, accuracy: Record) -> str:
    sentence = (
        f"{counted(leak['near'], 'image has', 'images have')} near-duplicates, which were kept in "
        "one split. A random split that ignores this would have tested "
        f"{counted(leak['test_seen'], 'image')} with a near-duplicate in training"
    )
    if leak["accuracy"] is None:
        few = percent(leak["test_seen"] / leak["n"])
        return f"{sentence}: {few} of its test images, too few to change the accuracy visibly."
    _, low, high = _difference(leak["accuracy"], accuracy)
    return (
        f"{sentence}, and the same model would have scored {_interval(leak['accuracy'])} instead "
        f"of {_interval(accuracy)}: a difference of {_apart(leak['accuracy'], accuracy)}"
        f"{', which may be chance' if low <= 0 <= high else ''}."
    )


def _cross_validation(folds: Record) -> str:
    accuracy = folds["accuracy"]
    sentence = (
        f"In {folds['folds']}-fold cross-validation, where each of {counted(folds['n'], 'image')} "
        f"is tested once, the accuracy is {percent(accuracy['value'])}, with a 95\u00a0% interval "
        f"of {span(accuracy['low'], accuracy['high'])}."
    )
    if folds["left_out"]:
        sentence += f" The source's own test split ({counted(folds['left_out'], 'image')}) was left"
        sentence += " out of it."
    return sentence


def _repeats(repeats: Record) -> str:
    each, n, spread = repeats["each"], repeats["n"], repeats["standard_deviation"]
    others = (
        f"{counted(len(each), 'other split')} and seeds"
        if repeats["what"] == "splits"
        else f"{counted(len(each), 'other seed')} on the same test images"
    )
    tested = whole(min(n)) if min(n) == max(n) else f"{whole(min(n))} to {whole(max(n))}"
    sentence = (
        f"With {others}, the mean accuracy is {percent(repeats['mean'])} (95\u00a0% interval "
        f"{span(repeats['low'], repeats['high'])}, {repeats['method'].removesuffix(', 95 %')})"
    )
    if spread is not None:
        sentence += (
            f". Single results range from {span(min(each), max(each))}, with a standard deviation "
            f"of {points(spread)}"
        )
    return f"{sentence}, on {tested} test images{' each' * (len(each) > 1)}."


def _interval(rate: Record) -> str:
    return (
        f"{percent(rate['value'])} (95\u00a0% interval {span(rate['low'], rate['high'])}, "
        f"{rate['method'].removesuffix(', 95 %')})"
    )


def _difference(one: Record, other: Record) -> tuple[float, float, float]:
    """One rate minus another, and its 95 % interval from theirs (Zou and Donner 2008, Statistics
    in Medicine 27, 1693-1702). It treats them as measured on different images, and is too wide
    where they have some in common.
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
    """Whether more images would help, and of which class first."""
    twice = found["ahead"][0]
    now = found["points"][-1]
    gain = twice["gain"]
    sentences = [
        f"With {whole(now['images'])} training images the accuracy is {percent(now['accuracy'])} "
        f"(95\u00a0% interval {span(now['low'], now['high'])}, on {whole(found['n'])} test "
        f"images). The fitted curve expects {percent(twice['accuracy'])} for "
        f"{whole(twice['images'])} (95\u00a0% band {span(twice['low'], twice['high'])}, "
        f"{found['method']}): a gain of {_signed(gain['value'], gain['low'], gain['high'])}."
    ]
    if gain["low"] > WORTH:
        sentences.append("More images like these would help.")
    elif gain["high"] < WORTH:
        sentences.append(
            "More images like these would hardly help. Look for label errors, try another "
            "backbone, or fine-tune more of it (--unfreeze)."
        )
    else:
        sentences.append("It is not clear yet whether more images like these would help.")
    if first := found["next"][:1]:
        row = first[0]
        sentences.append(
            f"Collect more images of {quoted(row['class'])} first: its recall is "
            f"{percent(row['recall'])} (95\u00a0% interval {span(row['low'], row['high'])}, on "
            f"{counted(row['n'], 'test image')}), and the last doublings of the training images "
            f"changed that by {_apart(row | {'value': row['recall']}, row['before'])}."
        )
    return sentences


def slices(rows: list[Record]) -> str:
    """The slices of the test images on which accuracy is lower than on the rest."""
    worse = [row for row in rows if row["worse"]]
    if not worse:
        kinds = dict.fromkeys(row["quantity"] for row in rows)
        return (
            f"The test images were sliced by {', '.join(kinds)}. No slice is clearly worse than "
            "the rest."
        )
    found = "; ".join(
        f"{percent(row['accuracy'])} on the {whole(row['n'])} images with {slice_name(row)}"
        for row in worse
    )
    return f"The accuracy is clearly lower on some slices of the test images: {found}."


def slice_name(row: Record) -> str:
    """`the lowest third of size`, `camera “Canon EOS”`."""
    if row["value"].endswith(" third"):
        return f"the {row['value']} of {row['quantity']}"
    return f"{row['quantity']} {quoted(row['value'])}"


@mpl.rc_context(STYLE)
def curve_plot(found: Record) -> str:
    """The learning curve: accuracy against the number of training images, with the fitted curve,
    its 95 % band and what twice and four times as many images would give.
    """
    figure = Figure(figsize=(4.9, 3.3))
    figure.subplots_adjust(left=0.145, right=0.955, top=0.95, bottom=0.16)
    axes = figure.subplots()
    sizes = [point["images"] for point in found["points"]]
    values = [point["accuracy"] for point in found["points"]]
    axes.plot(sizes, values, linestyle="", marker="o", markersize=4, color=ACCENT)
    _draw_fit(axes, found, min(sizes))
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
    axes.set_ylabel("test accuracy")
    return svg(
        figure, "learning-curve", f"Accuracy with {sizes[0]} to {sizes[-1]} training images."
    )


def _draw_fit(axes: Any, found: Record, smallest: int) -> None:
    curve, band = found["curve"], found["fitted"] + found["ahead"]
    reach = np.geomspace(smallest, found["ahead"][-1]["images"], 60)
    axes.plot(
        reach,
        1 - curve["floor"] - curve["scale"] * reach ** -curve["exponent"],
        color=MUTED,
        linewidth=1.2,
    )
    axes.fill_between(
        [row["images"] for row in band],
        [row["low"] for row in band],
        [row["high"] for row in band],
        color=MUTED,
        alpha=0.15,
        linewidth=0,
    )
