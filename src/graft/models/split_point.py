"""Split points: where an encoder is cut into a frozen prefix and a trained suffix.

Any body that runs its modules one after the other can be split before one of them.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from graft.choices import parse_unfreeze
from graft.errors import ModelError
from graft.models.adapters import RANK, adapted_layers
from graft.models.encoder import Encoder
from graft.models.openvino_body import OpenVinoBody
from graft.models.sequence import AFTER_FEATURES, POSITIONS, called, sequence, stages, within

# Below this fraction of the layers, rounding to the whole network is no rounding.
MOST_ROUNDED = 0.75


class Unit(NamedTuple):
    """A module that the features pass through, and the shape of one image's input to it."""

    name: str
    module: nn.Module
    shape: tuple[int, ...]


@dataclass(frozen=True)
class SplitPoint:
    """Where an encoder is split: before `unit`, a module's dotted name; None: before everything.

    `shape` is that of one image's activation there. `blocks` are the trained modules' names, in
    order; `layers` (convolutions and linear layers) and `parameters` are pairs: of the trained
    blocks, and of the whole encoder.
    """

    unit: str | None
    shape: tuple[int, ...]
    blocks: tuple[str, ...]
    layers: tuple[int, int]
    parameters: tuple[int, int]

    def described(self) -> str:
        """One line for people."""
        first, last = self.blocks[0], self.blocks[-1]
        where = first if first == last else f"{first} to {last}"
        (layers, all_layers), (parameters, all_parameters) = self.layers, self.parameters
        return (
            f"{where}: {layers} of {all_layers} layers ({layers / all_layers:.0%}), "
            f"{parameters:,} of {all_parameters:,} parameters ({parameters / all_parameters:.0%})"
        )


def find_split_point(encoder: Encoder, unfreeze: str) -> SplitPoint:
    """The split point that trains the last layers or the last stages of an encoder.

    `unfreeze` is "all", "lora" (adapters in a whole transformer), a percentage of the layers such
    as "20%" (rounded up to a whole block), or a number of stages such as "2": of a transformer,
    of its blocks. Layers are convolutions and linear layers that the features depend on.

    Raises ModelError for a body that cannot be split there; "all" and "lora" split none.
    UsageError for adapters in a network that is no transformer.
    """
    kind, amount = parse_unfreeze(unfreeze)
    if isinstance(encoder.body, OpenVinoBody):
        raise ModelError(
            "a network from a file runs in OpenVINO, which computes no gradients: only the head "
            "can be trained; leave --unfreeze out, or take the same network from timm"
        )
    if kind == "lora":
        return _adapters(encoder)
    units = _trainable_units(encoder) if kind == "all" else _units(encoder)
    weighty = [unit for unit in units if layers_of(unit.module)]
    counts = [layers_of(unit.module) for unit in weighty]
    if kind == "all":
        first = 0
    elif kind == "fraction":
        enough = [i for i in range(len(counts)) if sum(counts[i:]) >= amount * sum(counts)]
        first = enough[-1]
    else:
        first = _stage_start(encoder, int(amount), units, [unit.name for unit in weighty])
    if first == 0 and kind == "fraction" and amount < MOST_ROUNDED:
        raise ModelError(
            f"{type(encoder.body).__name__} has no block boundary near {unfreeze} of its layers; "
            "use --unfreeze all or none"
        )
    sizes = [sum(p.numel() for p in unit.module.parameters()) for unit in weighty]
    return SplitPoint(
        None if first == 0 else weighty[first].name,
        weighty[first].shape,
        tuple(unit.name for unit in weighty[first:]),
        (sum(counts[first:]), sum(counts)),
        (sum(sizes[first:]), sum(sizes)),
    )


def layers_of(module: nn.Module) -> int:
    """The number of convolutions and linear layers in a module."""
    return sum(isinstance(m, nn.Conv2d | nn.Linear) for m in module.modules())


def order_of(encoder: Encoder) -> tuple[str, ...]:
    """The names of the modules that the features pass through, in order; none where the body
    runs them otherwise.
    """
    height, width, channels = encoder.input_shape
    return encoder.order or sequence(encoder.body, (channels, height, width))


def _adapters(encoder: Encoder) -> SplitPoint:
    names, body = adapted_layers(encoder), encoder.body
    layers: list[Any] = [body.get_submodule(name) for name in names]
    return SplitPoint(
        unit=None,
        shape=encoder.input_shape,
        blocks=(f"adapters of rank {RANK} in {names[0]}", names[-1]),
        layers=(len(names), layers_of(body)),
        parameters=(
            sum(RANK * (each.in_features + each.out_features) for each in layers),
            sum(p.numel() for p in body.parameters()),
        ),
    )


def _stage_start(encoder: Encoder, number: int, units: list[Unit], names: list[str]) -> int:
    body = encoder.body
    # All of a transformer's blocks, where `stages` has the last alone.
    found = list(body.blocks) if hasattr(body, "cls_token") else stages(body)
    if not found:
        raise ModelError("this network's stages are not known; give a percentage, such as 20%")
    if number > len(found):
        raise ModelError(f"this network has {len(found)} stages, not {number}; for all give all")
    order = [unit.name for unit in units]
    if number == len(found):
        first = getattr(body, "Mixed_5b", found[0])  # Inception's stages are known by their last
        inside = within(body, first, order)
        return next((i for i, name in enumerate(names) if name in inside), 0)
    # A stage begins where the one before it ends.
    before = order.index(within(body, found[-number - 1], order)[-1])
    return next(i for i, name in enumerate(names) if order.index(name) > before)


def _trainable_units(encoder: Encoder) -> list[Unit]:
    """What is trained where all is: the modules in order, or where they have none, the body's
    own children.
    """
    if order := order_of(encoder):
        return _described(encoder, order)
    named = encoder.body.named_children()
    return [Unit(name, child, ()) for name, child in named if name not in AFTER_FEATURES]


def _units(encoder: Encoder) -> list[Unit]:
    if order := order_of(encoder):
        return _described(encoder, order)
    raise ModelError(
        f"{type(encoder.body).__name__} cannot be trained from a split point on: its modules do "
        "not follow one another; use --unfreeze all or none"
    )


def _described(encoder: Encoder, order: tuple[str, ...]) -> list[Unit]:
    body, units = encoder.body, []
    with torch.no_grad():
        x = encoder.normalized(torch.zeros(1, *encoder.input_shape, dtype=torch.uint8))
        for name in order:
            if name != POSITIONS:
                units.append(Unit(name, body.get_submodule(name), tuple(x.shape[1:])))
            x = called(body, name, x)
    return units
