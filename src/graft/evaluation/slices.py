"""Where the classifier is worse than elsewhere: parts of the test pictures that have something in
common besides their class.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.evaluation.intervals import wilson

# Pictures of a slice, at least; and the chance of telling any slice apart by accident.
FEWEST, RISK = 20, 0.05


def worst_slices(
    right: NDArray[np.bool_], numbers: Mapping[str, NDArray[np.float64]]
) -> list[dict[str, Any]]:
    """The lowest and the highest third of each quantity (N,), by accuracy, the worst first.

    `worse` says whether Fisher's exact test against all other pictures tells the slice apart after
    Holm's correction for the number of slices (Holm 1979).
    """
    from scipy.stats import fisher_exact

    slices: list[dict[str, Any]] = []
    for name, values in numbers.items():
        low, high = np.quantile(values, (1 / 3, 2 / 3))
        if low == high:
            continue
        for which, inside in (("lowest", values <= low), ("highest", values >= high)):
            n, hits = int(inside.sum()), int(right[inside].sum())
            if n < FEWEST or n > len(right) - FEWEST:
                continue
            others, found = len(right) - n, int(right[~inside].sum())
            table = [[hits, n - hits], [found, others - found]]
            low_end, high_end = wilson(hits, n)
            slices.append(
                {
                    "quantity": name,
                    "third": which,
                    "n": n,
                    "accuracy": hits / n,
                    "low": low_end,
                    "high": high_end,
                    "p": float(fisher_exact(table, alternative="less").pvalue),
                }
            )
    ordered = sorted(slices, key=lambda row: row["p"])
    failed = False
    for place, row in enumerate(ordered):
        failed = failed or row["p"] * (len(ordered) - place) > RISK
        row["worse"] = not failed
    return sorted(slices, key=lambda row: row["accuracy"])
