"""The space that `graft tune` searches: typed, printed by --space, read from a file."""

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from graft.choices import DEFAULT_MODEL, FROM_SCRATCH, Preset, Resize, Schedule, parse_unfreeze
from graft.config import Count, Decay, Fraction, Rate, Settings, Side, Text
from graft.errors import UsageError
from graft.models.zoo import list_models
from graft.tuning.candidate import Strength, Units

LARGEST = 2**20  # bytes of a file that describes a space


class Space(Settings):
    """What may be tried. Each list is tried in its order, the first value first; between the least
    and the largest rate and decay others are tried, too, where Optuna is installed.
    """

    models: list[Text] = Field(
        default=[],
        max_length=64,
        description="Pretrained networks; none for the default and the others on this machine.",
    )
    image_scales: list[Annotated[float, Field(gt=0, le=8)]] = Field(
        default=[1.3],
        max_length=8,
        description="Input sizes as multiples of the network's own, to the nearest 32 pixels.",
    )
    image_sizes: list[Side] = Field(
        default=[], max_length=8, description="Input sizes besides, in pixels a side."
    )
    resize: list[Resize] = Field(
        default=["squash"], max_length=2, description="Ways besides the network's own."
    )
    views: list[Annotated[int, Field(ge=2, le=16)]] = Field(
        default=[3], max_length=8, description="Views of a training image, besides the plain one."
    )
    augment: list[Preset] = Field(
        default=["light", "strong"], max_length=3, description="How such views differ."
    )
    strengths: list[Strength] = Field(
        default=[round(10 ** (k / 4), 6) for k in range(-16, 5)],
        min_length=1,
        max_length=64,
        description="Penalties of the ridge path, as multiples of the number of images.",
    )
    stages: list[Annotated[int, Field(ge=0, le=64)]] = Field(
        default=[0, 3, 2], min_length=1, max_length=16, description="Last stages seen; 0 for all."
    )
    hidden: list[Units] = Field(
        default=[256, 0], min_length=1, max_length=8, description="Hidden units; 0 for linear."
    )
    learning_rates: list[Rate] = Field(
        default=[2e-3, 5e-4, 6e-3], min_length=1, max_length=32, description="Of heads."
    )
    weight_decays: list[Decay] = Field(
        default=[0.05, 0.5], min_length=1, max_length=32, description="Of heads."
    )
    schedules: list[Schedule] = Field(
        default=["one-cycle", "plateau"],
        min_length=1,
        max_length=3,
        description="Of heads; plateau lowers the rate when the loss on val no longer falls.",
    )
    patiences: list[Count] = Field(
        default=[10, 3],
        min_length=1,
        max_length=8,
        description="Early stopping: epochs without a lower loss on val, of heads.",
    )
    label_smoothing: list[Fraction] = Field(
        default=[0.1, 0.0], min_length=1, max_length=8, description="Of heads."
    )
    unfreeze: list[Text] = Field(
        default=["20%", "50%", "lora", "all"],
        max_length=8,
        description="What is fine-tuned, if anything; lora in transformers, where peft is here.",
    )
    fine_tuning_rates: list[Rate] = Field(
        default=[5e-4, 1e-3, 2e-4], min_length=1, max_length=16, description="Of fine-tuning."
    )
    fine_tuning_augment: list[Preset] = Field(
        default=["standard", "light"], min_length=1, max_length=4, description="Of fine-tuning."
    )
    fine_tunings: Annotated[int, Field(ge=0, le=64)] = Field(
        default=12, description="Fine-tuning configurations at most."
    )

    text_heads: list[Literal["zero-shot", "wise-ft"]] = Field(
        default=["zero-shot", "wise-ft"],
        max_length=2,
        description="Heads that begin at the names of the classes, of networks with a text tower.",
    )
    scratch: list[Literal["deep_cnn", "base_cnn"]] = Field(
        default=["deep_cnn"],
        max_length=2,
        description="Networks that are trained from pixels, where most images are small.",
    )
    scratch_side: Annotated[int, Field(ge=16, le=256)] = Field(
        default=64, description="How many pixels a side small is, at most."
    )

    def networks(self) -> list[str]:
        """The pretrained networks: those named, or the default and the others on this machine.

        Raises UsageError for one that is trained from scratch, which has no frozen features.
        """
        for name in self.models:
            if name in FROM_SCRATCH:
                raise UsageError(
                    f"graft tune searches on pretrained networks, and {name} is trained from "
                    "scratch; name others (graft models), or use graft train"
                )
        if self.models:
            return list(dict.fromkeys(self.models))
        here = [row["name"] for row in list_models() if row["here"]]
        return [DEFAULT_MODEL, *(n for n in here if n not in (DEFAULT_MODEL, *FROM_SCRATCH))]


def read_space(file: str | Path) -> Space:
    """The space that a JSON file describes; what it leaves out is as in `graft tune --space`.

    Raises UsageError for a file that is none, with what was expected.
    """
    path = Path(file)
    try:
        if path.stat().st_size > LARGEST:
            raise UsageError(f"{path} is too large for a description of a search space")
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(
            f"{path}: expected a search space as graft tune --space prints it: {said}"
        ) from error
    if not isinstance(value, dict):
        raise UsageError(f"{path}: expected a JSON object, as graft tune --space prints it")
    try:
        space = Space(**value)
        for text in space.unfreeze:
            parse_unfreeze(text)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    return space


def space_text(space: Space) -> str:
    """The space as JSON, a line a setting, to be edited and given back."""
    rows = [f" {json.dumps(name)}: {json.dumps(value)}" for name, value in space.to_json().items()]
    return "{\n" + ",\n".join(rows) + "\n}"
