"""TrainConfig: every setting of a training run, checked when it is made."""

import difflib
from dataclasses import asdict, dataclass, fields
from typing import Any

from graft.errors import UsageError

DEFAULT_MODEL = "mobilenetv2_100"
ENGINES = ("auto", "openvino", "torch", "float32")


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """The settings of `graft train`. Each default was chosen by measurement: docs/recipes.md.

    model: base_cnn, a timm name, local-dir:FOLDER, or an earlier run's folder.
    seed: of the split, the initial weights and the order of batches; ≥ 0.
    epochs: passes over the training part at most; early stopping keeps the best one.
    views: views of each training picture; 1 is the plain one, more are seeded crops.
    flip: whether augmented views may be mirrored (not for digits, letters, hands).
    batch_size: pictures a step. learning_rate: the peak of a one-cycle schedule.
    weight_decay: AdamW's. label_smoothing: in [0, 1). hidden: units of the head's hidden layer,
    0 for a linear head. dropout_in, dropout_hidden: in [0, 1).
    patience: epochs without a better validation loss before stopping.
    image_size: input pixels a side for base_cnn; backbones bring their own.
    engine: auto, openvino, torch or float32; what runs the frozen encoder.

    Raises UsageError for a value outside its range.
    """

    model: str = DEFAULT_MODEL
    seed: int = 42
    epochs: int | None = None
    views: int | None = None
    flip: bool = True
    batch_size: int = 256
    learning_rate: float | None = None
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    hidden: int = 256
    dropout_in: float = 0.2
    dropout_hidden: float = 0.5
    patience: int = 10
    image_size: int | None = None
    engine: str = "auto"

    def __post_init__(self) -> None:
        _whole("seed", self.seed, 0)
        for name in ("epochs", "views", "image_size"):
            if getattr(self, name) is not None:
                _whole(name, getattr(self, name), 8 if name == "image_size" else 1)
        for name in ("batch_size", "patience"):
            _whole(name, getattr(self, name), 1)
        _whole("hidden", self.hidden, 0)
        if not isinstance(self.model, str):
            raise UsageError(f"model is a name, see graft models, not {self.model!r}")
        if not isinstance(self.flip, bool):
            raise UsageError(f"flip is true or false, not {self.flip!r}")
        for name in ("weight_decay", "label_smoothing", "dropout_in", "dropout_hidden"):
            _number(name, getattr(self, name))
        if self.learning_rate is not None:
            _number("learning_rate", self.learning_rate)
        if self.learning_rate is not None and not 0 < self.learning_rate < 10:
            raise UsageError(f"learning_rate lies between 0 and 10, not {self.learning_rate}")
        if not 0 <= self.weight_decay < 100:
            raise UsageError(f"weight_decay lies between 0 and 100, not {self.weight_decay}")
        for name in ("label_smoothing", "dropout_in", "dropout_hidden"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name} lies in [0, 1), not {getattr(self, name)}")
        if self.engine not in ENGINES:
            raise UsageError(f"engine is one of {', '.join(ENGINES)}, not {self.engine!r}")
        if self.image_size is not None and self.model != "base_cnn":
            raise UsageError(
                f"image_size is for base_cnn; {self.model} takes the size that its weights were "
                "trained for"
            )

    def to_json(self) -> dict[str, Any]:
        """As stored in config.json."""
        return asdict(self)

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> "TrainConfig":
        """Make a config from names and values; an unknown name gets "did you mean"."""
        known = [field.name for field in fields(cls)]
        for name in settings:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}"
                raise UsageError(f"no setting {name!r}{hint}")
        return cls(**settings)


def _number(name: str, value: object) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise UsageError(f"{name} is a number, not {value!r}")


def _whole(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UsageError(f"{name} is a whole number of at least {least}, not {value!r}")
