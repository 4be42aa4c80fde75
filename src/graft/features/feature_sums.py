"""Sums over images from which a ridge regression on their features follows exactly.

XᵀX and XᵀY of a part of the images add up to those of all, so that each file of features is read
once, in any order, on any machine, and nothing but (D, D) numbers is ever in memory. In float64 the
order changes the result by rounding alone.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graft.features.activations import Activations
from graft.features.blocks import as_on_disk

Floats = NDArray[np.float64]

# Rows that are multiplied at a time.
BLOCK = 4096


@dataclass(frozen=True)
class FeatureSums:
    """Of n images with features (D,) and labels below K: `counts` (K,) of the classes, `totals`
    (K, D) of their features, and `gram` (D, D), the products of all features.
    """

    counts: NDArray[np.int64]
    totals: Floats
    gram: Floats

    @classmethod
    def of(cls, features: NDArray[np.float16], labels: NDArray[np.int64], k: int) -> "FeatureSums":
        """The sums of images (n, D) with labels (n,)."""
        x = features.astype(np.float64)
        totals = np.zeros((k, x.shape[1]))
        np.add.at(totals, labels, x)
        return cls(np.bincount(labels, minlength=k), totals, x.T @ x)

    def __add__(self, other: "FeatureSums") -> "FeatureSums":
        return FeatureSums(
            self.counts + other.counts, self.totals + other.totals, self.gram + other.gram
        )

    @property
    def count(self) -> int:
        """The number of images, n."""
        return int(self.counts.sum())

    def mean(self) -> Floats:
        """The mean of each feature, (D,)."""
        mean: Floats = self.totals.sum(0) / self.count
        return mean

    def std(self) -> Floats:
        """The standard deviation of each feature, (D,)."""
        return np.sqrt(np.maximum(np.diagonal(self.gram) / self.count - self.mean() ** 2, 0))

    def ridge(self, strength: float) -> tuple[Floats, Floats]:
        """Weights (K, D) and biases (K,) of the ridge regression of the classes, 1 for the right
        one and 0 for others, with an intercept that is not penalized. The penalty is `strength`
        times n, on features of mean 0 and variance 1; the weights are for features as they are.
        """
        mean, std = self.mean(), self.std()
        scale = std + 1e-3 * std.mean() + 1e-12
        gram = (self.gram - self.count * np.outer(mean, mean)) / np.outer(scale, scale)
        moments = (self.totals - np.outer(self.counts, mean)) / scale
        penalty = strength * self.count * np.eye(len(mean))
        weights = np.linalg.solve(gram + penalty, moments.T).T / scale
        return weights, self.counts / self.count - weights @ mean


def sums_of(features: Activations, labels: NDArray[np.int64], k: int) -> FeatureSums:
    """The sums over activations (N, D) with labels (N,), read as they lie on disk."""
    width = features.shape[0]
    found = FeatureSums(np.zeros(k, np.int64), np.zeros((k, width)), np.zeros((width, width)))
    for rows, x in as_on_disk(features, BLOCK):
        found += FeatureSums.of(x, labels[rows], k)
    return found
