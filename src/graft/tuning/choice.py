"""Which trial wins, and what its figure is worth: arithmetic on who classified what correctly.

`right` (M, N) is 1.0 where trial m classified image n correctly without having seen it, 0.0 where
not, and NaN where it was not tested on it. Trial 0 is the default: all others are compared with it
on what both were tested on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
DRAWS = 200
FLIPS = 2000
WEIGHTS = 2**24  # numbers in memory at once
MOST_MEMBERS = 8  # of an average


@dataclass(frozen=True)
class Chosen:
    """`best` has the highest estimate, `simplest` is the simplest within one standard error of it;
    `accuracy` (M,) are the estimates, `error` is the standard error of what separates the two.
    """

    best: int
    simplest: int
    accuracy: Floats
    error: float


def by_unit(right: Floats, unit: Ints) -> tuple[Floats, Floats]:
    """Correct answers and images tested, (M, U) each, of each unit of images (N,)."""
    count = int(unit.max()) + 1
    known = ~np.isnan(right)
    hits = np.zeros((len(right), count))
    tested = np.zeros((len(right), count))
    for m, row in enumerate(right):
        hits[m] = np.bincount(unit[known[m]], row[known[m]], minlength=count)
        tested[m] = np.bincount(unit[known[m]], minlength=count)
    return hits, tested


def choose(
    hits: Floats, tested: Floats, order: Sequence[int], weight: Floats | None = None
) -> Chosen:
    """The choice among trials by units (M, U), which a bootstrap may `weight` (U,).

    A trial that was tested on some units only is compared with the default on the same ones: its
    accuracy is the default's on all, plus the difference. The rule of one standard error (Breiman
    et al. 1984, section 3.4.3) is on paired differences; `order` has all trials from the simplest
    on.
    """
    weight = np.ones(hits.shape[1]) if weight is None else weight
    accuracy = estimates(hits, tested, weight)
    best = int(np.argmax(accuracy))
    for m in order:
        error = _error(hits, tested, weight, best, m)
        if accuracy[m] >= accuracy[best] - error:
            return Chosen(best, m, accuracy, error)
    raise ValueError("expected an order of all trials")


def estimates(hits: Floats, tested: Floats, weight: Floats | None = None) -> Floats:
    """The accuracy (M,) of each trial as `choose` sees it; -inf where it was not tested."""
    weight = np.ones(hits.shape[1]) if weight is None else weight
    hits, tested = _with_default(hits, tested)
    share, whole = tested @ weight, float(tested[0] @ weight)
    base = hits[0] / np.maximum(tested[0], 1)
    gain = ((hits - base * tested) @ weight) / np.maximum(share, 1e-12)
    accuracy = float(hits[0] @ weight) / max(whole, 1e-12) + gain
    return np.where(share > 0, accuracy, -np.inf)


def _with_default(hits: Floats, tested: Floats) -> tuple[Floats, Floats]:
    """Both (M, U) but for units that the default was not tested on."""
    known = tested[0] > 0
    return np.where(known, hits, 0.0), np.where(known, tested, 0.0)


def _error(hits: Floats, tested: Floats, weight: Floats, one: int, other: int) -> float:
    """The standard error of the difference of two accuracies, over units both were tested on."""
    both = (tested[one] > 0) & (tested[other] > 0) & (weight > 0)
    if one == other or both.sum() < 2:
        return 0.0
    size, w = tested[one, both], weight[both]
    apart = hits[one, both] - hits[other, both] * size / tested[other, both]
    mean = float(apart @ w) / float(size @ w)
    count = int(both.sum())
    spread = float(((apart - mean * size) ** 2) @ w**2) * count / (count - 1)
    return float(np.sqrt(spread)) / float(size @ w)


def optimism(
    hits: Floats, tested: Floats, order: Sequence[int], seed: int, draws: int = DRAWS
) -> dict[str, float]:
    """How much too good the winner's own figure is, since it was chosen as the best of many.

    The bootstrap of Tsamardinos et al. 2018 (arXiv:1708.07180): each draw repeats the whole choice
    on resampled units and tests what it chose on those that were not drawn; what all trials gain by
    the draw on average is chance, and taken off. `best` is of choosing the highest, `chosen` of the
    rule that was used. Fractions; 0 for a single trial.
    """
    random = np.random.default_rng(seed)
    units = hits.shape[1]
    best: list[float] = []
    chosen: list[float] = []
    for _ in range(draws):
        drawn = np.bincount(random.integers(0, units, units), minlength=units).astype(np.float64)
        out = (drawn == 0).astype(np.float64)
        found = choose(hits, tested, order, drawn)
        apart = found.accuracy - estimates(hits, tested, out)
        known = np.isfinite(apart)
        for rows, m in ((best, found.best), (chosen, found.simplest)):
            if known[m]:
                rows.append(float(apart[m] - apart[known].mean()))
    return {"best": _mean(best), "chosen": _mean(chosen)}


def _mean(values: Sequence[float]) -> float:
    return max(0.0, float(np.mean(values))) if values else 0.0


def corrected_p(hits: Floats, tested: Floats, trial: int, seed: int) -> float:
    """The chance that the best of as many trials would beat the default by as much as `trial` does,
    if none were better: sign flips of whole units, common to all trials, so that trials that are
    right on the same images count as about one (Westfall & Young 1993, single-step maxT).
    """
    if trial == 0:
        return 1.0
    hits, tested = _with_default(hits, tested)
    gains = (hits - hits[0] / np.maximum(tested[0], 1) * tested)[1:]
    scale = np.sqrt((gains**2).sum(1))
    kept = scale > 0
    if not kept[trial - 1]:
        return 1.0
    gains = gains[kept] / scale[kept][:, np.newaxis]
    seen = float(gains[int(kept[: trial - 1].sum())].sum())
    random = np.random.default_rng(seed)
    reached = 0
    block = max(1, WEIGHTS // hits.shape[1])
    for start in range(0, FLIPS, block):
        count = min(block, FLIPS - start)
        signs = random.integers(0, 2, (count, hits.shape[1])) * 2.0 - 1.0
        # Two-sided: the default may be the worse one or the better one.
        reached += int((np.abs(signs @ gains.T).max(1) >= abs(seen) - 1e-9).sum())
    return (reached + 1) / (FLIPS + 1)


def average_members(
    logits: Sequence[NDArray[np.float32]], labels: Ints, start: int, most: int = MOST_MEMBERS
) -> list[int]:
    """Which of several classifiers to average (Caruana et al. 2004; as a soup, Wortsman et al.
    2022, arXiv:2203.05482): from `start` on, greedily, as long as the mean loss of the average
    falls.

    Takes logits (N, K) each; the same one is not taken twice.
    """
    chosen = [start]
    total = logits[start].astype(np.float64)
    best = mean_loss(total, labels)
    while len(chosen) < min(most, len(logits)):
        rest = [m for m in range(len(logits)) if m not in chosen]
        count = len(chosen) + 1
        losses = [mean_loss((total + logits[m]) / count, labels) for m in rest]
        first = int(np.argmin(losses))
        if losses[first] >= best:
            break
        best = losses[first]
        total = total + logits[rest[first]]
        chosen.append(rest[first])
    return chosen


def mean_loss(logits: Floats, labels: Ints) -> float:
    """The mean cross-entropy of logits (N, K), in nats."""
    scores = logits - logits.max(1, keepdims=True)
    own = scores[np.arange(len(labels)), labels]
    return float((np.log(np.exp(scores).sum(1)) - own).mean())
