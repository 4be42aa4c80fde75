"""The files of a finished run, read as they are."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.errors import DataError
from graft.runs.run import NEAREST, read_json, read_predictions

Record = dict[str, Any]

NEEDED = (
    "config.json",
    "dataset.csv",
    "findings.json",
    "history.jsonl",
    "model.json",
    "predictions.csv",
    "metrics.json",
)


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
    """Read what a report needs from the folder of a finished run; DataError if it is not one."""
    for name in NEEDED:
        if not (run / name).is_file():
            raise DataError(
                f"expected a finished run in {run}, but {name} is missing; train it to the end"
            )
    try:
        with (run / "dataset.csv").open(encoding="utf-8", newline="") as stream:
            images = list(csv.DictReader(stream))
        with (run / "history.jsonl").open(encoding="utf-8") as stream:
            history = [json.loads(line) for line in stream if line.strip()]
        tested, labels, probabilities, classes = read_predictions(run / "predictions.csv")
        return RunFiles(
            name=run.resolve().name,
            config=read_json(run / "config.json"),
            images=images,
            findings=read_json(run / "findings.json"),
            history=history,
            model=read_json(run / "model.json"),
            metrics=read_json(run / "metrics.json"),
            classes=classes,
            tested=tested,
            labels=labels,
            probabilities=probabilities,
            nearest=read_json(run / NEAREST) if (run / NEAREST).is_file() else {},
        )
    except ValueError as error:
        raise DataError(f"{run} is damaged ({error}); train it again") from error
