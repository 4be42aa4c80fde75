"""Probabilities of so many images and classes that only the largest of each image are kept.

10,000 classes of a million images are 40 GB. What is kept of an image: its `TOP` most probable
classes with their probabilities, the probability of its true class, and the sum of the squares of
all. From these accuracy, the confusion counts, NLL, ECE, Brier score, error budgets and top-k
accuracy are exact (to the rounding of float32); what asks for one class's probability over all
images is not to be had.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

TOP = 20
# Probabilities of a whole run that are in memory at one time.
AT_ONCE = 2**23

Rows = NDArray[np.int64] | NDArray[np.bool_] | slice


@dataclass(frozen=True)
class TopProbabilities:
    """Stands for probabilities (N, K), as far as they are known.

    `top` (N, T) int32 are the most probable classes, the most probable first, and `values` (N, T)
    float32 their probabilities; `labels` (N,) the true classes, `of_label` (N,) float32 their
    probabilities; `squares` (N,) float32 the sum of the squares of all K. `count` is K > T.
    """

    count: int
    top: NDArray[np.int32]
    values: NDArray[np.float32]
    labels: NDArray[np.int64]
    of_label: NDArray[np.float32]
    squares: NDArray[np.float32]

    @classmethod
    def of(cls, probabilities: ArrayLike, labels: ArrayLike, most: int = TOP) -> Self:
        """What is kept of dense probabilities (N, K) of images with these labels (N,)."""
        p = np.asarray(probabilities)
        targets = np.asarray(labels, np.int64)
        rows = np.arange(len(p))
        found = np.argpartition(-p, most - 1, axis=1)[:, :most]
        best = p.argmax(1)  # of equal ones the first, as everywhere
        lost = (found != best[:, None]).all(1)
        found[lost, -1] = best[lost]
        values = p[rows[:, None], found]
        # The best first, then by probability, of equal ones the first class.
        order = np.lexsort((found, -values, found != best[:, None]), axis=1)
        found = np.take_along_axis(found, order, 1)
        return cls(
            p.shape[1],
            found.astype(np.int32),
            np.take_along_axis(values, order, 1).astype(np.float32),
            targets,
            p[rows, targets].astype(np.float32),
            np.square(p, dtype=np.float64).sum(1).astype(np.float32),
        )

    @classmethod
    def joined(cls, parts: "list[TopProbabilities]") -> Self:
        """One after the other; at least one."""
        names = ("top", "values", "labels", "of_label", "squares")
        return cls(
            parts[0].count, *(np.concatenate([getattr(p, name) for p in parts]) for name in names)
        )

    @property
    def shape(self) -> tuple[int, int]:
        """(N, K)."""
        return len(self.top), self.count

    def __len__(self) -> int:
        return len(self.top)

    def __getitem__(self, rows: Rows) -> Self:
        """Of some images."""
        return type(self)(
            self.count,
            self.top[rows],
            self.values[rows],
            self.labels[rows],
            self.of_label[rows],
            self.squares[rows],
        )

    def argmax(self, axis: int = 1) -> NDArray[np.int64]:
        """The most probable class of each image, (N,)."""
        return self.top[:, 0].astype(np.int64)

    def max(self, axis: int = 1) -> NDArray[np.float64]:
        """Its probability, (N,)."""
        return self.values[:, 0].astype(np.float64)

    def __array__(self, *asked: object, **named: object) -> NoReturn:
        raise TypeError(
            f"expected the probabilities of all {self.count:,} classes, only the "
            f"{self.top.shape[1]} largest of each image are kept"
        )


Probabilities = NDArray[np.float64] | TopProbabilities
# Path, split, label and probabilities (K,), or what is kept of them, (1, K).
PredictionRow = tuple[str, str, str, NDArray[np.float64] | TopProbabilities]


def of_labels(probabilities: Probabilities, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """The probability of each image's label, (N,); of what is not whole only the true labels'."""
    if isinstance(probabilities, TopProbabilities):
        if not np.array_equal(labels, probabilities.labels):
            raise ValueError("expected the true labels: the others' probabilities are not kept")
        return probabilities.of_label.astype(np.float64)
    found: NDArray[np.float64] = probabilities[np.arange(len(labels)), labels]
    return found


def each_image(probabilities: Probabilities) -> Iterator["NDArray[np.float64] | TopProbabilities"]:
    """The probabilities of one image after the other: (K,), or what is kept of them, (1, K)."""
    if isinstance(probabilities, TopProbabilities):
        yield from (probabilities[i : i + 1] for i in range(len(probabilities)))
    else:
        yield from probabilities
