"""Which unlabeled images to label next: DropQuery (Gupte et al. 2024, arXiv:2401.14555).

On frozen features the label that a linear head gives changes under dropout of the features where it
is unsure. Of the images whose label does so, those nearest to the centers of as many clusters are
taken as labels are wanted: unsure ones, and no two alike.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# The passes and the share of features that each drops, as in the paper.
PASSES, DROPPED = 3, 0.75
# The simulation: how many labels it begins with for each class, how often it adds some, and with
# how many first draws.
FIRST, ROUNDS, TRIES = 2, 6, 8
# The penalty of its ridge regression, as a multiple of the images, for features of unit variance.
PENALTY = 1.0

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
# Standardized features (n, D) to scores (n, K).
Scores = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Chosen:
    """Rows to label, (n,), and in how many of PASSES the label of each changed, (n,)."""

    rows: Ints
    flips: Ints


def drop_query(features: Floats, scores: Scores, count: int, seed: int = 0) -> Chosen:
    """Choose `count` rows of standardized features (N, D), or all where there are fewer.

    Candidates are those whose label changes in more than half of the passes. Where they are fewer
    than `count`, all of them are chosen, and the rest from those that are not, in the same way.
    """
    x = torch.from_numpy(features)
    random = torch.Generator().manual_seed(seed)
    with torch.inference_mode():
        label = scores(x).argmax(1)
        flips = torch.zeros(len(x), dtype=torch.int64)
        for _ in range(PASSES):
            kept = torch.rand(x.shape, generator=random) >= DROPPED
            flips += scores(x * kept / (1 - DROPPED)).argmax(1) != label
    found = flips.numpy()
    candidates = np.flatnonzero(found > PASSES / 2)
    if len(candidates) >= count:
        rows = candidates[_central(features[candidates], count, seed)]
    else:
        others = np.flatnonzero(found <= PASSES / 2)
        more = others[_central(features[others], count - len(candidates), seed)]
        rows = np.concatenate([candidates, more])
    return Chosen(rows, found[rows])


def _central(features: Floats, count: int, seed: int) -> Ints:
    """The rows nearest to the centers of `count` clusters; all where there are no more."""
    if len(features) <= count:
        return np.arange(len(features))
    if count <= 0:
        return np.arange(0)
    from sklearn.cluster import KMeans  # takes a second to import

    means = KMeans(count, n_init=1, random_state=seed).fit(features)
    rows: list[int] = []
    distance = means.transform(features)  # (n, count)
    for center in range(count):
        order = np.argsort(distance[:, center], kind="stable")
        rows.append(next(int(row) for row in order if int(row) not in rows))
    return np.array(rows, np.int64)


def ridge(features: Floats, labels: Ints, classes: int) -> Scores:
    """A ridge regression of one-hot labels (n,) on standardized features (n, D), in its dual form:
    quick where images are few.
    """
    x = torch.from_numpy(features)
    wanted = torch.nn.functional.one_hot(torch.from_numpy(labels), classes).float()
    prior = wanted.mean(0)
    kernel = x @ x.T + torch.eye(len(x)) * (PENALTY * len(x))
    weights = x.T @ torch.linalg.solve(kernel, wanted - prior)
    return lambda some: some @ weights + prior


def simulate(
    pool: Floats, labels: Ints, test: Floats, test_labels: Ints, classes: int, step: int
) -> dict[str, Any]:
    """What DropQuery and random choice would have come to on images whose labels are known.

    From FIRST labels a class on, drawn at random from the pool (n, D), `step` more are added in
    each of ROUNDS, each way by itself, TRIES times with other first draws; a ridge regression of
    all labels so far is tested on `test` (m, D). Returns the number of labels and for each way the
    mean accuracy, (R,) lists, and `difference`, the mean advantage of DropQuery over all rounds but
    the first, with `low` and `high`, two standard errors over the tries on either side.
    """
    start = FIRST * classes
    step = max(1, min(step, (len(pool) - start) // (2 * ROUNDS)))
    accuracy = np.zeros((TRIES, 2, ROUNDS + 1))
    for number in range(TRIES):
        random = np.random.default_rng(number)
        first = _of_each_class(random, labels, classes)
        for way in (0, 1):
            have = first
            for turn in range(ROUNDS + 1):
                scores = ridge(pool[have], labels[have], classes)
                found = scores(torch.from_numpy(test)).argmax(1).numpy()
                accuracy[number, way, turn] = (found == test_labels).mean()
                rest = np.setdiff1d(np.arange(len(pool)), have)
                if way == 0:
                    new = rest[drop_query(pool[rest], scores, step, number).rows]
                else:
                    new = random.permutation(rest)[:step]
                have = np.concatenate([have, new])
    each = (accuracy[:, 0, 1:] - accuracy[:, 1, 1:]).mean(1)
    error = 2 * float(each.std(ddof=1)) / TRIES**0.5
    return {
        "labels": [len(first) + step * turn for turn in range(ROUNDS + 1)],
        "drop_query": accuracy[:, 0].mean(0).tolist(),
        "random": accuracy[:, 1].mean(0).tolist(),
        "difference": float(each.mean()),
        "low": float(each.mean()) - error,
        "high": float(each.mean()) + error,
        "tries": TRIES,
        "test_images": len(test),
    }


def _of_each_class(random: np.random.Generator, labels: Ints, classes: int) -> Ints:
    found = [
        random.permutation(np.flatnonzero(labels == number))[:FIRST] for number in range(classes)
    ]
    return np.concatenate(found)


def in_words(curve: dict[str, Any], names: Sequence[str] = ("this choice", "random choice")) -> str:
    """What a simulation says, in a sentence."""
    points = 100 * curve["difference"]
    between = f"{100 * curve['low']:+.1f} to {100 * curve['high']:+.1f}"
    last = f"{curve['drop_query'][-1]:.1%} against {curve['random'][-1]:.1%}"
    judged = "no clear difference"
    if curve["low"] > 0:
        judged = f"{names[0]} is better"
    elif curve["high"] < 0:
        judged = f"{names[1]} is better, so rather take images at random"
    return (
        f"simulated on the run's own labeled images, {names[0]} against {names[1]}: "
        f"{points:+.1f} points on average ({between}), at {curve['labels'][-1]:,} labels {last}; "
        f"{judged}. On your unlabeled images it may be otherwise"
    )
