"""Cut an encoder in two: a frozen prefix, computed once a view, and a suffix that is trained.

Any body whose `forward_features` hands a tensor from module to module can be cut before one of
them. The suffix is a copy of the body in which everything before the cut lets its input through;
its weights keep their names, so that a trained suffix is put back by name.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from graft.config import parse_unfreeze
from graft.errors import ModelError
from graft.models.backbone import Backbone
from graft.models.encoder import Encoder, stages


class Unit(NamedTuple):
    """A module that the features pass through, and the shape of one image's input to it."""

    name: str
    module: nn.Module
    shape: tuple[int, ...]


# Below this share of layers, rounding to the whole network is no rounding.
MOST_ROUNDED = 0.75
# A suffix that was cut rightly repeats the whole network's features but for rounding.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Cut:
    """Where an encoder is cut: before `unit`, a module's dotted name; None: before everything.

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


def find_cut(encoder: Encoder, unfreeze: str) -> Cut:
    """The cut that trains the last share or the last stages of an encoder.

    `unfreeze` is "all", a percentage of the layers such as "20%" (rounded up to a whole
    block), or a number of stages such as "2": of a transformer, of its blocks. Layers are
    convolutions and linear layers that the features depend on.

    Raises ModelError for a body that cannot be cut there; "all" cuts none.
    """
    kind, amount = parse_unfreeze(unfreeze)
    units = _trainable_units(encoder) if kind == "all" else tapped(encoder, chain(encoder))
    weighty = [unit for unit in units if layers_of(unit.module)]
    counts = [layers_of(unit.module) for unit in weighty]
    if kind == "all":
        first = 0
    elif kind == "share":
        enough = [i for i in range(len(counts)) if sum(counts[i:]) >= amount * sum(counts)]
        first = enough[-1]
    else:
        first = _stage_start(encoder, int(amount), units, [unit.name for unit in weighty])
    if first == 0 and kind == "share" and amount < MOST_ROUNDED:
        raise ModelError(
            f"{type(encoder.body).__name__} has no block boundary near {unfreeze} of its layers; "
            "use --unfreeze all or none"
        )
    sizes = [sum(p.numel() for p in unit.module.parameters()) for unit in weighty]
    return Cut(
        None if first == 0 else weighty[first].name,
        weighty[first].shape,
        tuple(unit.name for unit in weighty[first:]),
        (sum(counts[first:]), sum(counts)),
        (sum(sizes[first:]), sum(sizes)),
    )


def _stage_start(encoder: Encoder, number: int, units: list[Unit], names: list[str]) -> int:
    body = encoder.body
    # All of a transformer's blocks, where `stages` has the last alone.
    found = list(body.blocks) if hasattr(body, "cls_token") else stages(body)
    if not found:
        raise ModelError("this network's stages are not known; give a percentage, such as 20%")
    if number > len(found):
        raise ModelError(f"this network has {len(found)} stages, not {number}; for all give all")
    if number == len(found):
        first = getattr(body, "Mixed_5b", found[0])  # Inception's stages are known by their last
        inside = {unit.name for unit in _units_in(first, units)}
        return next((i for i, name in enumerate(names) if name in inside), 0)
    # A stage begins where the one before it ends.
    before = _units_in(found[-number - 1], units)[-1].name
    order = [unit.name for unit in units]
    return next(i for i, n in enumerate(names) if order.index(n) > order.index(before))


def _trainable_units(encoder: Encoder) -> list[Unit]:
    """What is trained where all is: the modules in a line, or where they are in none, the body's
    own children.
    """
    if units := line(encoder):
        return tapped(encoder, units)
    named = encoder.body.named_children()
    return [Unit(name, child, ()) for name, child in named if name not in AFTER_FEATURES]


def _units_in(stage: nn.Module, units: list[Unit]) -> list[Unit]:
    within = {id(m) for m in stage.modules()}
    return [unit for unit in units if id(unit.module) in within]


def layers_of(module: nn.Module) -> int:
    """The convolutions and linear layers in a module."""
    return sum(isinstance(m, nn.Conv2d | nn.Linear) for m in module.modules())


def chain(encoder: Encoder) -> list[Unit]:
    """As `line`. Raises ModelError where the modules stand in none."""
    if units := line(encoder):
        return units
    raise ModelError(
        f"{type(encoder.body).__name__} cannot be trained partly: its modules do not follow one "
        "another in a line; use --unfreeze all or none"
    )


def line(encoder: Encoder) -> list[Unit]:
    """The modules that `forward_features` passes an image through, one after the other, found by
    watching one go through; none where they stand in no line.
    """
    body = encoder.body
    order: list[Unit] = []
    passed: list[tuple[Any, Any]] = []
    hooks = []
    for name, module in _candidates(body, ""):

        def watch(module: nn.Module, inputs: Any, output: Any, name: str = name) -> None:
            given = inputs[0] if inputs else None
            order.append(Unit(name, module, tuple(getattr(given, "shape", ())[1:])))
            passed.append((given, output))

        hooks.append(module.register_forward_hook(watch))
    # Transformers add their position embedding between two modules: one known exception.
    allowed = {1} if hasattr(body, "_pos_embed") else set()
    try:
        with torch.inference_mode():
            # Once, whether or not a mirror image is looked at besides.
            encoder.features(
                encoder.normalized(torch.zeros(1, *encoder.input_shape, dtype=torch.uint8))
            )
    finally:
        for hook in hooks:
            hook.remove()
    linked = all(passed[i][0] is passed[i - 1][1] or i in allowed for i in range(1, len(passed)))
    return order if linked and len({unit.name for unit in order}) == len(order) else []


def tapped(encoder: Encoder, units: list[Unit]) -> list[Unit]:
    """The units that the features depend on: with taps, none after the last stage."""
    if not encoder.tapped:
        return units
    return units[: units.index(_units_in(encoder.tapped[-1], units)[-1]) + 1]


def _candidates(module: nn.Module, prefix: str) -> list[tuple[str, nn.Module]]:
    found = []
    for name, child in module.named_children():
        inside = isinstance(child, nn.Sequential | nn.ModuleList) or hasattr(child, "blocks")
        if inside:
            found += _candidates(child, f"{prefix}{name}.")
        elif f"{prefix}{name}" not in AFTER_FEATURES:
            found.append((f"{prefix}{name}", child))
    return found


# timm's names for what `forward_head` uses.
AFTER_FEATURES = {
    *("head", "fc", "classifier", "global_pool", "head_drop", "head_dist", "fc_norm"),
    *("pre_logits", "norm_head", "act2", "flatten", "attn_pool", "AuxLogits"),
}


class Prefix(nn.Module):
    """Pixels to rows: (N, H, W, 3) uint8 to (N, M + D): the activation at the cut, flattened,
    and after it the features of the whole encoder as it was.
    """

    def __init__(self, encoder: Encoder, unit: str):
        super().__init__()
        self.encoder = encoder
        self.input_shape = encoder.input_shape
        self._caught: list[Tensor] = []
        encoder.body.get_submodule(unit).register_forward_pre_hook(
            lambda module, inputs: self._caught.append(inputs[0])
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Rows of a batch of pixels."""
        self._caught.clear()
        features = self.encoder(pixels)
        activation = self._caught.pop()
        return torch.cat([activation.flatten(1).float(), features], dim=1)


class Suffix(nn.Module):
    """What is trained: rows of a Prefix, (N, M + D), to features (N, D); with `cut.unit` None the
    whole encoder, from pixels (N, H, W, 3) uint8.

    Takes the encoder over. Dropout stays off, and BatchNorm keeps its statistics unless `moving`.
    """

    def __init__(self, encoder: Encoder, cut: Cut, moving: bool = False):
        super().__init__()
        self.still = (nn.Dropout, nn.Dropout2d) if moving else STILL
        self.encoder, self.unit, self.shape = encoder, cut.unit, cut.shape
        self.before = 0
        every = line(encoder)
        used = tapped(encoder, every) if every else []
        # What comes after the last stage that the features are taken from is not worth its time.
        unused = every[len(used) :]
        if cut.unit is not None:
            unused += used[: [unit.name for unit in used].index(cut.unit)]
            encoder.body.__dict__["_pos_embed"] = nn.Identity()
            own = [m for m in encoder.tapped if _units_in(m, used)[-1] not in unused]
            width = _width(encoder)
        for name, _, _ in unused:
            holder, _, last = name.rpartition(".")
            setattr(encoder.body.get_submodule(holder), last, nn.Identity())
        if cut.unit is not None and encoder.tapped:
            # Earlier stages' features come with the row; those of stages run here, be it
            # partly, are computed.
            encoder.tap(own)
            with torch.inference_mode():
                self.before = width - encoder.features(torch.zeros(1, *cut.shape)).shape[1]

    def forward(self, rows: Tensor) -> Tensor:
        """Features of a batch of rows, or of pixels."""
        if self.unit is None:
            return torch.as_tensor(self.encoder(rows))
        size = math.prod(self.shape)
        activation = rows[:, :size].float().view(-1, *self.shape)
        if activation.ndim == 4:
            activation = activation.contiguous(memory_format=torch.channels_last)
        features = self.encoder.features(activation)
        return torch.cat([rows[:, size : size + self.before].float(), features], dim=1)

    def train(self, mode: bool = True) -> "Suffix":
        """Training mode, but for BatchNorm and dropout of a pretrained body."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, self.still):
                module.eval()
        return self

    def state(self) -> dict[str, Tensor]:
        """The trained weights and their buffers by name in the body."""
        return dict(self.encoder.body.state_dict())


STILL = (nn.modules.batchnorm._BatchNorm, nn.Dropout, nn.Dropout2d)


def _width(encoder: Encoder) -> int:
    with torch.inference_mode():
        pixels = torch.zeros(1, *encoder.input_shape, dtype=torch.uint8)
        return int(encoder(pixels).shape[1])


def divided(backbone: Backbone, cut: Cut) -> tuple[Prefix, Suffix]:
    """Both halves of a backbone, in inference mode; the cut is before a unit.

    Raises ModelError unless they add up to the whole.
    """
    encoder, unit = backbone.build(), cut.unit or ""
    suffix = Suffix(backbone.build(), cut).eval()
    generator = torch.Generator().manual_seed(0)
    shape = (2, *encoder.input_shape)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    with torch.inference_mode():
        whole = encoder(pixels)
        prefix = Prefix(encoder, unit).eval()
        again = suffix(prefix(pixels))
    if not torch.allclose(again, whole, rtol=TOLERANCE, atol=TOLERANCE * float(whole.abs().max())):
        raise ModelError(
            f"{backbone.name} cannot be cut before {unit}: its two halves do not add up to the "
            "whole; use --unfreeze all or none"
        )
    return prefix, suffix
