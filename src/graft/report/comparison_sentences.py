"""What a comparison says, in sentences and in the cells of its tables."""

from graft.evaluation.comparison import ComparedRun, Comparison
from graft.evaluation.paired_tests import NO_DIFFERENCE, Pair
from graft.report.numbers import NOTHING, counted, percent, points, span


def the_images(comparison: Comparison) -> str:
    """What the models were trained and tested on, in one sentence."""
    n = counted(comparison.n, "image")
    if comparison.images_in_common is None:
        return f"The models were not all trained on the same images. All were tested on {n}."
    learned = counted(comparison.images_in_common, "image")
    return (
        f"All models were trained on the same {learned} (training and validation) and tested "
        f"once on the same {n}."
    )


def the_tests(comparison: Comparison) -> str:
    """How pairs of models are tested, in one sentence."""
    groups = comparison.pairs[0].groups
    test = (
        "an exact McNemar test on the images that only one of the two classifies correctly"
        if groups is None
        else f"an exact sign-flip test over {counted(groups, 'group')} of images"
    )
    return f"Each pair of models is compared by {test}, with Holm's correction for several pairs."


def the_verdict(pair: Pair, names: list[str]) -> str:
    """What the test of a pair shows, in one sentence."""
    first, second = names[pair.first], names[pair.second]
    n = counted(pair.n, "image")
    alone = f"{pair.only_second} right only by the former, {pair.only_first} only by the latter"
    if pair.verdict == NO_DIFFERENCE:
        return f"{second} and {first}: no difference shown on {n} ({alone})."
    return (
        f"{second} is {pair.verdict} than {first} by {points(abs(pair.difference))} on {n} "
        f"({alone}; {_p(pair.corrected)})."
    )


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def the_conclusion(comparison: Comparison) -> list[str]:
    """What follows from the numbers, in plain sentences."""
    best, equal, fastest = comparison.best, comparison.not_shown_worse, comparison.fastest
    sentences = [
        f"{best.name} has the highest accuracy: {percent(best.accuracy['value'])} "
        f"(95\u00a0% interval {span(best.accuracy['low'], best.accuracy['high'])}) on "
        f"{counted(comparison.n, 'test image')}."
    ]
    if not equal:
        others = "the other model" if len(comparison.runs) == 2 else "each of the others"
        sentences.append(f"It is better than {others}, by more than chance explains.")
        return sentences
    sentences.append(
        f"But no difference is shown between it and {_joined([run.name for run in equal])}: "
        f"{'either' if len(equal) == 1 else 'any of them'} may do better on new images."
    )
    if fastest is not None and fastest is not best:
        sentences.append(
            f"Of these, {fastest.name} trained fastest: {fastest.seconds:.0f}\u00a0s against "
            f"{best.seconds:.0f}\u00a0s."
        )
    return sentences


def _joined(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def cells(compared: ComparedRun) -> dict[str, str]:
    """A model's figures as text, by the heading of their column."""
    figures = compared.figures
    parameters, speed = figures["parameters"], figures["images_per_second"]
    return {
        "model": compared.name,
        "accuracy": percent(figures["accuracy"]["value"]),
        "precision": percent(figures["precision"]),
        "recall": percent(figures["recall"]),
        "F1": percent(figures["f1"]),
        "ECE": percent(figures["ece"]),
        "parameters": _millions(parameters.get("total")),
        "trained": _millions(parameters.get("trained")),
        "features": _seconds(figures["seconds_features"]),
        "fit": _seconds(figures["seconds_fit"]),
        "images/s": f"{speed:,.0f}" if speed else NOTHING,
        "size": f"{figures['bytes'] / 1e6:.1f} MB",
    }


def small_print(compared: ComparedRun) -> dict[str, str]:
    """What stands below a model's figures, by column: 95 % intervals, and whether the features came
    from the cache.
    """
    figures = compared.figures
    names = {"precision": "precision", "recall": "recall", "F1": "f1", "ECE": "ece"}
    found = {column: span(*figures["intervals"][name]) for column, name in names.items()}
    found["accuracy"] = span(figures["accuracy"]["low"], figures["accuracy"]["high"])
    return found | ({"features": "cached"} if figures["features_from_cache"] else {})


def _millions(value: float | None) -> str:
    return NOTHING if value is None else f"{value / 1e6:.2f} M"


def _seconds(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.0f} s" if value >= 10 else f"{value:.1f} s"
