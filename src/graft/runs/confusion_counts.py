"""How many images of each class were predicted as each: `confusion` of metrics.json.

Of up to MOST_DENSE classes that is a matrix, K lists of K counts, rows = true class. Of more it is
{"true": [...], "predicted": [...], "images": [...], "of_class": [...], "left_out": 0}: the cells
that hold images, the diagonal first and then those of most images, and the images of each class.
`left_out` are the images of the cells beyond MOST_CELLS, each of which holds few.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Stored = Sequence[Sequence[int]] | Ints | Mapping[str, Any]

MOST_DENSE = 1_000
MOST_CELLS = 1_000_000


@dataclass(frozen=True)
class ConfusionCounts:
    """The occupied cells (C,) of a matrix of `k` × `k` by row and column: `images` of the class
    `true` were predicted as `answer`. `of_class` (K,) are the images of each class.
    """

    k: int
    true: Ints
    answer: Ints
    images: Ints
    of_class: Ints

    @classmethod
    def of(cls, labels: Ints, predicted: Ints, k: int) -> Self:
        """Of labels and predicted classes (N,), from 0 to k - 1."""
        cells, images = np.unique(labels * k + predicted, return_counts=True)
        of_class = np.bincount(labels, minlength=k)
        return cls(k, cells // k, cells % k, images.astype(np.int64), of_class)

    @classmethod
    def read(cls, stored: Stored) -> Self:
        """Of `confusion` of metrics.json, in either form."""
        if isinstance(stored, Mapping):
            true, answer, images, of_class = (
                np.array(stored[name], np.int64)
                for name in ("true", "predicted", "images", "of_class")
            )
            return cls(len(of_class), true, answer, images, of_class)
        matrix = np.asarray(stored, np.int64).reshape(len(stored), len(stored))
        true, answer = np.nonzero(matrix)
        return cls(len(stored), true, answer, matrix[true, answer], matrix.sum(1))

    @cached_property
    def hits(self) -> Ints:
        """The images of each class that were predicted as it, (K,)."""
        right = self.true == self.answer
        return self._sum(self.true[right], self.images[right])

    @cached_property
    def predicted(self) -> Ints:
        """The images predicted as each class, (K,)."""
        return self._sum(self.answer, self.images)

    @property
    def without_images(self) -> list[int]:
        """The classes that have no image."""
        return [int(i) for i in np.flatnonzero(self.of_class == 0)]

    @property
    def right(self) -> int:
        """All images that were classified correctly."""
        return int(self.hits.sum())

    def _sum(self, of: Ints, images: Ints) -> Ints:
        found = np.zeros(self.k, np.int64)
        np.add.at(found, of, images)
        return found

    def matrix(self) -> Ints:
        """The whole matrix (K, K); of few classes only."""
        found = np.zeros((self.k, self.k), np.int64)
        found[self.true, self.answer] = self.images
        return found

    def to_json(self) -> Any:
        """As in metrics.json."""
        if self.k <= MOST_DENSE:
            return self.matrix().tolist()
        order = np.lexsort((self.answer, self.true, -self.images, self.true != self.answer))
        kept = order[:MOST_CELLS]
        return {
            "true": self.true[kept].tolist(),
            "predicted": self.answer[kept].tolist(),
            "images": self.images[kept].tolist(),
            "of_class": self.of_class.tolist(),
            "left_out": int(self.images.sum() - self.images[kept].sum()),
        }
