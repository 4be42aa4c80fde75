"""Nearest training images: why the classifier says what it says."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from graft.errors import ModelError
from graft.models.ood import OODDetector
from graft.utils.files import replacing

# The file in the run folder.
NEIGHBORS = "neighbors.safetensors"


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
    def read(cls, run: Path, detector: OODDetector) -> "Neighbors":
        """Those of a run. Raises ModelError if it has none."""
        for name in (NEIGHBORS, "dataset.csv"):
            if not (run / name).is_file():
                raise ModelError(
                    f"{run}: expected the nearest training images, {name} is not there; train the "
                    "run again"
                )
        try:
            stored = load_file(run / NEIGHBORS)
            with (run / "dataset.csv").open(encoding="utf-8", newline="") as stream:
                images = list(csv.DictReader(stream))
            chosen = [images[i] for i in stored["rows"].tolist()]
            paths, labels = [p["path"] for p in chosen], [p["label"] for p in chosen]
            return cls(detector, paths, labels, stored["places"].float())
        except (SafetensorError, KeyError, IndexError) as error:
            raise ModelError(
                f"{run}: {NEIGHBORS} is damaged: {error}; train the run again"
            ) from error

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

    def write(self, run: Path, rows: NDArray[np.int64]) -> None:
        """Write them to a run folder; `rows` (n,) are their rows in dataset.csv, from 0 on."""
        with replacing(run / NEIGHBORS) as beside:
            save_file({"rows": torch.from_numpy(rows), "places": self.places.half()}, beside)


def _places(detector: OODDetector, features: NDArray[np.float16]) -> Tensor:
    return torch.nn.functional.normalize(detector.projected(features)[1], dim=1)
