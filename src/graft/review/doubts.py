"""Which labels to doubt first, and the training images to look at beside a doubtful one."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from graft.evaluation.calibration import fit_temperature, softmax
from graft.features.activations import Activations
from graft.features.blocks import blocks_of, statistics
from graft.quality.label_errors import FEWEST, MARGIN, leave_one_out

Ints = NDArray[np.int64]
LIKELY = 0.9  # the probability that a label is wrong


@dataclass(frozen=True)
class Doubts:
    """Rows whose label all other images contradict, in the order to look at them, (n,).

    `suggested` (n,) are the class numbers that the others suggest, `gain` (n,) the probability
    that the label is wrong, so what a look at it is expected to mend, in labels. `sure` (n,): by
    the margin that `graft check` asks for.
    """

    rows: Ints
    suggested: Ints
    gain: NDArray[np.float64]
    sure: NDArray[np.bool_]


def doubts(
    features: Activations, labels: Ints, classes: int, open_rows: NDArray[np.bool_]
) -> Doubts:
    """Doubt the labels (N,) of those `open_rows` (N,) whose features (N, D) predict another class
    once the image itself is left out.

    Each image's scores are those of a ridge regression on all others (graft.quality.label_errors);
    one temperature, fitted on all labels, makes them probabilities. First come the sure ones, then
    the rest, and within each those of probability LIKELY first, so that whoever stops early has
    seen what is surest; then the pair of classes "said rose, looks like tulip" in which most labels
    are expected to be wrong, so that a look at like images settles many; within a pair, the
    likeliest. Classes of fewer than FEWEST images are not doubted.
    """
    scores, _ = leave_one_out(features, labels, classes)
    everyone = np.arange(len(labels))
    own = scores[everyone, labels]
    others = np.where(np.arange(classes) == labels[:, np.newaxis], -np.inf, scores)
    suggested, margin = others.argmax(1), others.max(1) - own
    wrong = 1 - softmax(scores, fit_temperature(scores, labels))[everyone, labels]
    large = np.bincount(labels, minlength=classes)[labels] >= FEWEST
    rows = np.flatnonzero(open_rows & large & (margin > 0))
    expected: dict[tuple[bool, bool, int, int], float] = defaultdict(float)
    keys = [
        (bool(margin[r] <= MARGIN), bool(wrong[r] < LIKELY), int(labels[r]), int(suggested[r]))
        for r in rows
    ]
    for key, row in zip(keys, rows, strict=True):
        expected[key] += wrong[row]
    order = sorted(
        range(len(rows)),
        key=lambda i: (*keys[i][:2], -expected[keys[i]], keys[i], -wrong[rows[i]]),
    )
    ranked = rows[order]
    return Doubts(ranked, suggested[ranked], wrong[ranked], margin[ranked] > MARGIN)


def nearest(
    features: Activations, rows: Sequence[int] | Ints, pool: Ints, count: int
) -> list[list[int]]:
    """Of the rows in `pool`, the `count` whose features (N, D) are most alike those of each of
    `rows`, by cosine of features of mean 0 and variance 1, itself left out; the nearest first.
    """
    if not len(rows) or not len(pool):
        return [[] for _ in rows]
    mean, std = statistics(features)

    def unit(some: Ints) -> torch.Tensor:
        x = (torch.from_numpy(features[some].astype(np.float32)) - mean) / (std + 1e-3)
        return torch.nn.functional.normalize(x, dim=1)

    asked = np.asarray(rows, np.int64)
    wanted = unit(asked)
    best = torch.full((len(asked), 0), -torch.inf)
    places = torch.zeros((len(asked), 0), dtype=torch.int64)
    for block in blocks_of(len(pool), features.shape):
        of = torch.from_numpy(pool[block])
        alike = wanted @ unit(pool[block]).T
        alike[torch.from_numpy(asked)[:, None] == of[None, :]] = -torch.inf
        both = torch.cat([best, alike], 1)
        where = torch.cat([places, of.expand(len(asked), -1)], 1)
        best, top = both.topk(min(count, both.shape[1]), dim=1)
        places = where.gather(1, top)
    return [
        [int(p) for p, s in zip(of_one, alike_one, strict=True) if s > -torch.inf]
        for of_one, alike_one in zip(places.tolist(), best.tolist(), strict=True)
    ]
