"""The training images most like an image: why the classifier says what it says."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from graft.models.ood import OODDetector
from graft.runs.run import Run

# The file in the run folder.
NEIGHBORS = "neighbors.safetensors"


@dataclass(frozen=True, slots=True)
class Neighbor:
    """A training image, as named in dataset.csv, and the cosine of its features' angle to those
    of the image asked about: 1 for the same, about 0 for nothing in common.
    """

    path: str
    label: str
    similarity: float


@dataclass(frozen=True)
class Neighbors:
    """Training images, and where their features lie in the detector's directions: unit vectors
    (n, Q).
    """

    detector: OODDetector
    paths: list[str]
    labels: list[str]
    places: Tensor

    def nearest(self, features: NDArray[np.float16], count: int) -> list[list[Neighbor]]:
        """Of features (N, D), the `count` training images most like each, the most like first."""
        if not len(features):
            return []
        alike = _places(self.detector, features) @ self.places.T
        best = torch.sort(alike, dim=1, descending=True, stable=True)
        return [
            [
                Neighbor(self.paths[i], self.labels[i], round(s, 4))
                for i, s in zip(*row, strict=True)
            ]
            for row in zip(
                best.indices[:, :count].tolist(), best.values[:, :count].tolist(), strict=True
            )
        ]

    @classmethod
    def read(cls, run: Run, detector: OODDetector) -> "Neighbors":
        """Those of a run; ModelError if it has none."""
        known, places = run.neighbors()
        return cls(
            detector, [row["path"] for row in known], [row["label"] for row in known], places
        )

    @classmethod
    def of(
        cls,
        detector: OODDetector,
        features: NDArray[np.float16],
        paths: list[str],
        labels: list[str],
    ) -> "Neighbors":
        """From features (n, D) of training images, with their names; rounded as they are kept."""
        return cls(detector, paths, labels, _places(detector, features).half().float())


def _places(detector: OODDetector, features: NDArray[np.float16]) -> Tensor:
    return torch.nn.functional.normalize(detector.projected(features)[1], dim=1)
