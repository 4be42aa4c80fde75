"""Candidate: everything that a trial tries, in one record."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from graft.choices import (
    DEFAULT_MODEL,
    FROM_SCRATCH,
    HeadStart,
    Preset,
    Resize,
    Schedule,
    parse_unfreeze,
)
from graft.config import (
    Count,
    Decay,
    Fraction,
    Rate,
    Settings,
    Side,
    Text,
    TrainConfig,
)
from graft.errors import UsageError
from graft.utils.json_digest import json_digest

Strength = Annotated[float, Field(gt=0, le=1e6)]
Units = Annotated[int, Field(ge=0, le=4096)]


class Candidate(Settings):
    """A network as it is fed, and what is trained on it. None is the network's own default.

    `head`: "ridge", a regression in closed form of `strength` (the penalty as a multiple of the
    number of images), or "fitted" by the gradient loop. `hidden` units, 0 for a linear head;
    `stages` the last ones that the head sees, 0 for all. `start` is where the head begins, as
    TrainConfig.head. `unfreeze` as in TrainConfig: then the head is the usual one, and the rate,
    decay, epochs and mixup are those of fine-tuning; so they are of a network trained from scratch.
    """

    model: Text = DEFAULT_MODEL
    image_size: Side | None = None
    resize: Resize | None = None
    views: Count = 1
    augment: Preset = "none"
    unfreeze: Text = "none"
    start: HeadStart = "new"
    head: Literal["ridge", "fitted"] = "fitted"
    strength: Strength | None = None
    hidden: Units = 256
    stages: Annotated[int, Field(ge=0, le=64)] = 0
    learning_rate: Rate = 2e-3
    weight_decay: Decay = 0.05
    schedule: Schedule = "one-cycle"
    epochs: Count = 20
    patience: Count = 10
    label_smoothing: Fraction = 0.1
    mixup: Fraction = 0.0

    @model_validator(mode="after")
    def _fits_together(self) -> "Candidate":
        parse_unfreeze(self.unfreeze)
        if (self.head == "ridge") != (self.strength is not None):
            raise UsageError("a ridge head, and no other, has a strength")
        if self.head == "ridge" and (self.hidden or self.unfreeze != "none"):
            raise UsageError("a ridge head is linear, on a frozen network")
        return self

    @property
    def frozen(self) -> bool:
        """Whether the head alone is trained."""
        return self.unfreeze == "none" and not self.from_pixels

    @property
    def from_pixels(self) -> bool:
        """Whether the network is trained from scratch."""
        return self.model in FROM_SCRATCH

    def cut(self) -> tuple[Any, ...]:
        """What fine-tunings must agree in for their weights to be averaged: one pretrained network,
        fed alike, from the same block on.
        """
        return (self.model, self.image_size, self.resize, self.unfreeze)

    def encoding(self) -> tuple[Any, ...]:
        """What decides the activations: candidates that agree in it share them."""
        return (*self.cut(), self.views, self.augment, self.start)

    def family(self) -> tuple[Any, ...]:
        """What heads must agree in to be fitted in one pass."""
        steps = (self.schedule, self.epochs, self.patience, self.label_smoothing, self.mixup)
        return (*self.encoding(), self.head, *steps)

    def train_config(self, **more: Any) -> TrainConfig:
        """As settings of `graft train`, which knows no other head than its own; its `head` is
        `start` here.
        """
        known = set(TrainConfig.model_fields) - {"head"}
        own = {n: v for n, v in self.to_json().items() if n in known}
        return TrainConfig(**{**own, "head": self.start, **more})


Members = tuple[Candidate, ...]


def name_of(members: Sequence[Candidate]) -> str:
    """A name of 16 hexadecimal digits: equal for equal candidates."""
    return json_digest([one.to_json() for one in members])[:16]


def complexity(members: Members, default: Candidate) -> tuple[float, ...]:
    """How much there is to a classifier, for the choice of the simplest: what is trained, how many
    heads, the pixels and views that are computed, hidden units, and how far from the default.
    """
    kind, amount = parse_unfreeze(members[0].unfreeze)
    trained = {"none": 0.0, "fraction": amount, "all": 1.0}.get(kind, 0.5)
    trained = 1.0 if members[0].from_pixels else trained
    first, other = members[0], default.to_json()
    differs = sum(value != other[name] for name, value in first.to_json().items())
    return (
        trained,
        float(len(members)),
        float(first.model != default.model),
        float(first.image_size or 0),
        float(first.views),
        float(sum(one.hidden for one in members)),
        float(differs),
    )


def described(members: Members) -> str:
    """In words: `tf_efficientnet_lite0, frozen, ridge regression of strength 0.1`."""
    one = members[0]
    if len(members) > 1:
        what = "heads on" if one.frozen else "fine-tunings, weight by weight, of"
        return f"the average of {len(members)} {what} {_fed(one)}"
    if one.from_pixels:
        return f"{_fed(one)}, trained from scratch in {one.epochs} epochs"
    if not one.frozen:
        named = {"all": "all of it", "lora": "adapters (LoRA)"}
        what = named.get(one.unfreeze, f"the last {one.unfreeze}")
        return (
            f"{_fed(one)}, {what} fine-tuned at rate {one.learning_rate:g} in {one.epochs} epochs"
            + f" with mixup {one.mixup:g}" * bool(one.mixup)
        )
    if one.start != "new":
        mixed = ", then mixed with them (WiSE-FT)" * (one.start == "wise-ft")
        return f"{_fed(one)}, frozen, head fitted from the names of the classes{mixed}"
    seen = f" on the last {one.stages} stages" if one.stages else ""
    if one.head == "ridge":
        return f"{_fed(one)}, frozen, ridge regression of strength {one.strength:.3g}{seen}"
    kind = f"head of {one.hidden} hidden units" if one.hidden else "linear head"
    rate = f"rate {one.learning_rate:g}, decay {one.weight_decay:g}, {one.schedule}"
    return f"{_fed(one)}, frozen, {kind}{seen} ({rate})"


def _fed(one: Candidate) -> str:
    words = [one.model.rstrip("/").rpartition("/")[2]]
    if one.image_size:
        words.append(f"at {one.image_size} px")
    if one.resize:
        words.append(f"({one.resize})")
    if one.views > 1:
        words.append(f"in {one.views} views ({one.augment})")
    return " ".join(words)
