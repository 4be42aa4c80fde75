"""The run folder: the one place that reads and writes it.

config.json        settings as asked and as resolved, versions, device, seed
dataset.csv        path, label, split, group_id, sha256, then the table's own columns
findings.json      what the audit found
history.jsonl      one line an epoch
model.safetensors  weights
model.json         backbone, classes, preprocessing, temperature, OOD limit: enough to predict
predictions.csv    val and test: path, split, label, one probability a class
nearest.json       the training images nearest to each test image that was misclassified
neighbors.safetensors               where the training images' features lie
metrics.json       derived from predictions.csv; its presence means that the run is done
digests.json       the SHA-256 of each of these files, written just before metrics.json
report.html        made from the files above
classes.csv        the scores of each class, where the report has no room for them
validation.json    cross-validation and the like, where `graft validate` was run
speed.json         images a second at prediction, where `graft compare` measured it
heat_maps.json     where the evidence of the first mistakes lies
tensorboard/       event files, if asked for

A very large run has Parquet tables: see tables.py. What is off in a file is one ModelError that
names it and the field: see schema_model.py.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import Example
from graft.errors import DataError, ModelError
from graft.runs import image_table, records, tables
from graft.runs.csv_files import Predictions
from graft.runs.digest_file import renew, seal
from graft.runs.folder import LARGE_TABLES, lacking, lacks_report, remove_unfinished
from graft.runs.folder_files import files_of_large
from graft.runs.image_table import Images, values_of
from graft.runs.records import Record
from graft.runs.text_column import taken
from graft.runs.top_probabilities import PredictionRow, Probabilities
from graft.utils.csv_table import write_table
from graft.utils.files import naming, replacing, write_json, write_text

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Record", "Run"]


class Run:
    """A run folder. What is read is read once; see the top of this module for the files."""

    def __init__(self, path: str | Path):
        self.path = Path(path)

    @classmethod
    def finished(cls, path: str | Path) -> "Run":
        """A run that has all its files; DataError for a folder that is none, or is damaged."""
        run = cls(path)
        for name in lacking(file.name for file in run.path.glob("*") if file.is_file()):
            raise DataError(
                f"expected a finished run in {run.path}, but {name} is missing; train it to the end"
            )
        try:
            _ = run.config, run.images, run.findings, run.history, run.model, run.metrics
            _ = run.nearest, run.validation, run.speed, run.heat_maps
        except ModelError as error:
            raise DataError(str(error)) from error
        if run.metrics["classes"] != run.classes or not len(run.predictions("test")[0]):
            raise DataError(
                f"{run.path} is damaged: metrics.json and predictions.csv differ in their classes, "
                "or the test images are missing from the latter"
            )
        return run

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    @property
    def weights(self) -> Path:
        """model.safetensors."""
        return self.path / "model.safetensors"

    @property
    def lacks_report(self) -> bool:
        """Whether it was cut off between its last number and its report."""
        return lacks_report(self.path)

    @cached_property
    def config(self) -> Record:
        """config.json."""
        return dict(records.read_record(self.path / "config.json"))

    @property
    def resolved(self) -> Record:
        """The settings that were used; ModelError for a run that lacks them."""
        return records.resolved_settings(self.config, self.path)

    @cached_property
    def metrics(self) -> Record:
        """metrics.json."""
        return dict(records.read_record(self.path / "metrics.json"))

    @cached_property
    def model(self) -> Record:
        """model.json."""
        return dict(records.read_record(self.path / "model.json"))

    @cached_property
    def findings(self) -> list[Record]:
        """findings.json."""
        return list(records.read_record(self.path / "findings.json"))

    @cached_property
    def nearest(self) -> dict[str, list[str]]:
        """The training images nearest to each misclassified test image, by path."""
        return dict(records.read_record(self.path / "nearest.json", {}))

    @cached_property
    def validation(self) -> Record:
        """validation.json; empty where `graft validate` was not run."""
        return dict(records.read_record(self.path / "validation.json", {}))

    @cached_property
    def speed(self) -> float | None:
        """Images a second at prediction; None where nobody measured it."""
        found: float | None = records.read_record(self.path / "speed.json", {}).get(
            "images_per_second"
        )
        return found

    @cached_property
    def heat_maps(self) -> dict[str, Record]:
        """Explanations of misclassified test images, by path; empty where none were asked for."""
        return dict(records.read_record(self.path / "heat_maps.json", {}))

    @cached_property
    def history(self) -> list[Record]:
        """history.jsonl, a record an epoch."""
        return records.read_history(self.path / "history.jsonl")

    @cached_property
    def images(self) -> Images:
        """dataset.csv or .parquet, a record a usable image; ModelError for a damaged one."""
        return tables.read_dataset(self.path)

    @property
    def classes(self) -> list[str]:
        """The classes, in the order of the probabilities."""
        return self._predictions.classes

    def predictions(self, split: str) -> tuple[Sequence[str], NDArray[np.int64], Probabilities]:
        """Of a split, "val" or "test": paths (n), labels (n,), probabilities (n, K)."""
        found = self._predictions
        rows = np.flatnonzero(found.splits == split)
        return taken(found.paths, rows), found.labels[rows], found.probabilities[rows]

    def group_ids(self, paths: Sequence[str]) -> list[str]:
        """The group ID of each image, by its path."""
        known = values_of(self.images, "group_id", paths)
        return [known.get(path, path) for path in paths]

    @cached_property
    def files(self) -> Mapping[str, Path]:
        """Where the images of the run's source are, by path; empty if the source is gone."""
        try:
            large = (self.path / LARGE_TABLES["dataset.csv"]).is_file()
            found = files_of_large if large else records.source_files
            return found(self.config, self.path)
        except ModelError:
            return {}

    def neighbors(self) -> "tuple[list[Mapping[str, str]], Tensor]":
        """Training images, as in `images`, and where their features lie, unit vectors (n, Q).

        Raises ModelError for a run without them.
        """
        rows, places = records.read_neighbors(self.path / "neighbors.safetensors", len(self.images))
        return image_table.records(self.images, np.array(rows, np.int64)), places

    def write_dataset(
        self,
        examples: Sequence[Example],
        splits: Sequence[str],
        group_ids: Sequence[str],
        digests: Sequence[bytes],
    ) -> None:
        """Write dataset.csv, or .parquet: a line a usable image."""
        name = tables.write_dataset(self.path, examples, splits, group_ids, digests)
        self._written(name, "images")

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write config.json."""
        self._write("config.json", "config", records.with_place_of_source(config, self.path))

    def write_findings(self, findings: Sequence[Mapping[str, Any]]) -> None:
        """Write findings.json."""
        self._write("findings.json", "findings", findings)

    def append_history(self, line: Mapping[str, Any]) -> None:
        """Add an epoch's line to history.jsonl."""
        file = self.path / "history.jsonl"
        with naming(file), file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(line) + "\n")
        self._written("history.jsonl", "history")

    def write_model(self, tensors: "Mapping[str, Tensor]", model: Mapping[str, Any]) -> None:
        """Write model.safetensors, then model.json, each all or nothing."""
        records.write_tensors(self.weights, tensors)
        self._written("model.safetensors")
        self._write("model.json", "model", model)

    def write_predictions(
        self,
        classes: Sequence[str],
        rows: Iterable[PredictionRow],
        count: int = 0,
    ) -> None:
        """Write predictions.csv, or .parquet where `count` rows are too many for it."""
        name = tables.write_predictions(self.path, classes, rows, count)
        self._written(name, "_predictions")

    def write_neighbors(
        self, rows: NDArray[np.int64], places: "Tensor", nearest: Mapping[str, Sequence[str]]
    ) -> None:
        """Write where the features of training images lie, (n, Q), which lines of dataset.csv they
        are, (n,) from 0, and for misclassified test images the nearest of them.
        """
        import torch

        tensors = {"rows": torch.from_numpy(rows), "places": places.half()}
        records.write_tensors(self.path / "neighbors.safetensors", tensors)
        self._written("neighbors.safetensors")
        self._write("nearest.json", "nearest", nearest)

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Write metrics.json, which says that the run is done, and before it digests.json."""
        with replacing(self.path / "metrics.json") as beside:
            write_json(beside, metrics)
            seal(self.path, {"metrics.json": beside})
        self.__dict__.pop("metrics", None)

    def write_validation(self, found: Mapping[str, Any]) -> None:
        """Write validation.json."""
        self._write("validation.json", "validation", found)

    def write_speed(self, found: Mapping[str, Any]) -> None:
        """Write speed.json."""
        self._write("speed.json", "speed", found)

    def write_heat_maps(self, found: Mapping[str, Any]) -> None:
        """Write heat_maps.json."""
        self._write("heat_maps.json", "heat_maps", found)

    def write_class_table(self, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Write classes.csv."""
        write_table(self.path / "classes.csv", header, rows)
        self._written("classes.csv")

    def write_report(self, page: str) -> Path:
        """Write report.html and return its path."""
        write_text(self.path / "report.html", page)
        self._written("report.html")
        return self.path / "report.html"

    def checkpoint(self, stage: str) -> Path:
        """The checkpoint of a stage of training."""
        return self.path / f".{stage}.safetensors"

    def remembered(self, name: str) -> Record | None:
        """A choice that was made on the way, for whoever resumes; None if there is none."""
        found: Record | None = records.read_choices(self.path).get(name)
        return found

    def remember(self, name: str, choice: Mapping[str, Any]) -> None:
        """Keep a choice for whoever resumes."""
        known = records.read_choices(self.path)
        write_json(self.path / records.CHOICES, known | {name: choice})

    def remove_unfinished(self) -> None:
        """Remove checkpoints and choices: the run is done."""
        remove_unfinished(self.path)

    def _write(self, name: str, attribute: str, value: Any) -> None:
        write_json(self.path / name, value)
        self._written(name, attribute)

    def _written(self, name: str, attribute: str = "") -> None:
        self.__dict__.pop(attribute, None)
        renew(self.path, name)

    @cached_property
    def _predictions(self) -> Predictions:
        return tables.read_predictions(self.path)
