"""Which of several classifiers is better, on the same pictures: exact McNemar tests with Holm's
correction for their number.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.evaluation.intervals import wilson

LEVEL = 0.05


@dataclass(frozen=True)
class Pair:
    """Two classifiers, by position, on the same n pictures.

    `only_first` and `only_second` count the pictures that one of them alone names rightly.
    `difference` is the second's accuracy less the first's, `low` and `high` its 95 % interval
    (Newcombe's for paired shares). `p` is the exact McNemar p-value, `corrected` Holm's. `verdict`
    is of the second: "better", "worse" or "no difference shown".
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

    def to_json(self) -> dict[str, Any]:
        """As in comparison.json."""
        return asdict(self)


def compare(right: Sequence[NDArray[np.bool_]]) -> list[Pair]:
    """Every pair of classifiers, given which of the same n pictures each names rightly, (n,) each.

    Raises ValueError for fewer than two, or for different numbers of pictures.
    """
    if len(right) < 2 or len({len(r) for r in right}) > 1 or not len(right[0]):
        raise ValueError("expected at least two classifiers on the same pictures")
    found = []
    for i, j in combinations(range(len(right)), 2):
        only_i = int((right[i] & ~right[j]).sum())
        only_j = int((right[j] & ~right[i]).sum())
        both = int((right[i] & right[j]).sum())
        found.append((i, j, both, only_i, only_j, mcnemar(only_i, only_j)))
    n = len(right[0])
    pairs = []
    for (i, j, both, only_i, only_j, p), corrected in zip(
        found, holm([entry[-1] for entry in found]), strict=True
    ):
        low, high = difference_interval(both, only_j, only_i, n)
        verdict = "no difference shown"
        if corrected < LEVEL:
            verdict = "better" if only_j > only_i else "worse"
        difference = (only_j - only_i) / n
        pairs.append(Pair(i, j, n, only_i, only_j, difference, low, high, p, corrected, verdict))
    return pairs


def mcnemar(only_first: int, only_second: int) -> float:
    """The exact two-sided p-value: were both equally good, either would be the one that is right
    alone with probability 1/2 (McNemar 1947, Psychometrika 12).
    """
    n, least = only_first + only_second, min(only_first, only_second)
    # In whole numbers: no rounding, however many pictures.
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
    """The 95 % interval of first's share less second's, for paired shares of n: Newcombe's method
    10 (1998, Statistics in Medicine 17, 2635-2650).
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
