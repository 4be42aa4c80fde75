"""Precision, recall, F1 and calibration of each class, and how far each can be trusted.

Each of the three comes from a proportion of images: recall of those that belong to the class,
precision of those predicted as it, and F1 of those that are either, as F1 = 2 J / (1 + J) with J
the fraction of them that are both. Given their number, hits are binomial, so Wilson's interval
serves all three. With groups, whose images tend to be right or wrong together, it is Jeffreys' with
counts divided by the design effect (graft.evaluation.intervals).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.evaluation.calibration_interval import ece_interval
from graft.evaluation.intervals import Floats, Ints, cells_of, wilson
from graft.runs.confusion_counts import ConfusionCounts
from graft.runs.top_probabilities import Probabilities, TopProbabilities

Ends = tuple[float, float]
NAMES = ("precision", "recall", "f1")
BINS = 15  # as in Guo et al. 2017
ENOUGH = 50  # images of a class for a calibration error of its own
WORST = 5  # classes listed


def precision_recall_f1(
    confusion: Ints | ConfusionCounts,
) -> tuple[Floats, Floats, Floats]:
    """Precision, recall and F1 of each class from counts (K, K) or their cells: three (K,) arrays,
    in [0, 1].

    As scikit-learn defines them with zero_division=0: the precision of a class never predicted
    and the recall of one without images are 0.
    """
    cells = cells_of(confusion)
    return scores(cells.hits, cells.of_class, cells.predicted)


def scores(
    hits: NDArray[Any], actual: NDArray[Any], predicted: NDArray[Any]
) -> tuple[Floats, Floats, Floats]:
    """Precision, recall and F1 from (..., K) counts or weights; 0 / 0 is 0."""

    def ratio(hit: NDArray[Any], whole: NDArray[Any]) -> Floats:
        result: Floats = np.divide(hit, whole, out=np.zeros(hit.shape), where=whole > 0)
        return result

    return ratio(hits, predicted), ratio(hits, actual), ratio(2 * hits, actual + predicted)


def class_rows(
    confusion: Ints | ConfusionCounts,
    classes: Sequence[str],
    draws: tuple[Floats, Floats, Floats] | None = None,
) -> dict[str, dict[str, float]]:
    """Each class's scores with their 95 % intervals, and its number of images n.

    `draws` are resampled hits, actual and predicted (R, K), without a made-up image: those of
    `resample_groups`. Of a class that has no image, or is never predicted, nothing is known, and
    the interval is 0 to 1.
    """
    cells = cells_of(confusion)
    hits, actual, predicted = (
        counts.tolist() for counts in (cells.hits, cells.of_class, cells.predicted)
    )
    values = precision_recall_f1(cells)
    ends = (
        _of_groups(draws)
        if draws
        else [_of_images(*counts) for counts in zip(hits, actual, predicted, strict=True)]
    )
    rows = {}
    for i, name in enumerate(classes):
        row = {score: float(value[i]) for score, value in zip(NAMES, values, strict=True)}
        n = actual[i]
        rows[name] = row | {"n": n}
        known = (predicted[i], n, n)
        for score, (low, high), of in zip(NAMES, ends[i], known, strict=True):
            # What was seen belongs to what is possible.
            low, high = (min(low, row[score]), max(high, row[score])) if of else (0.0, 1.0)
            rows[name] |= {f"{score}_low": low, f"{score}_high": high}
    return rows


def _of_images(hits: int, actual: int, predicted: int) -> list[Ends]:
    precision, recall, both = (
        wilson(hits, n) for n in (predicted, actual, actual + predicted - hits)
    )
    return [precision, recall, (_f1(both[0]), _f1(both[1]))]


def _of_groups(draws: tuple[Floats, Floats, Floats]) -> list[list[Ends]]:
    hits, actual, predicted = draws
    # Half an image right and half wrong for each class: see intervals.py.
    right, wrong = np.random.default_rng(0).standard_gamma(0.5, (2, *hits.shape))
    fractions = [
        np.quantile((hits + right) / (total + right + wrong), (0.025, 0.975), axis=0)
        for total in (predicted, actual, actual + predicted - hits)
    ]
    fractions[2] = _f1(fractions[2])
    if not actual.any():  # one group
        return [[(0.0, 1.0)] * 3] * hits.shape[1]
    return [[(float(s[0, i]), float(s[1, i])) for s in fractions] for i in range(hits.shape[1])]


def _f1(both: Any) -> Any:
    return 2 * both / (1 + both)


def class_calibration_error(probability: Floats, is_class: NDArray[np.bool_]) -> float:
    """How far the probabilities (N,) of one class lie from its frequency, in [0, 1]: the mean
    distance over BINS equal-width bins (Kumar et al. 2019, arXiv:1909.10155, "marginal
    calibration").
    """
    gaps = np.bincount(_bins(probability), is_class - probability, minlength=BINS)
    return float(np.abs(gaps).sum() / len(probability))


def class_errors(
    p: Probabilities,
    targets: Ints,
    classes: Sequence[str],
    *,
    repeats: int,
    design: Floats | None = None,
) -> list[dict[str, Any]]:
    """The largest calibration errors of a class with their 95 % intervals, worst first: at most
    WORST, of classes with at least ENOUGH images; none where not all probabilities are known.
    `design` as in `ece_interval`.
    """
    if isinstance(p, TopProbabilities):
        return []
    counts = np.bincount(targets, minlength=len(classes))
    errors = {
        i: class_calibration_error(p[:, i], targets == i)
        for i, n in enumerate(counts)
        if n >= ENOUGH
    }
    rows = []
    for i in sorted(errors, key=lambda i: -errors[i])[:WORST]:
        is_class = targets == i
        ends = ece_interval(_bins(p[:, i]), p[:, i], is_class, repeats=repeats, design=design)
        rows.append({"class": classes[i], "value": errors[i], "low": ends[0], "high": ends[1]})
    return rows


def _bins(probability: Floats) -> Ints:
    found: Ints = np.minimum((probability * BINS).astype(np.int64), BINS - 1)
    return found
