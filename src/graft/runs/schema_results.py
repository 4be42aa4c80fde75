"""What the other JSON files of a run may hold: what reports, comparisons and evaluations read."""

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from graft.runs.schema import (
    Closed,
    Count,
    Ends,
    Fraction,
    Name,
    Names,
    Number,
    Part,
    Record,
    Seconds,
    Text,
    all_different,
    check,
)
from graft.runs.schema_confusion import Confusion, ConfusionCells
from graft.runs.schema_model import ModelFile
from graft.runs.schema_validation import Rate, Validation

Epochs = Annotated[int, Field(ge=1, le=1_000_000)]
Severity = Literal["blocking", "matters", "note"]
Row = Annotated[list[Annotated[float, Field(ge=-1e6, le=1e6)]], Field(min_length=1, max_length=512)]


class ClassScores(Part):
    """The scores of one class."""

    precision: Fraction
    precision_low: Fraction
    precision_high: Fraction
    recall: Fraction
    recall_low: Fraction
    recall_high: Fraction
    f1: Fraction
    f1_low: Fraction
    f1_high: Fraction
    n: Count


class Bin(Part):
    """A bin of the reliability diagram."""

    low: Fraction
    high: Fraction
    n: Count
    confidence: Fraction | None
    accuracy: Fraction | None


class ClassError(Part):
    """The calibration error of one class."""

    class_name: Annotated[Name, Field(alias="class")]
    value: Fraction
    low: Fraction
    high: Fraction


class Baseline(Part):
    """What always predicting one class would reach."""

    majority_class: Name
    accuracy: Rate
    chosen_on: Text = ""


class ErrorBudget(Part):
    """What an error budget chosen on val did on test; only the first two where none was found."""

    max_error: Fraction
    min_probability: Fraction | None
    answered: Count | None = None
    answered_interval: Ends | None = None
    wrong: Count | None = None
    error_interval: Ends | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        counted = (self.answered, self.answered_interval, self.wrong, self.error_interval)
        if self.min_probability is not None and None in counted:
            raise ValueError("has a min_probability, and not what it did on test")
        return self


class PredictionSets(Part):
    """What a coverage chosen on val did on test."""

    coverage: Fraction
    set_probability: Fraction
    covered: Count
    covered_interval: Ends
    mean_size: Number | None
    mean_size_interval: Annotated[list[Number], Field(min_length=2, max_length=2)] | None


class Selective(Part):
    """Selective prediction on test."""

    n: Annotated[Count, Field(ge=1)]
    error_budgets: list[ErrorBudget]
    prediction_sets: list[PredictionSets]
    abstained_ood: Count | None
    abstained_ood_interval: Ends | None

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.abstained_ood is None) != (self.abstained_ood_interval is None):
            raise ValueError("abstained_ood and its interval are both there, or neither")
        return self


class Slice(Part):
    """Test images that have something in common."""

    quantity: Text
    value: Text
    n: Count
    accuracy: Fraction
    low: Fraction
    high: Fraction
    p: Fraction
    worse: bool
    mistakes: Names


class Times(Part):
    """Seconds of the steps of a run, by name."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)
    __pydantic_extra__: dict[str, Seconds | None]
    total: Seconds


class Metrics(Part):
    """metrics.json."""

    split: Text
    n: Annotated[Count, Field(ge=1)]
    classes: Annotated[Names, Field(min_length=2, max_length=100_000)]
    classes_without_images: Names = Field(default_factory=list)
    accuracy: Rate
    macro_precision: Fraction
    macro_recall: Fraction
    macro_f1: Fraction
    intervals: dict[str, Ends | Text] = Field(default_factory=dict)
    per_class: dict[str, ClassScores]
    confusion: Confusion
    ece: Fraction
    nll: Annotated[float, Field(ge=0, le=1000)] | None = None
    brier: Annotated[float, Field(ge=0, le=2.01)] | None = None
    reliability: list[Bin]
    class_ece: list[ClassError] = Field(default_factory=list)
    baseline: Baseline
    selective_prediction: Selective | None = None
    slices: list[Slice] = Field(default_factory=list)
    top_k_accuracy: dict[str, Fraction] = Field(default_factory=dict)
    left_out: dict[str, Text] = Field(default_factory=dict)
    temperature: Annotated[float, Field(gt=0, le=1000)] | None = None
    from_cache: bool | None = None
    epochs: Epochs | None = None
    best_epoch: Epochs | None = None
    seconds: Times | None = None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        all_different(self.classes, "classes")
        count = len(self.classes)
        if set(self.per_class) != set(self.classes):
            raise ValueError("per_class and classes name different classes")
        if isinstance(self.confusion, ConfusionCells):
            if len(self.confusion.of_class) != count:
                raise ValueError(f"confusion is not of the {count} classes")
        elif len(self.confusion) != count or any(len(row) != count for row in self.confusion):
            raise ValueError(f"confusion is not {count} × {count}, as there are {count} classes")
        return self


class Finding(Part):
    """A finding of the audit."""

    kind: Name
    severity: Severity
    paths: Names
    message: Text
    sets: list[Names] = Field(default_factory=list)


class Corrections(Part):
    """The journal of corrections that a run was trained with."""

    file: Text = ""
    sha256: Text = ""
    notes: list[Text] = Field(default_factory=list)


class Config(Part):
    """config.json."""

    source: Name | None = None
    source_from_run: Name | None = None
    settings: Record = Field(default_factory=dict)
    resolved: Record | None = None
    notes: list[Text] | None = None
    training_notes: list[Text] | None = None
    corrections: Corrections | None = None
    graft: Text = ""
    versions: dict[str, Text] = Field(default_factory=dict)
    device: Text = ""
    backend: Text = ""
    threads: Count | None = None
    seed: Annotated[int, Field(ge=0, lt=2**64)] | None = None
    started: Text = ""


class Epoch(Part):
    """A line of history.jsonl; a loss that was not finite is NaN."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=True)
    stage: Text = ""
    epoch: Epochs
    train_loss: float | None = None
    train_accuracy: float | None = None
    val_loss: float | None = None
    val_accuracy: float | None = None
    val_calibrated_loss: float | None = None
    learning_rate: float | None = None
    seconds: Seconds | None = None


class HeatMap(Part):
    """A mistake's heat map; its sentence only where it was asked for."""

    map: Annotated[list[Row], Field(min_length=1, max_length=512)]
    sentence: Text | None = None

    @model_validator(mode="after")
    def _even(self) -> Self:
        if len({len(row) for row in self.map}) > 1:
            raise ValueError("the rows of map are not of one length")
        return self


class Speed(Part):
    """speed.json."""

    images_per_second: Annotated[float, Field(gt=0, le=1e9)] | None = None
    images: Count | None = None
    backend: Text = ""


class Digests(Closed):
    """digests.json."""

    format: Annotated[int, Field(ge=1)]
    files: dict[Name, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]]


SCHEMAS: dict[str, Any] = {
    "model.json": ModelFile,
    "config.json": Config,
    "findings.json": list[Finding],
    "metrics.json": Metrics,
    "nearest.json": dict[str, Names],
    "validation.json": Validation,
    "speed.json": Speed,
    "heat_maps.json": dict[str, HeatMap],
    "digests.json": Digests,
}
# Reports leave out what these lack, where an older run did not keep it.
PARTIAL = ("model.json", "config.json")


def check_file(name: str, value: Any) -> None:
    """Raise ValueError unless the value of a run's JSON file is as its schema says; see `check`."""
    check(SCHEMAS[name], value, name, complete=name not in PARTIAL)


def check_epochs(lines: list[Any]) -> None:
    """Raise ValueError unless these are the lines of a history.jsonl; see `check`."""
    check(list[Epoch], lines, "history.jsonl")
