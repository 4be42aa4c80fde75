"""What a comparison of finished runs says, in words and in the cells of its tables."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from graft.report.numbers import NOTHING, counted, listed, percent, points, span

if TYPE_CHECKING:
    from graft.evaluation.comparison import Pair
    from graft.report.comparison_page import Comparison, Row


def training(comparison: "Comparison") -> str:
    """What the models learned from and were tested on, in one sentence."""
    n = counted(len(comparison.rows[0].right), "image")
    if comparison.learned is None:
        return f"The models did not all learn from the same images; all were tested on {n}."
    learned = counted(comparison.learned, "image")
    return (
        f"All models learned from the same {learned} (training and validation) and were tested "
        f"once on the same {n}."
    )


def tests(comparison: "Comparison") -> str:
    """How pairs are tested, as split of a sentence."""
    groups = comparison.pairs[0].groups
    if groups is None:
        return (
            "Exact McNemar tests on the images that one model of a pair gets right and the other "
            "does not"
        )
    return f"Exact sign-flip tests over {counted(groups, 'group')} of images"


def verdict(pair: "Pair", names: Sequence[str]) -> str:
    """What the test says of a pair, in one sentence."""
    first, second = names[pair.first], names[pair.second]
    n = counted(pair.n, "image")
    alone = f"{pair.only_second} against {pair.only_first} that only one of them gets right"
    if pair.verdict == "no difference shown":
        return f"{second} and {first}: no difference shown on {n} ({alone})."
    return (
        f"{second} is {pair.verdict} than {first} by {points(abs(pair.difference))} on {n} "
        f"({alone}; {_p(pair.corrected)})."
    )


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def conclusion(comparison: "Comparison") -> list[str]:
    """What follows from the numbers, in plain sentences."""
    rows = comparison.rows
    order = sorted(range(len(rows)), key=lambda i: -rows[i].run.metrics["accuracy"]["value"])
    best = order[0]
    accuracy = rows[best].run.metrics["accuracy"]
    equal = [
        pair.first if pair.second == best else pair.second
        for pair in comparison.pairs
        if best in (pair.first, pair.second) and pair.verdict == "no difference shown"
    ]
    n = counted(len(rows[0].right), "test image")
    sentences = [
        f"{rows[best].name} has the highest accuracy: {percent(accuracy['value'])} (95 % interval "
        f"{span(accuracy['low'], accuracy['high'])}) on {n}."
    ]
    if not equal:
        others = "the other" if len(rows) == 2 else "each of the others"
        sentences.append(f"It is better than {others} by more than chance.")
        return sentences
    named = listed((rows[i].name for i in order if i in equal), len(rows))
    sentences.append(
        f"On these images no difference is shown between it and {named}: "
        f"{'either' if len(equal) == 1 else 'any of them'} may be the better one on others."
    )
    cheapest = min([best, *equal], key=lambda i: _cost(rows[i]))
    # What an earlier run had left in the cache was not free.
    if cheapest != best and rows[cheapest].run.metrics.get("from_cache") is False:
        sentences.append(
            f"Of these, {rows[cheapest].name} took the least time to train, "
            f"{_cost(rows[cheapest]):.0f} s against {_cost(rows[best]):.0f} s."
        )
    return sentences


def _cost(row: "Row") -> float:
    return float(row.run.metrics.get("seconds", {}).get("total", 0))


def shown(row: "Row") -> dict[str, Any]:
    """A row's figures as text, for tables."""
    figures = row.to_json()
    parameters = figures["parameters"]
    return {
        "model": row.name,
        "accuracy": percent(figures["accuracy"]["value"]),
        "precision": percent(figures["precision"]),
        "recall": percent(figures["recall"]),
        "F1": percent(figures["f1"]),
        "ECE": percent(figures["ece"]),
        "parameters": _millions(parameters.get("total")),
        "trained": _millions(parameters.get("trained")),
        "features": _seconds(figures["seconds_features"]),
        "fit": _seconds(figures["seconds_fit"]),
        "images/s": f"{row.speed:,.0f}" if row.speed else NOTHING,
        "size": f"{row.bytes / 1e6:.1f} MB",
    }


def below(row: "Row") -> dict[str, str]:
    """What belongs to a row's figures: their intervals, and that features came from the cache."""
    figures = row.to_json()
    names = {"precision": "precision", "recall": "recall", "F1": "f1", "ECE": "ece"}
    found = {shown: span(*figures["intervals"][name]) for shown, name in names.items()}
    found["accuracy"] = span(figures["accuracy"]["low"], figures["accuracy"]["high"])
    return found | ({"features": "cached"} if figures["features_from_cache"] else {})


def _millions(value: float | None) -> str:
    return NOTHING if value is None else f"{value / 1e6:.2f} M"


def _seconds(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.0f} s" if value >= 10 else f"{value:.1f} s"
