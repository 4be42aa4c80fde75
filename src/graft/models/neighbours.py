"""The training pictures most like a picture: why the classifier says what it says."""

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
from graft.files import replacing
from graft.models.novelty import Novelty

# The file in the run folder.
NEIGHBOURS = "neighbours.safetensors"


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A training picture, as named in dataset.csv, and the cosine of its features' angle to those
    of the picture asked about: 1 for the same, about 0 for nothing in common.
    """

    path: str
    label: str
    similarity: float


@dataclass(frozen=True)
class Neighbours:
    """Training pictures, and where their features lie in the novelty's directions: unit vectors
    (n, Q).
    """

    novelty: Novelty
    paths: list[str]
    labels: list[str]
    places: Tensor

    def nearest(self, features: NDArray[np.float16], count: int) -> list[list[Neighbour]]:
        """Of features (N, D), the `count` training pictures most like each, the most like first."""
        if not len(features):
            return []
        alike = _places(self.novelty, features) @ self.places.T
        best = torch.sort(alike, dim=1, descending=True, stable=True)
        return [
            [
                Neighbour(self.paths[i], self.labels[i], round(s, 4))
                for i, s in zip(*row, strict=True)
            ]
            for row in zip(
                best.indices[:, :count].tolist(), best.values[:, :count].tolist(), strict=True
            )
        ]

    @classmethod
    def read(cls, run: Path, novelty: Novelty) -> "Neighbours":
        """Those of a run; ModelError if it has none."""
        for name in (NEIGHBOURS, "dataset.csv"):
            if not (run / name).is_file():
                raise ModelError(f"{run}: {name} is not there; train the run again")
        try:
            stored = load_file(run / NEIGHBOURS)
            with (run / "dataset.csv").open(encoding="utf-8", newline="") as stream:
                pictures = list(csv.DictReader(stream))
            chosen = [pictures[i] for i in stored["rows"].tolist()]
            paths, labels = [p["path"] for p in chosen], [p["label"] for p in chosen]
            return cls(novelty, paths, labels, stored["places"].float())
        except (SafetensorError, KeyError, IndexError) as error:
            raise ModelError(f"{run}: {NEIGHBOURS} is damaged: {error}") from error

    @classmethod
    def of(
        cls, novelty: Novelty, features: NDArray[np.float16], paths: list[str], labels: list[str]
    ) -> "Neighbours":
        """From features (n, D) of training pictures, with their names; rounded as they are kept."""
        return cls(novelty, paths, labels, _places(novelty, features).half().float())

    def write(self, run: Path, rows: NDArray[np.int64]) -> None:
        """Keep them in a run; `rows` (n,) are their lines in dataset.csv, the first being 0."""
        with replacing(run / NEIGHBOURS) as beside:
            save_file({"rows": torch.from_numpy(rows), "places": self.places.half()}, beside)


def _places(novelty: Novelty, features: NDArray[np.float16]) -> Tensor:
    return torch.nn.functional.normalize(novelty.projected(features)[1], dim=1)
