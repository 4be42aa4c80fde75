"""When to answer, and with how many labels: rules that keep a promise, made on validation pictures.

Both hold for pictures like those of validation, drawn as they were, whatever the model.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from graft.errors import UsageError
from graft.evaluation.intervals import wilson
from graft.evaluation.metrics import check_labels

Floats = NDArray[np.float64]

# How sure the error budget is to be kept.
CONFIDENCE = 0.95
# Shares of the validation pictures that are tried as answered ones, from few to all.
STEPS = 50
# What the report shows.
BUDGETS, COVERAGES = (0.01, 0.02, 0.05), (0.9, 0.95, 0.99)


def least_probability(
    probabilities: ArrayLike, labels: ArrayLike, max_error: float, confidence: float = CONFIDENCE
) -> float | None:
    """The top probability from which on to answer, so that with `confidence` at most `max_error`
    of the answers are wrong; None if no threshold can promise that.

    Thresholds are tested from strict to lax with the exact upper bound of a proportion (Clopper &
    Pearson 1934) until one fails: tested in an order fixed beforehand, they need no correction
    (Bauer 1991; Angelopoulos et al. 2021, arXiv:2110.01052). Takes validation probabilities
    (N, K) and labels (N,).
    """
    p = np.asarray(probabilities, np.float64)
    targets = check_labels(labels, len(p), p.shape[1])
    order = np.argsort(-p.max(1), kind="stable")
    top = p.max(1)[order]
    wrong = np.cumsum((p.argmax(1) != targets)[order])
    # With fewer answers than this not even a flawless record is enough.
    fewest = fewest_pictures(max_error, confidence)
    found = None
    if fewest > len(p):
        return None
    for n in sorted({int(n) for n in np.linspace(fewest, len(p), STEPS)}):
        # Equal probabilities are answered together.
        n = int((top >= top[n - 1]).sum())
        if upper_bound(int(wrong[n - 1]), n, confidence) > max_error:
            break
        found = float(top[n - 1])
    return found


def fewest_pictures(max_error: float, confidence: float = CONFIDENCE) -> int:
    """The number of answers without a mistake that show an error of at most `max_error`."""
    return math.ceil(math.log(1 - confidence) / math.log(1 - max_error))


def upper_bound(wrong: int, n: int, confidence: float) -> float:
    """The exact one-sided upper bound of a proportion (Clopper & Pearson 1934)."""
    from scipy.special import betaincinv  # a quarter of a second to import

    return 1.0 if wrong >= n else float(betaincinv(wrong + 1, n - wrong, confidence))


def set_probability(probabilities: ArrayLike, labels: ArrayLike, coverage: float) -> float:
    """The probability from which on a label belongs to the set, so that sets hold the true label
    with probability `coverage` at least.

    Split conformal prediction with the true label's probability as score (Vovk et al. 2005; Sadinle
    et al. 2019, "Least ambiguous set-valued classifiers"). Takes validation probabilities (N, K)
    and labels (N,); 0, every label, where they are too few for the promise.
    """
    p = np.asarray(probabilities, np.float64)
    targets = check_labels(labels, len(p), p.shape[1])
    scores = np.sort(p[np.arange(len(p)), targets])
    # Of n + 1 equally likely ranks, at most (1 - coverage)(n + 1) may lie below.
    below = math.floor((1 - coverage) * (len(p) + 1) + 1e-9)
    return float(scores[below - 1]) if below >= 1 else 0.0


def sets(probabilities: ArrayLike, least: float) -> NDArray[np.bool_]:
    """Which labels (N, K) are in each picture's set: those from `least` on, and the best always."""
    p = np.asarray(probabilities, np.float64)
    inside = p >= least
    inside[np.arange(len(p)), p.argmax(1)] = True
    return np.asarray(inside)


def promises(
    val: tuple[ArrayLike, ArrayLike], test: tuple[ArrayLike, ArrayLike], novelty: Floats | None
) -> dict[str, Any]:
    """What the rules, made on validation pictures, did on the test part: two pairs of
    probabilities (., K) and labels (.,), and the test pictures' novelty (N,) if known.
    """
    p, targets = np.asarray(test[0], np.float64), np.asarray(test[1])
    right = p.argmax(1) == targets
    budgets = []
    for budget in BUDGETS:
        least = least_probability(*val, budget)
        row: dict[str, Any] = {"max_error": budget, "least_probability": least}
        if least is not None:
            answered = p.max(1) >= least
            n, wrong = int(answered.sum()), int((answered & ~right).sum())
            row |= {"answered": n, "wrong": wrong, "error_interval": list(wilson(wrong, n))}
        budgets.append(row)
    coverages = []
    for coverage in COVERAGES:
        least = set_probability(*val, coverage)
        inside = sets(p, least)
        held = int(inside[np.arange(len(p)), targets].sum())
        coverages.append(
            {
                "coverage": coverage,
                "least_probability": least,
                "held": held,
                "held_interval": list(wilson(held, len(p))),
                "mean_labels": float(inside.sum(1).mean()),
            }
        )
    refused = None if novelty is None else int((novelty > 1).sum())
    return {
        "n": len(p),
        "max_error": budgets,
        "coverage": coverages,
        "refused_as_novel": refused,
        "refused_interval": None if refused is None else list(wilson(refused, len(p))),
    }


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
