"""Nearest training images: why the classifier says what it says."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from graft.errors import ModelError
from graft.models.ood import OODDetector
from graft.runs.run import Run


@dataclass(frozen=True, slots=True)
class Neighbor:
    """A training image, by its path in dataset.csv, and the cosine similarity of its features and
    those of the image asked about, -1..1: 1 for the same, about 0 for nothing in common.
    """

    path: str
    label: str
    similarity: float


@dataclass(frozen=True)
class Neighbors:
    """Training images and their features along the detector's directions, as unit vectors (n, Q)
    float32: `places`.
    """

    detector: OODDetector
    paths: list[str]
    labels: list[str]
    places: Tensor

    def nearest(self, features: NDArray[np.float16], count: int) -> list[list[Neighbor]]:
        """The `count` training images nearest to each of features (N, D), the nearest first."""
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
        """Those of a run. Raises ModelError if it has none, or those of another model."""
        known, places = run.neighbors()
        if places.shape[1] != detector.directions.shape[1]:
            raise ModelError(
                f"{run.path}: neighbors.safetensors is of another model: places has "
                f"{places.shape[1]:,} columns, expected {detector.directions.shape[1]:,}; copy the "
                "run again, or train it again"
            )
        paths, labels = [row["path"] for row in known], [row["label"] for row in known]
        return cls(detector, paths, labels, places)

    @classmethod
    def of(
        cls,
        detector: OODDetector,
        features: NDArray[np.float16],
        paths: list[str],
        labels: list[str],
    ) -> "Neighbors":
        """From features (n, D) of training images, with paths and labels; rounded as on disk."""
        return cls(detector, paths, labels, _places(detector, features).half().float())


def _places(detector: OODDetector, features: NDArray[np.float16]) -> Tensor:
    return torch.nn.functional.normalize(detector.projected(features)[1], dim=1)
