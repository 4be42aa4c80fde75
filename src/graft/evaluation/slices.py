"""Where the classifier is worse than elsewhere: groups of test images that have something in
common besides their class.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.evaluation.intervals import wilson

# Images of a slice, at least; and the chance of telling any slice apart by accident.
FEWEST, RISK = 20, 0.05
# Named slices of a kind, at most, the largest first; mistakes of a slice that are kept by path.
MOST, SHOWN = 30, 6

Mask = NDArray[np.bool_]


def worst_slices(
    right: Mask,
    paths: Sequence[str],
    numbers: Mapping[str, NDArray[np.float64]],
    names: Mapping[str, Sequence[str | None]],
) -> list[dict[str, Any]]:
    """The lowest and the highest third of each quantity (N,), NaN where it is not known, and the
    images that share a name (N), by accuracy, the worst first; of images at `paths` (N).

    `worse` says whether Fisher's exact test against all other images tells the slice apart after
    Holm's correction for the number of slices (Holm 1979). `mistakes` are some of its paths.
    """
    slices: list[dict[str, Any]] = []
    for quantity, value, inside in [*_thirds(numbers), *_named(names)]:
        n, hits = int(inside.sum()), int(right[inside].sum())
        others, found = len(right) - n, int(right[~inside].sum())
        if n < FEWEST or others < FEWEST:
            continue
        low, high = wilson(hits, n)
        slices.append(
            {
                "quantity": quantity,
                "value": value,
                "n": n,
                "accuracy": hits / n,
                "low": low,
                "high": high,
                "p": fisher_less(hits, n, found, others),
                "mistakes": [paths[i] for i in np.flatnonzero(inside & ~right)[:SHOWN]],
            }
        )
    ordered = sorted(slices, key=lambda row: row["p"])
    failed = False
    for place, row in enumerate(ordered):
        failed = failed or row["p"] * (len(ordered) - place) > RISK
        row["worse"] = not failed
    return sorted(slices, key=lambda row: row["accuracy"])


def fisher_less(hits: int, n: int, found: int, others: int) -> float:
    """Fisher's exact test, one-sided: the chance of at most `hits` right of n images if they were
    drawn from these and `others` more, of which `found` are right.

    The same as scipy.stats.fisher_exact, whose import takes longer than half a training.
    """
    right, total = hits + found, n + others
    whole = _log_choices(total, n)
    least = max(0, n - (total - right))
    return min(
        1.0,
        math.fsum(
            math.exp(_log_choices(right, k) + _log_choices(total - right, n - k) - whole)
            for k in range(least, hits + 1)
        ),
    )


def _log_choices(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _thirds(numbers: Mapping[str, NDArray[np.float64]]) -> Iterator[tuple[str, str, Mask]]:
    for quantity, values in numbers.items():
        if np.isnan(values).all():
            continue
        low, high = np.nanquantile(values, (1 / 3, 2 / 3))
        if low < high:
            yield quantity, "lowest third", values <= low
            yield quantity, "highest third", values >= high


def _named(names: Mapping[str, Sequence[str | None]]) -> Iterator[tuple[str, str, Mask]]:
    for quantity, values in names.items():
        for value, _ in Counter(v for v in values if v is not None).most_common(MOST):
            yield quantity, value, np.array([v == value for v in values])
