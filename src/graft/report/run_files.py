"""The files of a finished run, read as they are."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.runs.run import Run

Record = dict[str, Any]


@dataclass(frozen=True)
class RunFiles:
    """What a report is made from: the run folder's files, parsed and otherwise untouched.

    `tested`, `labels` (N,) and `probabilities` (N, K) are the rows of predictions.csv, K in the
    order of `classes`.
    """

    name: str
    config: Record
    images: list[dict[str, str]]
    findings: list[Record]
    history: list[Record]
    model: Record
    metrics: Record
    classes: list[str]
    tested: list[str]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    nearest: dict[str, list[str]]


def read_run(run: Path) -> RunFiles:
    """Stand-in."""
    found = Run.finished(run)
    tested, labels, probabilities = found.predictions("test")
    return RunFiles(
        found.name,
        found.config,
        found.images,
        found.findings,
        found.history,
        found.model,
        found.metrics | found.validation,
        found.classes,
        tested,
        labels,
        probabilities,
        found.nearest,
    )
