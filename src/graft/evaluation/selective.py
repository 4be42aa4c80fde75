"""When to answer, and with how many labels: policy that keep a promise, made on validation images.

Both hold for images like those of validation, drawn as they were, whatever the model. Images of
a group (patient, video, burst) were drawn together: with `groups` (N,), what each belongs to, the
promises are for images of other groups.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from graft.errors import UsageError
from graft.evaluation.intervals import design_effects, percentile, share_interval
from graft.evaluation.metrics import check_labels

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# How sure the error budget is to be kept.
CONFIDENCE = 0.95
# Shares of the validation images that are tried as answered ones, from few to all.
STEPS = 50
REPEATS = 1000
# What the report shows.
BUDGETS, COVERAGES = (0.01, 0.02, 0.05), (0.9, 0.95, 0.99)


def least_probability(
    probabilities: ArrayLike,
    labels: ArrayLike,
    max_error: float,
    confidence: float = CONFIDENCE,
    groups: Sequence[str] | None = None,
) -> float | None:
    """The top probability from which on to answer, so that with `confidence` at most `max_error`
    of the answers are wrong; None if no threshold can promise that.

    Thresholds are tested from strict to lax with the exact upper bound of a proportion (Clopper &
    Pearson 1934) until one fails: tested in an order fixed beforehand, they need no correction
    (Bauer 1991; Angelopoulos et al. 2021, arXiv:2110.01052). With groups the bound is
    `grouped_bound`. Takes validation probabilities (N, K) and labels (N,).
    """
    p = np.asarray(probabilities, np.float64)
    targets = check_labels(labels, len(p), p.shape[1])
    order = np.argsort(-p.max(1), kind="stable")
    top = p.max(1)[order]
    missed = (p.argmax(1) != targets)[order]
    wrong = np.cumsum(missed)
    units = None if groups is None else _numbers(groups)[order]
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
    """The number of answers without a mistake that show an error of at most `max_error`."""
    return math.ceil(math.log(1 - confidence) / math.log(1 - max_error))


def upper_bound(wrong: int, n: int, confidence: float) -> float:
    """The exact one-sided upper bound of a proportion (Clopper & Pearson 1934)."""
    from scipy.special import betaincinv  # a quarter of a second to import

    return 1.0 if wrong >= n else float(betaincinv(wrong + 1, n - wrong, confidence))


def grouped_bound(missed: NDArray[np.bool_], groups: Ints, confidence: float) -> float:
    """As `upper_bound`, of outcomes (n,) that go together within groups (n,): with every count
    divided by the design effect; 1 for one group.
    """
    design = design_effects(missed, np.unique(groups, return_inverse=True)[1])
    if np.isinf(design).any():
        return 1.0
    wrong, right = int(missed.sum()), int((~missed).sum())
    if right == 0:
        return 1.0
    draws = np.random.default_rng(0).beta(wrong / design + 1, right / design)
    return float(np.quantile(draws, confidence))


def set_probability(
    probabilities: ArrayLike,
    labels: ArrayLike,
    coverage: float,
    groups: Sequence[str] | None = None,
) -> float:
    """The probability from which on a label belongs to the set, so that sets hold the true label
    with probability `coverage` at least.

    Split conformal prediction with the true label's probability as score (Vovk et al. 2005; Sadinle
    et al. 2019, "Least ambiguous set-valued classifiers"); with groups hierarchical conformal
    prediction, where each group counts as one (Lee et al. 2023, arXiv:2306.06342). Takes validation
    probabilities (N, K) and labels (N,); 0, every label, where they are too few for the promise.
    """
    p = np.asarray(probabilities, np.float64)
    targets = check_labels(labels, len(p), p.shape[1])
    units = np.arange(len(p)) if groups is None else _numbers(groups)
    scores = p[np.arange(len(p)), targets]
    order = np.argsort(scores, kind="stable")
    sizes = np.bincount(units)
    # Of as many equally likely groups and a new one, so many may lie below.
    below = (1 - coverage) * (len(sizes) + 1) - 1 + 1e-9
    mass = np.cumsum(1 / sizes[units[order]]) - 1 / sizes[units[order]]  # before each image
    allowed = np.flatnonzero(mass <= below)
    return float(scores[order[allowed[-1]]]) if len(allowed) else 0.0


def _numbers(groups: Sequence[str]) -> Ints:
    return np.unique(np.asarray(groups), return_inverse=True)[1].astype(np.int64)


def sets(probabilities: ArrayLike, least: float) -> NDArray[np.bool_]:
    """Which labels (N, K) are in each image's set: those from `least` on, and the best always."""
    p = np.asarray(probabilities, np.float64)
    inside = p >= least
    inside[np.arange(len(p)), p.argmax(1)] = True
    return np.asarray(inside)


def promises(
    val: tuple[ArrayLike, ArrayLike],
    test: tuple[ArrayLike, ArrayLike],
    ood_score: Floats | None,
    val_groups: Sequence[str] | None = None,
    test_groups: Sequence[str] | None = None,
) -> dict[str, Any]:
    """What the policy, made on validation images, did on the test split: two pairs of
    probabilities (., K) and labels (.,), the test images' ood_score (N,) if known, and the groups
    of both (.,), which widen the promises and the intervals.
    """
    p, targets = np.asarray(test[0], np.float64), np.asarray(test[1])
    right = p.argmax(1) == targets
    units = None if test_groups is None else _numbers(test_groups)
    budgets = []
    for budget in BUDGETS:
        least = least_probability(*val, budget, groups=val_groups)
        row: dict[str, Any] = {"max_error": budget, "least_probability": least}
        if least is not None:
            answered = p.max(1) >= least
            row |= {
                "answered": int(answered.sum()),
                "answered_interval": _interval(answered, units),
                "wrong": int((answered & ~right).sum()),
                "error_interval": _interval(~right, units, answered),
            }
        budgets.append(row)
    coverages = []
    for coverage in COVERAGES:
        least = set_probability(*val, coverage, val_groups)
        inside = sets(p, least)
        held = inside[np.arange(len(p)), targets]
        coverages.append(
            {
                "coverage": coverage,
                "least_probability": least,
                "held": int(held.sum()),
                "held_interval": _interval(held, units),
                "mean_labels": float(inside.sum(1).mean()),
                "mean_labels_interval": _mean_interval(inside.sum(1), units),
            }
        )
    refused = None if ood_score is None else ood_score > 1
    return {
        "n": len(p),
        "max_error": budgets,
        "coverage": coverages,
        "rejected_ood": None if refused is None else int(refused.sum()),
        "refused_interval": None if refused is None else _interval(refused, units),
    }


def _interval(
    hits: NDArray[np.bool_], groups: Ints | None, among: NDArray[np.bool_] | None = None
) -> list[float]:
    """Of the share of hits (N,), among these (N,) if not all; by groups (N,) if there are any."""
    chosen = slice(None) if among is None else among
    hits = hits[chosen]
    own = (
        None
        if groups is None or not len(hits)
        else np.unique(groups[chosen], return_inverse=True)[1]
    )
    return list(share_interval(hits, own))


def _mean_interval(values: NDArray[np.int64], groups: Ints | None) -> list[float]:
    """Of the mean of values (N,): a Bayesian bootstrap over images, or over groups (N,)."""
    own = np.arange(len(values)) if groups is None else np.unique(groups, return_inverse=True)[1]
    rng, count = np.random.default_rng(0), int(own.max()) + 1
    sums, sizes = np.bincount(own, values, count), np.bincount(own, minlength=count)
    weights = (rng.standard_exponential(count) for _ in range(REPEATS))
    draws = np.array([weight @ sums / (weight @ sizes) for weight in weights])
    return list(percentile(draws))


def share_of(text: str | float, name: str) -> float:
    """A share given as "2%" or 0.02. Raises UsageError for what is none between 0 and 1."""
    try:
        percent = isinstance(text, str) and text.endswith("%")
        value = float(str(text).removesuffix("%")) / (100 if percent else 1)
    except ValueError:
        value = math.nan
    if not 0 < value < 1:
        raise UsageError(f"{name} is a share such as 2% or 0.02, not {text!r}")
    return value
