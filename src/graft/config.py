"""TrainConfig: every setting of a training run, checked when it is made."""

import difflib
import re
from dataclasses import asdict, dataclass, fields
from typing import Any

from graft.errors import UsageError

DEFAULT_MODEL = "mobilenetv2_100"
FROM_SCRATCH = ("base_cnn", "deep_cnn")
OPTIMIZERS = ("adamw", "sgd")
PRESETS = ("none", "light", "standard", "strong")
BATCH_NORMS = ("frozen", "train")
RESIZES = ("crop", "squash")
BALANCES = ("none", "weights", "sampling")
SCHEDULES = ("one-cycle", "cosine", "plateau")
BACKENDS = ("auto", "openvino", "torch", "float32")


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """The settings of `graft train`. Each default was chosen by measurement: docs/recipes.md.
    None stands for a default that depends on what is trained: learning/plan.py.

    model: base_cnn, deep_cnn, a timm name, local-dir:FOLDER, or an earlier run's folder.
    seed: of the split, the initial weights and the order of batches; ≥ 0.
    epochs: passes over the training split at most; early stopping keeps the best one.
    views: views of each training image; 1 is the plain one, more are seeded crops.
    flip: whether augmented views may be mirrored (not for digits, letters, hands).
    batch_size: images a step. learning_rate: the peak of a one-cycle schedule.
    weight_decay: AdamW's. label_smoothing: in [0, 1). hidden: units of the head's hidden layer,
    0 for a linear head. dropout_in, dropout_hidden: in [0, 1).
    patience: epochs without a better validation loss before stopping.
    image_size: input pixels a side; by default 64 for base_cnn and deep_cnn, and what a backbone's
    weights were trained with. resize: of an image that is not square, crop shows the network the
    middle, squash all of it, out of shape; by default as its weights were trained, mostly crop.
    backend: auto, openvino, torch or float32; what runs the frozen encoder.
    unfreeze: what is trained below the head: none, all, a share of the last layers ("20%") or a
    number of last stages ("2"). backbone_rate: their learning rate as a share of the head's.
    optimizer: adamw or sgd. schedule: one-cycle, cosine or plateau. warmup: the share of steps
    in which the rate rises. mixup, cutmix: alphas, 0 for none. ema: decay of the weights'
    running mean, 0 for none. augment: what views are like, none, light, standard or strong
    (Augmentation); images of at most 32 pixels are moved and mirrored anew in every epoch, and
    strong lays a gray square on them, too. balance: none; weights: rare classes count more in the
    loss; sampling: they are drawn more often. group_by: what stays in one split: folder, a column of
   
    the table, or a regular expression on the file name. time_by: the newest images are the test
    split, by exif or a column of the table. folds: also k-fold cross-validation, k ≥ 2; repeats:
    also as many other splits and seeds; learning_curve: also fewer training images. These three
    fit the head again, so they are for frozen backbones. val_fraction: the share of the images that
    choose the epoch and calibrate, in (0, 0.5]; the rest but 15 % for test is train. batch_norm: of
    trained blocks, frozen: with the statistics it came with; train: with each batch's. layer_decay:
    each trained block learns that many times as fast as the one after it, in (0, 1]. max_grad_norm:
    the
    largest norm of all gradients together, 0 for any.

    Raises UsageError for a value outside its range.
    """

    model: str = DEFAULT_MODEL
    seed: int = 42
    epochs: int | None = None
    views: int | None = None
    flip: bool = True
    batch_size: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    label_smoothing: float = 0.1
    hidden: int = 256
    dropout_in: float | None = None
    dropout_hidden: float = 0.5
    patience: int = 10
    image_size: int | None = None
    resize: str | None = None
    backend: str = "auto"
    unfreeze: str = "none"
    backbone_rate: float = 1.0
    optimizer: str | None = None
    schedule: str = "one-cycle"
    warmup: float = 0.1
    mixup: float = 0.0
    cutmix: float = 0.0
    ema: float | None = None
    augment: str = "standard"
    balance: str = "none"
    group_by: str | None = None
    time_by: str | None = None
    folds: int | None = None
    repeats: int | None = None
    learning_curve: bool = False
    val_fraction: float = 0.15
    batch_norm: str = "frozen"
    layer_decay: float = 1.0
    max_grad_norm: float = 5.0

    def __post_init__(self) -> None:
        _whole("seed", self.seed, 0)
        for name in ("epochs", "views", "batch_size", "image_size"):
            if getattr(self, name) is not None:
                _whole(name, getattr(self, name), 8 if name == "image_size" else 1)
        _whole("patience", self.patience, 1)
        _whole("hidden", self.hidden, 0)
        if not isinstance(self.model, str):
            raise UsageError(f"model is a name, see graft models, not {self.model!r}")
        if not isinstance(self.flip, bool):
            raise UsageError(f"flip is true or false, not {self.flip!r}")
        for name in ("label_smoothing", "dropout_hidden"):
            _number(name, getattr(self, name))
        for name in ("learning_rate", "weight_decay", "dropout_in"):
            if getattr(self, name) is not None:
                _number(name, getattr(self, name))
        if self.learning_rate is not None and not 0 < self.learning_rate < 10:
            raise UsageError(f"learning_rate lies between 0 and 10, not {self.learning_rate}")
        if self.weight_decay is not None and not 0 <= self.weight_decay < 100:
            raise UsageError(f"weight_decay lies between 0 and 100, not {self.weight_decay}")
        for name in ("label_smoothing", "dropout_in", "dropout_hidden"):
            if getattr(self, name) is not None and not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name} lies in [0, 1), not {getattr(self, name)}")
        if self.backend not in BACKENDS:
            raise UsageError(f"backend is one of {', '.join(BACKENDS)}, not {self.backend!r}")
        for name, known in (
            ("optimizer", OPTIMIZERS),
            ("schedule", SCHEDULES),
            ("augment", PRESETS),
            ("balance", BALANCES),
            ("batch_norm", BATCH_NORMS),
            ("resize", RESIZES),
        ):
            unset = name in ("optimizer", "resize") and getattr(self, name) is None
            if not unset and getattr(self, name) not in known:
                raise UsageError(
                    f"{name} is one of {', '.join(known)}, not {getattr(self, name)!r}"
                )
        for name in ("backbone_rate", "warmup", "mixup", "cutmix", "val_fraction"):
            _number(name, getattr(self, name))
        for name in ("layer_decay", "max_grad_norm"):
            _number(name, getattr(self, name))
        if self.ema is not None:
            _number("ema", self.ema)
        for name in ("warmup", "ema"):
            if getattr(self, name) is not None and not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name} lies in [0, 1), not {getattr(self, name)}")
        for name in ("mixup", "cutmix", "backbone_rate", "max_grad_norm"):
            if not 0 <= getattr(self, name) <= 100:
                raise UsageError(f"{name} lies in [0, 100], not {getattr(self, name)}")
        if not 0 < self.layer_decay <= 1:
            raise UsageError(f"layer_decay lies in (0, 1], not {self.layer_decay}")
        if not 0 < self.val_fraction <= 0.5:
            raise UsageError(f"val_fraction lies in (0, 0.5], not {self.val_fraction}")
        for name in ("group_by", "time_by"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, str) or not value):
                raise UsageError(f"{name} is text that is not empty, not {value!r}")
        for name, least in (("folds", 2), ("repeats", 1)):
            if getattr(self, name) is not None:
                _whole(name, getattr(self, name), least)
        if not isinstance(self.learning_curve, bool):
            raise UsageError(f"learning_curve is true or false, not {self.learning_curve!r}")
        again = self.folds or self.repeats or self.learning_curve
        if again and (self.unfreeze != "none" or self.model in FROM_SCRATCH):
            raise UsageError(
                "folds, repeats and learning_curve fit a head again on frozen features: they need "
                "a pretrained model and unfreeze none"
            )
        parse_unfreeze(self.unfreeze)
        if self.unfreeze != "none" and self.model in FROM_SCRATCH:
            raise UsageError(f"unfreeze is for pretrained models; all of {self.model} is trained")

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


def parse_unfreeze(text: str) -> tuple[str, float]:
    """("none", 0), ("all", 1), ("share", 0..1) or ("stages", N); UsageError for anything else."""
    if text in ("none", "all"):
        return text, float(text == "all")
    if isinstance(text, str) and re.fullmatch(r"\d+(\.\d+)?%", text):
        share = float(text[:-1]) / 100
        if 0 < share <= 1:
            return ("share", share) if share < 1 else ("all", 1.0)
    if isinstance(text, str) and re.fullmatch(r"[1-9]\d{0,3}", text):
        return "stages", float(text)
    raise UsageError(
        f"unfreeze is none, all, a share of the last layers such as 20%, or a number of last "
        f"stages such as 2, not {text!r}"
    )


def _number(name: str, value: object) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise UsageError(f"{name} is a number, not {value!r}")


def _whole(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UsageError(f"{name} is a whole number of at least {least}, not {value!r}")
