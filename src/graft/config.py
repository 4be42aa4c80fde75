"""The settings of a run, each declared once: TrainConfig and SplitConfig.

From these declarations come the checks here, the options of `graft train` (cli/options.py), the
JSON schema (`TrainConfig.model_json_schema()`) and docs/settings.md (cli/settings_page.py).
"""

import difflib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from graft.choices import (
    BACKEND_HELP,
    DEFAULT_MODEL,
    FROM_SCRATCH,
    LARGEST_SIDE,
    MODEL_HELP,
    OPEN_CLIP,
    PIXELS_HELP,
    SYNC_HELP,
    UNFREEZE,
    Backend,
    Balance,
    BatchNorm,
    HeadStart,
    LabelBy,
    Optimizer,
    PixelsAsked,
    Preset,
    Resize,
    Schedule,
    parse_unfreeze,
)
from graft.errors import UsageError

Count = Annotated[int, Field(ge=1)]
Side = Annotated[int, Field(ge=8, le=LARGEST_SIDE)]
Rate = Annotated[float, Field(gt=0, lt=10)]
Decay = Annotated[float, Field(ge=0, lt=100)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Alpha = Annotated[float, Field(ge=0, le=100)]
Seed = Annotated[int, Field(ge=0)]
Text = Annotated[str, Field(min_length=1)]

SEED_HELP = "The same seed gives the same split, initial weights and batches."


class Settings(BaseModel):
    """Settings that are checked when they are made, and do not change.

    Types are strict: True is not an integer, and "3" is not one either. Raises UsageError, one
    line that names each setting at fault, what was expected and what came.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def __init__(self, **settings: Any) -> None:
        try:
            super().__init__(**settings)
        except ValidationError as error:
            raise UsageError(_explained(type(self), error)) from None

    def to_json(self) -> dict[str, Any]:
        """As stored in config.json."""
        return self.model_dump()


class SplitConfig(Settings):
    """How the images are divided into training, validation and test.

    Groups, identical files and near-duplicates always stay in one split. The test split is 15 %
    of the images.
    """

    group_by: Text | None = Field(
        default=None,
        description="What must stay in one split, such as a patient: folder, a column of the "
        "table, or a regular expression on the file name.",
    )
    time_by: Text | None = Field(
        default=None,
        description="Test on the newest images; the date is exif or a column of the table.",
    )
    label_by: LabelBy | None = Field(default=None, description="Which folder gives the label.")
    follow_links: bool = Field(default=False, description="Read links out of the source, too.")
    val_fraction: Annotated[float, Field(gt=0, le=0.5)] = Field(
        default=0.15,
        description="Fraction of the images for validation, which picks the best epoch and "
        "calibrates. With tens of thousands of images 0.05 is enough.",
    )
    seed: Seed = Field(default=42, description=SEED_HELP)


def _checked_unfreeze(text: object) -> object:
    parse_unfreeze(text)
    return text


class TrainConfig(Settings):
    """How a classifier is trained; docs/recipes.md has the measurement behind each default.

    None means that the default depends on the model and on what is trained; `resolve` in
    training/defaults.py fills it in.
    """

    model: Text = Field(default=DEFAULT_MODEL, description=MODEL_HELP)
    unfreeze: Annotated[str, BeforeValidator(_checked_unfreeze)] = Field(
        default="none",
        pattern=f"^({UNFREEZE})$",
        description="What is trained below the head: none, all, the last layers (20%) or stages "
        "(2), or adapters in a transformer (lora).",
    )
    head: HeadStart = Field(
        default="new",
        description="Where the head begins: anew, or with --model open-clip:… at what its text "
        "tower makes of the names of the classes; wise-ft then mixes the weights from before and "
        "after training.",
    )
    pixels: PixelsAsked = Field(default="auto", description=PIXELS_HELP)
    image_size: Side | None = Field(default=None, description="Pixels a side of the input.")
    resize: Resize | None = Field(
        default=None,
        description="How an image that is not square is made so: crop to its middle, or squash "
        "all of it.",
    )
    augment: Preset | None = Field(
        default=None,
        description="How much the views of a training image differ; graft augment shows them.",
    )
    flip: bool = Field(
        default=True,
        description="Mirror some views of the training images. Not for digits, letters or hands.",
    )
    views: Count | None = Field(
        default=None,
        description="Views of each training image: the plain one, then augmented ones.",
    )
    epochs: Count | None = Field(
        default=None,
        description="Passes over the training images; early stopping keeps the best one.",
    )
    batch_size: Count | None = Field(
        default=None, description="Images a step, at most; small datasets take smaller batches."
    )
    learning_rate: Rate | None = Field(
        default=None, description="The highest rate of the schedule."
    )
    weight_decay: Decay | None = Field(
        default=None,
        description="Weight decay; decoupled with adamw, part of the gradient with sgd.",
    )
    optimizer: Optimizer | None = Field(
        default=None, description="AdamW, or SGD with Nesterov momentum of 0.9."
    )
    schedule: Schedule = Field(
        default="one-cycle", description="How the learning rate changes from step to step."
    )
    patience: Count = Field(
        default=10, description="Epochs without a lower validation loss before training stops."
    )
    label_smoothing: Fraction = Field(
        default=0.1, description="Probability taken from the true class and spread over all."
    )
    ema: Fraction | None = Field(
        default=None, description="Decay of the moving average of the weights; 0 for no averaging."
    )
    batch_norm: BatchNorm = Field(
        default="frozen",
        description="Statistics of unfrozen BatchNorm layers: the pretrained ones, or each "
        "batch's own.",
    )
    sync_batch_norm: bool = Field(default=True, description=SYNC_HELP)
    mixup: Alpha | None = Field(
        default=None, description="Alpha of mixup, which blends examples; 0 for none."
    )
    cutmix: Alpha = Field(
        default=0.0, description="Alpha of CutMix, which pastes images into images; 0 for none."
    )
    balance: Balance = Field(
        default="none", description="sampling draws images of rare classes as often as the others."
    )
    backend: Backend = Field(default="auto", description=BACKEND_HELP)
    seed: Seed = Field(default=42, description=SEED_HELP)

    @model_validator(mode="after")
    def _fits_together(self) -> "TrainConfig":
        from_scratch = self.model in FROM_SCRATCH
        if from_scratch and self.unfreeze != "none":
            raise UsageError(
                f"unfreeze is for pretrained models, and {self.model} is always trained whole; "
                "leave it out"
            )
        if self.head != "new" and not self.model.startswith(OPEN_CLIP):
            raise UsageError(
                f"--head {self.head} needs a model with a text tower, {OPEN_CLIP}FOLDER or "
                f"{OPEN_CLIP}OWNER/REPOSITORY, not {self.model}"
            )
        if self.cutmix and not from_scratch and parse_unfreeze(self.unfreeze)[0] != "all":
            raise UsageError(
                "cutmix needs a network that is trained whole: base_cnn, deep_cnn or --unfreeze "
                "all; with frozen layers use mixup"
            )
        return self


class ResolvedConfig(TrainConfig):
    """The settings that a run is trained with: every default is filled in, nothing is None."""

    image_size: Side
    resize: Resize
    augment: Preset
    views: Count
    epochs: Count
    batch_size: Count
    learning_rate: Rate
    weight_decay: Decay
    optimizer: Optimizer
    ema: Fraction
    mixup: Alpha


Config = TypeVar("Config", bound=TrainConfig)


def depends_on_model(name: str) -> bool:
    """Whether a setting's default depends on the model and on what is trained."""
    field = ResolvedConfig.model_fields.get(name)
    return field is not None and field.is_required()


def configs_of(settings: Mapping[str, Any], kind: type[Config]) -> tuple[Config, SplitConfig]:
    """Both configs from one flat set of settings, as graft.train takes them; `seed` is for both.

    Raises UsageError for an unknown name, with "did you mean", and for an impossible value.
    """
    train, split = kind.model_fields, SplitConfig.model_fields
    for name in settings:
        if name not in train and name not in split:
            raise UsageError(_unknown(name, [*train, *(n for n in split if n not in train)]))
    return (
        kind(**{name: value for name, value in settings.items() if name in train}),
        SplitConfig(**{name: value for name, value in settings.items() if name in split}),
    )


def expected(schema: Mapping[str, Any]) -> str:
    """What a setting may be, in words, from its JSON schema: "a whole number of at least 1"."""
    schema = typed(schema)
    if "enum" in schema:
        return f"one of {', '.join(schema['enum'])}"
    noun = {"integer": "a whole number", "number": "a number", "boolean": "true or false"}
    words = noun.get(schema["type"], "text that is not empty")
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    if low is not None and high is not None:
        return f"{words} from {low:g} to {high:g}"
    bounds = [
        f"{phrase} {bound:g}"
        for phrase, bound in (
            ("of at least", low),
            ("above", above),
            ("of at most" if above is None else "up to", high),
            ("below", below),
        )
        if bound is not None
    ]
    return " ".join([words, " and ".join(bounds)]).strip()


def typed(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of a setting's values; of one that may also be None, without that."""
    return next((one for one in schema.get("anyOf", ()) if one["type"] != "null"), schema)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a message about a misspelled word: "; did you mean epochs?", or nothing."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _unknown(name: str, known: Iterable[str]) -> str:
    hint = did_you_mean(name, known) or f"; the settings are {', '.join(known)}"
    return f"there is no setting {name!r}{hint}"


def _explained(kind: type[Settings], error: ValidationError) -> str:
    """All that is wrong, in one line."""
    schemas, told = kind.model_json_schema()["properties"], {}
    for fault in error.errors(include_url=False):
        name, came = str(fault["loc"][0]), fault["input"]
        if fault["type"] == "extra_forbidden":
            told[name] = _unknown(name, kind.model_fields)
        elif fault["type"] == "missing":
            told[name] = f"{name} is missing; it must be {expected(schemas[name])}"
        else:
            told[name] = f"{name} must be {expected(schemas[name])}, not {came!r}"
            if isinstance(came, str):
                told[name] += did_you_mean(came, typed(schemas[name]).get("enum", ()))
    return "; ".join(told.values())
