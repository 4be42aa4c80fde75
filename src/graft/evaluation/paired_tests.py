"""Which of several classifiers is better on the same images: exact McNemar tests, with Holm's
correction for the number of pairs. Where images come in groups, exact sign-flip tests over groups.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from graft.evaluation.intervals import design_effects, wilson

LEVEL = 0.05
NO_DIFFERENCE = "no difference shown"


@dataclass(frozen=True)
class Pair:
    """The test of two classifiers, given by position, on the same n images.

    `only_first` and `only_second` count the images that only one of them classifies correctly.
    `difference` is the second's accuracy minus the first's, with its 95 % interval `low` to `high`
    (Newcombe's for paired proportions; with groups Student's for a ratio). `p` is the exact McNemar
    p-value, or with `groups`, their number, that of `sign_flip`; `corrected` is Holm's. `verdict`
    is about the second: "better", "worse" or "no difference shown".
    """

    first: int
    second: int
    n: int
    only_first: int
    only_second: int
    difference: float
    low: float
    high: float
    p: float
    corrected: float
    verdict: str
    groups: int | None = None

    def to_json(self) -> dict[str, Any]:
        """As in comparison.json."""
        return asdict(self)


def compare_pairs(
    right: Sequence[NDArray[np.bool_]], groups: Sequence[str] | None = None
) -> list[Pair]:
    """The test of every pair of classifiers, given which of the same n images each classifies
    correctly, (n,) each.

    Images of a group tend to be right or wrong together, so with `groups` (n,), the group ID of
    each image, groups are counted instead of images. Raises ValueError for fewer than two
    classifiers or different numbers of images.
    """
    if len(right) < 2 or len({len(r) for r in right}) > 1 or not len(right[0]):
        raise ValueError("expected at least two classifiers on the same images")
    unit = None if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    found = []
    for i, j in combinations(range(len(right)), 2):
        only_i = int((right[i] & ~right[j]).sum())
        only_j = int((right[j] & ~right[i]).sum())
        if unit is None:
            p = mcnemar(only_i, only_j)
            both = int((right[i] & right[j]).sum())
            ends = difference_interval(both, only_j, only_i, len(right[i]))
        else:
            gains = np.bincount(unit, right[j].astype(np.int64) - right[i]).astype(np.int64)
            p, ends = sign_flip(gains), _grouped_interval(right[i], right[j], unit, gains)
        found.append((i, j, only_i, only_j, ends, p))
    n, count = len(right[0]), None if unit is None else int(unit.max()) + 1
    pairs = []
    for (i, j, only_i, only_j, (low, high), p), corrected in zip(
        found, holm([entry[-1] for entry in found]), strict=True
    ):
        verdict = NO_DIFFERENCE
        if corrected < LEVEL:
            verdict = "better" if only_j > only_i else "worse"
        difference = (only_j - only_i) / n
        pairs.append(
            Pair(i, j, n, only_i, only_j, difference, low, high, p, corrected, verdict, count)
        )
    return pairs


def _grouped_interval(
    first: NDArray[np.bool_],
    second: NDArray[np.bool_],
    unit: NDArray[np.int64],
    gains: NDArray[np.int64],
) -> tuple[float, float]:
    """Student's interval, or Newcombe's with counts divided by the design effect where that is
    wider: groups that all agree have no spread, and yet are few. `unit` (N,) is the number of each
    image's group, `gains` (G,) how many more images of it the second classifies correctly.
    """
    design = float(np.median(design_effects(first != second, unit)))
    if math.isinf(design):
        return -1.0, 1.0
    cells = (first & second, second & ~first, first & ~second)
    counts = [round(float(cell.sum()) / design) for cell in cells]
    n = max(sum(counts), round(len(first) / design))
    low, high = ratio_interval(gains, np.bincount(unit))
    least, most = difference_interval(counts[0], counts[1], counts[2], n)
    return min(low, least), max(high, most)


def sign_flip(gains: ArrayLike) -> float:
    """The exact two-sided p-value of gains by group, (G,) whole numbers: if both classifiers were
    equally good, each group's gain might as well have had the other sign (Fisher 1935, The Design
    of Experiments, section 21). For groups of one image it is McNemar's.
    """
    steps = np.asarray(gains, dtype=np.int64)
    chance = np.ones(1)  # of each possible sum, from the lowest on
    for step in np.abs(steps[steps != 0]):
        wider = np.zeros(len(chance) + 2 * step)
        wider[: len(chance)] = chance / 2
        wider[2 * step :] += chance / 2
        chance = wider
    sums = np.abs(np.arange(len(chance)) - len(chance) // 2)
    return min(1.0, float(chance[sums >= abs(int(steps.sum()))].sum()))


def ratio_interval(gains: ArrayLike, sizes: ArrayLike) -> tuple[float, float]:
    """The 95 % interval of the gain per image, from gains (G,) and sizes (G,) of groups: Student's
    for a ratio of means (Cochran 1977, Sampling Techniques, section 6.3); -1 to 1 for one group,
    which says nothing about others.
    """
    from scipy.stats import t as student  # half a second to import

    gain, size = np.asarray(gains, dtype=np.float64), np.asarray(sizes, dtype=np.float64)
    count = len(gain)
    if count < 2:
        return -1.0, 1.0
    ratio = gain.sum() / size.sum()
    error = math.sqrt(((gain - ratio * size) ** 2).sum() * count / (count - 1)) / size.sum()
    reach = float(student.ppf(0.975, count - 1)) * error
    return max(-1.0, float(ratio - reach)), min(1.0, float(ratio + reach))


def mcnemar(only_first: int, only_second: int) -> float:
    """The exact two-sided p-value: if both were equally good, either would be the only correct one
    with probability 1/2 (McNemar 1947, Psychometrika 12).
    """
    n, least = only_first + only_second, min(only_first, only_second)
    # In whole numbers: no rounding, however many images.
    tail = term = 1
    for k in range(least):
        term = term * (n - k) // (k + 1)
        tail += term
    return min(1.0, float(2 * tail / 2**n)) if n < 1000 else min(1.0, _ratio(2 * tail, n))


def _ratio(number: int, power: int) -> float:
    # number / 2**power, where both are too large for a float.
    shift = max(0, number.bit_length() - 60)
    return math.ldexp(number >> shift, shift - power)


def holm(values: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm 1979, Scandinavian Journal of Statistics 6)."""
    corrected = [0.0] * len(values)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=lambda i: values[i])):
        highest = max(highest, min(1.0, (len(values) - rank) * values[place]))
        corrected[place] = highest
    return corrected


def difference_interval(
    both: int, only_first: int, only_second: int, n: int
) -> tuple[float, float]:
    """The 95 % interval of the first proportion minus the second, of the same n images: Newcombe's
    method 10 (1998, Statistics in Medicine 17, 2635-2650).
    """
    first, second = both + only_first, both + only_second
    neither = n - both - only_first - only_second
    p1, p2 = first / n, second / n
    (l1, u1), (l2, u2) = wilson(first, n), wilson(second, n)
    product = first * (n - first) * second * (n - second)
    together = float(both * neither - only_first * only_second)
    if together > 0:
        together = max(together - n / 2, 0.0)
    phi = together / math.sqrt(product) if product else 0.0
    down = (p1 - l1) ** 2 - 2 * phi * (p1 - l1) * (u2 - p2) + (u2 - p2) ** 2
    up = (u1 - p1) ** 2 - 2 * phi * (u1 - p1) * (p2 - l2) + (p2 - l2) ** 2
    return p1 - p2 - math.sqrt(max(down, 0)), p1 - p2 + math.sqrt(max(up, 0))
