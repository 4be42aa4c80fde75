"""The default settings of each kind of training, and which kind a config asks for."""

from pathlib import Path
from typing import Any

from graft.choices import parse_unfreeze
from graft.config import ResolvedConfig, TrainConfig
from graft.errors import UsageError
from graft.models.backbone import Backbone, resized, scratch
from graft.models.scratch_cnns import SCRATCH
from graft.models.weights import find_backbone

# The head's hidden layer and its dropout; nobody gained by other values (docs/recipes.md).
HIDDEN, DROPOUT_HIDDEN = 256, 0.5
# Dropout of the features themselves; deep_cnn, which has seen every image often, takes none.
DROPOUT_IN = {"deep_cnn": 0.0}
USUAL_DROPOUT_IN = 0.2
# Measured in docs/recipes.md.
COMMON: dict[str, Any] = {
    "optimizer": "adamw",
    "weight_decay": 0.05,
    "batch_size": 256,
    "ema": 0.0,
    "mixup": 0.0,
    "augment": "standard",
}
# A head on frozen features gains nothing from further views, which cost a pass each.
FROZEN: dict[str, Any] = COMMON | {
    "epochs": 20,
    "augment": "none",
    "views": 1,
    "learning_rate": 2e-3,
}
# Whoever asks for augmentation or for views gets both.
AUGMENTED: dict[str, Any] = FROZEN | {"augment": "standard", "views": 3}
BASE: dict[str, Any] = COMMON | {"epochs": 40, "views": 5, "learning_rate": 3e-3}
DEEP: dict[str, Any] = COMMON | {
    "epochs": 22,
    "views": 5,
    "optimizer": "sgd",
    "learning_rate": 0.7,
    "weight_decay": 1.5e-3,
    "batch_size": 512,
    "ema": 0.99,
}
# deep_cnn with AdamW, for those who ask for it.
DEEP_ADAMW: dict[str, Any] = DEEP | {
    "optimizer": "adamw",
    "learning_rate": 5e-3,
    "weight_decay": 0.15,
    "ema": 0.0,
}
TUNED: dict[str, Any] = COMMON | {
    "epochs": 20,
    "views": 5,
    "learning_rate": 5e-4,
    "batch_size": 64,
    "ema": 0.99,
    "mixup": 0.2,
}
WHOLE: dict[str, Any] = COMMON | {
    "epochs": 8,
    "views": 3,
    "learning_rate": 4e-4,
    "batch_size": 32,
    "ema": 0.99,
}
# As WHOLE with a higher rate, since adapters begin at nothing; not measured on photos yet.
LORA: dict[str, Any] = WHOLE | {"learning_rate": 1e-3}

# For docs/settings.md.
KINDS = {
    "frozen backbone": FROZEN,
    "last layers unfrozen": TUNED,
    "all unfrozen": WHOLE,
    "lora": LORA,
    "base_cnn": BASE,
    "deep_cnn": DEEP,
}


def defaults_for(config: TrainConfig, backbone: Backbone) -> dict[str, Any]:
    """The settings that depend on the kind of training.

    Raises UsageError for an optimizer that no rate was measured for, unless it is given one.
    """
    kind = parse_unfreeze(config.unfreeze)[0]
    if backbone.weights is None:
        found = DEEP if backbone.architecture == "deep_cnn" else BASE
    else:
        asked = config.augment not in (None, "none") or (config.views or 1) > 1
        frozen = AUGMENTED if asked else FROZEN
        found = {"none": frozen, "all": WHOLE, "lora": LORA}.get(kind, TUNED)
    if config.optimizer in (None, found["optimizer"]):
        return found
    if found is DEEP:
        return DEEP_ADAMW
    if config.learning_rate is None or config.weight_decay is None:
        raise UsageError(
            f"--optimizer {config.optimizer} has no measured rate here: give --learning-rate and "
            "--weight-decay, too"
        )
    return found


def resolve(config: TrainConfig, backbone: Backbone) -> ResolvedConfig:
    """The config with every default filled in, for this backbone as `network` made it.

    Raises as `defaults_for`.
    """
    fed = backbone.preprocess
    defaults = defaults_for(config, backbone) | {"image_size": fed.height, "resize": fed.resize}
    given = {name: value for name, value in config.to_json().items() if value is not None}
    return ResolvedConfig(**defaults | given)


def network(config: TrainConfig, cache: Path) -> Backbone:
    """The network that a config names, fed as it says; raises as find_backbone and resized."""
    pixels = None if config.pixels == "auto" else config.pixels
    if config.model in SCRATCH and not pixels:
        backbone = scratch(config.model, config.image_size, config.flip)
    else:
        backbone = find_backbone(config.model, cache, pixels)
    return resized(backbone, config.image_size, config.resize)
