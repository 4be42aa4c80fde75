"""Selective prediction: when to answer, and with how many labels.

Two guarantees are chosen on validation images. An error budget finds the probability from which to
answer, so that few answers are wrong. A coverage finds the prediction sets that are wide enough to
hold the true label. Both hold for new images drawn as those of validation were, whatever the model.
Images of a group (patient, video, burst) were drawn together: with `groups` (N,), the group ID of
each image, the guarantees are for images of other groups.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from graft.errors import UsageError
from graft.evaluation.calibration_interval import MOST_SINGLE
from graft.evaluation.intervals import design_effects, fraction_interval, group_numbers, percentile
from graft.evaluation.scored_images import check_labels, known
from graft.runs.top_probabilities import Probabilities, TopProbabilities, of_labels

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# The certainty with which an error budget is kept.
CONFIDENCE = 0.95
# Thresholds tried, from answering few validation images to answering all.
STEPS = 50
REPEATS = 1000
# What the report shows.
BUDGETS, COVERAGES = (0.01, 0.02, 0.05), (0.9, 0.95, 0.99)


def probability_for_error_budget(
    probabilities: ArrayLike | TopProbabilities,
    labels: ArrayLike,
    max_error: float,
    confidence: float = CONFIDENCE,
    groups: Sequence[str] | None = None,
) -> float | None:
    """The lowest top probability to answer at, so that at most `max_error` of the answers are
    wrong, with a certainty of `confidence`; None if these images cannot show that for any.

    Thresholds are tested from strict to lax with the exact upper bound of a proportion (Clopper &
    Pearson 1934) until one fails: tested in an order fixed beforehand, they need no correction
    (Bauer 1991; Angelopoulos et al. 2021, arXiv:2110.01052). With groups the bound is
    `grouped_bound`. Takes validation probabilities (N, K) and labels (N,).
    """
    p = known(probabilities)
    targets = check_labels(labels, len(p), p.shape[1])
    order = np.argsort(-p.max(1), kind="stable")
    top = p.max(1)[order]
    missed = (p.argmax(1) != targets)[order]
    wrong = np.cumsum(missed)
    units = None if groups is None else group_numbers(groups)[order]
    # With fewer answers than this not even a flawless record is enough.
    fewest = fewest_images(max_error, confidence)
    found = None
    if fewest > len(p):
        return None
    for n in sorted({int(n) for n in np.linspace(fewest, len(p), STEPS)}):
        # Equal probabilities are answered together.
        n = int((top >= top[n - 1]).sum())
        bound = upper_bound(int(wrong[n - 1]), n, confidence)
        if units is not None:
            # Where not even a flawless record is enough, there is nothing to test.
            flawless = np.zeros(n, bool)
            if found is None and grouped_bound(flawless, units[:n], confidence) > max_error:
                continue
            bound = max(bound, grouped_bound(missed[:n], units[:n], confidence))
        if bound > max_error:
            break
        found = float(top[n - 1])
    return found


def fewest_images(max_error: float, confidence: float = CONFIDENCE) -> int:
    """How many validation images, all classified correctly, it takes to show an error rate of at
    most `max_error`.
    """
    return math.ceil(math.log(1 - confidence) / math.log(1 - max_error))


def upper_bound(wrong: int, n: int, confidence: float) -> float:
    """The exact one-sided upper bound of a proportion (Clopper & Pearson 1934)."""
    from scipy.special import betaincinv  # a quarter of a second to import

    return 1.0 if wrong >= n else float(betaincinv(wrong + 1, n - wrong, confidence))


def grouped_bound(missed: NDArray[np.bool_], groups: Ints, confidence: float) -> float:
    """As `upper_bound`, for outcomes (n,) that are correlated within groups (n,): every count is
    divided by the design effect. 1 for a single group.
    """
    design = design_effects(missed, np.unique(groups, return_inverse=True)[1])
    if np.isinf(design).any():
        return 1.0
    wrong, right = int(missed.sum()), int((~missed).sum())
    if right == 0:
        return 1.0
    draws = np.random.default_rng(0).beta(wrong / design + 1, right / design)
    return float(np.quantile(draws, confidence))


def probability_for_coverage(
    probabilities: ArrayLike | TopProbabilities,
    labels: ArrayLike,
    coverage: float,
    groups: Sequence[str] | None = None,
) -> float:
    """The lowest probability that puts a label into the prediction set, so that sets hold the true
    label with probability `coverage` at least.

    Split conformal prediction with the true label's probability as score (Vovk et al. 2005; Sadinle
    et al. 2019, "Least ambiguous set-valued classifiers"); with groups hierarchical conformal
    prediction, where each group counts as one (Lee et al. 2023, arXiv:2306.06342). Takes validation
    probabilities (N, K) and labels (N,); 0, every label, where they are too few for the guarantee.
    """
    p = known(probabilities)
    targets = check_labels(labels, len(p), p.shape[1])
    units = np.arange(len(p)) if groups is None else group_numbers(groups)
    scores = of_labels(p, targets)
    order = np.argsort(scores, kind="stable")
    sizes = np.bincount(units)
    # Of as many equally likely groups and a new one, this much weight may lie below the threshold.
    below = (1 - coverage) * (len(sizes) + 1) - 1 + 1e-9
    mass = np.cumsum(1 / sizes[units[order]]) - 1 / sizes[units[order]]  # before each image
    allowed = np.flatnonzero(mass <= below)
    return float(scores[order[allowed[-1]]]) if len(allowed) else 0.0


def prediction_sets(probabilities: ArrayLike, set_probability: float) -> NDArray[np.bool_]:
    """Which labels (N, K) each image's prediction set holds: those with a probability of at least
    `set_probability`, and always the most probable one.
    """
    p = np.asarray(probabilities, np.float64)
    inside = p >= set_probability
    inside[np.arange(len(p)), p.argmax(1)] = True
    return np.asarray(inside)


def selective_prediction_report(
    val: tuple[ArrayLike | TopProbabilities, ArrayLike],
    test: tuple[ArrayLike | TopProbabilities, ArrayLike],
    ood_score: Floats | None,
    val_groups: Sequence[str] | None = None,
    test_groups: Sequence[str] | None = None,
) -> dict[str, Any]:
    """What thresholds chosen on the validation split did on the test split, ready for JSON.

    `val` and `test` are pairs of probabilities (., K) and labels (.,); `ood_score` (N,) is that of
    the test images, where it is known; images with a score above 1 are abstained from. The group
    IDs of both splits (.,) make guarantees more careful and intervals wider.
    """
    p, targets = known(test[0]), np.asarray(test[1])
    units = None if test_groups is None else group_numbers(test_groups)
    abstained = None if ood_score is None else ood_score > 1
    return {
        "n": len(p),
        "error_budgets": [
            _error_budget(
                p,
                targets,
                units,
                budget,
                probability_for_error_budget(*val, budget, groups=val_groups),
            )
            for budget in BUDGETS
        ],
        "prediction_sets": [
            _prediction_sets(
                p, targets, units, coverage, probability_for_coverage(*val, coverage, val_groups)
            )
            for coverage in COVERAGES
        ],
        "abstained_ood": None if abstained is None else int(abstained.sum()),
        "abstained_ood_interval": None if abstained is None else _interval(abstained, units),
    }


def answered_from(
    probabilities: ArrayLike | TopProbabilities,
    labels: ArrayLike,
    min_probability: float,
    groups: Sequence[str] | None = None,
) -> dict[str, Any]:
    """What is answered where the top probability is at least `min_probability`, and how much of
    that is wrong, each with its 95 % interval; ready for JSON.

    Takes probabilities (N, K), labels (N,) and, where they count, group IDs (N,). Where nothing is
    answered, the error may be anything: 0 to 1.
    """
    p = known(probabilities)
    targets = check_labels(labels, len(p), p.shape[1])
    return _answered(p, targets, None if groups is None else group_numbers(groups), min_probability)


def _answered(
    p: Probabilities, targets: Ints, units: Ints | None, min_probability: float
) -> dict[str, Any]:
    answered, wrong = p.max(1) >= min_probability, p.argmax(1) != targets
    return {
        "answered": int(answered.sum()),
        "answered_interval": _interval(answered, units),
        "wrong": int((answered & wrong).sum()),
        "error_interval": _interval(wrong, units, answered),
    }


def _error_budget(
    p: Probabilities,
    targets: Ints,
    units: Ints | None,
    max_error: float,
    min_probability: float | None,
) -> dict[str, Any]:
    row: dict[str, Any] = {"max_error": max_error, "min_probability": min_probability}
    if min_probability is None:
        return row
    return row | _answered(p, targets, units, min_probability)


def _prediction_sets(
    p: Probabilities, targets: Ints, units: Ints | None, coverage: float, set_probability: float
) -> dict[str, Any]:
    covered, size = _sets(p, targets, set_probability)
    return {
        "coverage": coverage,
        "set_probability": set_probability,
        "covered": int(covered.sum()),
        "covered_interval": _interval(covered, units),
        "mean_size": None if size is None else float(size.mean()),
        "mean_size_interval": None if size is None else _mean_interval(size, units),
    }


def _sets(
    p: Probabilities, targets: Ints, set_probability: float
) -> tuple[NDArray[np.bool_], Ints | None]:
    """Which prediction sets (N,) hold the label, and their sizes (N,); None where one of them may
    be larger than the number of probabilities that are kept.
    """
    if not isinstance(p, TopProbabilities):
        inside = prediction_sets(p, set_probability)
        return inside[np.arange(len(p)), targets], inside.sum(1)
    covered = (of_labels(p, targets) >= set_probability) | (p.argmax(1) == targets)
    if (p.values[:, -1] >= set_probability).any():
        return covered, None
    return covered, np.maximum((p.values >= set_probability).sum(1), 1)


def _interval(
    hits: NDArray[np.bool_], groups: Ints | None, among: NDArray[np.bool_] | None = None
) -> list[float]:
    """The 95 % interval of the fraction of hits (N,), only `among` these (N,) if given; over groups
    (N,) if there are any.
    """
    chosen = slice(None) if among is None else among
    hits = hits[chosen]
    own = (
        None
        if groups is None or not len(hits)
        else np.unique(groups[chosen], return_inverse=True)[1]
    )
    return list(fraction_interval(hits, own))


def _mean_interval(values: NDArray[np.int64], groups: Ints | None) -> list[float]:
    """The 95 % interval of the mean of values (N,): a Bayesian bootstrap over images, or over
    groups (N,) if there are any.
    """
    own = np.arange(len(values)) if groups is None else np.unique(groups, return_inverse=True)[1]
    rng, count = np.random.default_rng(0), int(own.max()) + 1
    sums, sizes = np.bincount(own, values, count), np.bincount(own, minlength=count)
    if count > MOST_SINGLE:
        # The weights of groups that are alike add up to a gamma weight of their own.
        cells, alike = np.unique(np.c_[sums, sizes], axis=0, return_counts=True)
        sums, sizes = cells.T
        weights = (rng.standard_gamma(alike) for _ in range(REPEATS))
    else:
        weights = (rng.standard_exponential(count) for _ in range(REPEATS))
    draws = np.array([weight @ sums / (weight @ sizes) for weight in weights])
    return list(percentile(draws))


def fraction_of(text: str | float, name: str) -> float:
    """The fraction that "2%" or 0.02 stands for; UsageError unless it lies between 0 and 1."""
    try:
        percent = isinstance(text, str) and text.endswith("%")
        value = float(str(text).removesuffix("%")) / (100 if percent else 1)
    except ValueError:
        value = math.nan
    if not 0 < value < 1:
        raise UsageError(f"{name} takes a fraction such as 2% or 0.02, not {text!r}")
    return value
