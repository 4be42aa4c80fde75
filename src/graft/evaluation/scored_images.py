"""Images with their labels and what a classifier gave each class: what metrics are computed from.

Of a run of very many images and classes only the largest probabilities of each image are known
(TopProbabilities); all here is exact from them.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from graft.errors import DataError
from graft.runs.top_probabilities import Probabilities, TopProbabilities, of_labels

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Probabilities that are worked on at one time.
AT_ONCE = 2**22
KS = (5, 10, 20)


def check_labels(labels: ArrayLike, n: int, k: int) -> Ints:
    """The labels (n,) as int64.

    Raises ValueError unless they are n integers from 0 to k - 1, and DataError if n is 0.
    """
    found = np.asarray(labels)
    if found.shape != (n,):
        raise ValueError(f"expected one label an image, shape ({n},), got {found.shape}")
    if n == 0:
        raise DataError("expected at least one labeled image, got none; add images to this split")
    if found.dtype.kind not in "iu":
        raise ValueError(f"expected integer labels, got {found.dtype}")
    if found.min() < 0 or found.max() >= k:
        raise ValueError(f"expected labels 0 to {k - 1}, got {found.min()} to {found.max()}")
    return found.astype(np.int64)


@dataclass(frozen=True)
class ScoredImages:
    """Checked probabilities (N, K) and labels (N,)."""

    probabilities: Probabilities
    targets: Ints

    @classmethod
    def of(cls, probabilities: ArrayLike | TopProbabilities, labels: ArrayLike) -> Self:
        """Raises ValueError unless these are probabilities with one label each, DataError without
        an image.
        """
        if isinstance(probabilities, TopProbabilities):
            targets = check_labels(labels, *probabilities.shape)
            of_labels(probabilities, targets)
            return cls(probabilities, targets)
        p = np.asarray(probabilities, dtype=np.float64)
        if p.ndim != 2:
            raise ValueError(f"expected probabilities of shape (N, K), got {p.shape}")
        targets = check_labels(labels, len(p), p.shape[1])
        if not np.isfinite(p).all():
            raise ValueError("expected finite probabilities, got NaN or infinity")
        bad = (p.min(axis=1) < 0) | (np.abs(p.sum(axis=1) - 1) > 1e-3)
        if bad.any():
            row = int(bad.argmax())
            raise ValueError(
                "expected probabilities of at least 0 in rows that sum to 1, "
                f"got row {row} with smallest {p[row].min():.6g} and sum {p[row].sum():.6g}"
            )
        return cls(p, targets)

    @property
    def k(self) -> int:
        """The number of classes."""
        return int(self.probabilities.shape[1])

    @cached_property
    def predicted(self) -> Ints:
        """The most probable class of each image, (N,)."""
        return self.probabilities.argmax(axis=1)

    @property
    def of_label(self) -> Floats:
        """The probability of each image's label, (N,)."""
        return of_labels(self.probabilities, self.targets)

    @property
    def squared_distances(self) -> Floats:
        """How far the probabilities of each image are from its one-hot label, squared, (N,)."""
        p, targets = self.probabilities, self.targets
        if isinstance(p, TopProbabilities):
            found: Floats = p.squares.astype(np.float64) - 2 * self.of_label + 1
            return np.maximum(found, 0)
        rows = max(1, AT_ONCE // self.k)
        parts = []
        for start in range(0, len(p), rows):
            distance = p[start : start + rows].copy()
            distance[np.arange(len(distance)), targets[start : start + rows]] -= 1
            parts.append((distance**2).sum(axis=1))
        return np.concatenate(parts)

    def binned(self, bins: int) -> tuple[Ints, Floats, Floats]:
        """Bin, top probability and correctness (1.0 or 0.0) of each image: three (N,) arrays.

        Raises ValueError for fewer than one bin.
        """
        if bins < 1:
            raise ValueError(f"expected at least one bin, got {bins}")
        confidence = self.probabilities.max(axis=1)
        # A row may sum to a little over 1, and its top probability with it.
        edges = np.linspace(0, 1, bins + 1)
        bin_of = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
        return bin_of, confidence, (self.predicted == self.targets).astype(np.float64)

    @property
    def top_k_accuracy(self) -> dict[str, float]:
        """The fraction of images whose label is among the k most probable classes, by k; of images
        of which only these are known, else empty.
        """
        if not isinstance(self.probabilities, TopProbabilities):
            return {}
        hits = self.probabilities.top == self.targets[:, None]
        return {str(k): float(hits[:, :k].any(axis=1).mean()) for k in KS if k <= hits.shape[1]}


def known(probabilities: ArrayLike | TopProbabilities) -> Probabilities:
    """Probabilities (N, K) as float64, or as far as they are known."""
    if isinstance(probabilities, TopProbabilities):
        return probabilities
    return np.asarray(probabilities, np.float64)
