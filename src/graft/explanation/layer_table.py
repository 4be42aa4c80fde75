"""`summary`: the layers of a network with their shapes, parameters, cost and receptive fields."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from graft.errors import UsageError
from graft.explanation.layer_arithmetic import arithmetic, of_parameters
from graft.explanation.layer_calls import CONVOLUTIONS, Call, Operation, Recorder, is_layer
from graft.explanation.network_memory import Kept, Memory, memory_of
from graft.explanation.network_run import run_once, trains
from graft.explanation.receptive_field import Field
from graft.explanation.summarized import Subject, subject_of
from graft.models.head import Head

if TYPE_CHECKING:
    from graft.inference.predictor import Predictor

Pair = tuple[int, int]


@dataclass(frozen=True)
class Layer:
    """One layer as it ran for one image.

    `kernel`, `stride`, `padding` and `dilation` are (rows, columns), None where there is no window;
    padding that differs between the sides is (left, right, top, bottom). Shapes are PyTorch's
    without the batch of one image; `output_shape` is () for a layer that did not run, or parameters
    that belong to none. `receptive_field` is the longer side in pixels of what one output value
    sees of the image, padding counted; None: the whole image; 0: nothing. `jump`: how far apart
    neighbors' fields lie. `trainable` parameters are those that training changes; `buffers`
    count what is kept but not learned. `arithmetic` are its sums in full, a line each. `sees` has
    the rectangle on the image for each position; `channels` is the axis of `output_shape` that
    holds the channels. `block` is the name of the block that the layer belongs to.
    """

    name: str
    kind: str
    kernel: Pair | None = None
    stride: Pair | None = None
    padding: tuple[int, ...] | None = None
    dilation: Pair | None = None
    groups: int = 1
    input_shape: tuple[int, ...] = ()
    output_shape: tuple[int, ...] = ()
    receptive_field: int | None = 0
    jump: int | None = None
    parameters: int = 0
    trainable: int = 0
    buffers: int = 0
    multiply_adds: int = 0
    ran: bool = True
    arithmetic: list[str] = field(default_factory=list)
    sees: Field | None = field(default=None, repr=False, compare=False)
    channels: int = 0
    block: str = ""
    block_kind: str = ""

    def to_json(self) -> dict[str, Any]:
        """All but the rectangles."""
        return {k: v for k, v in vars(self).items() if k != "sees"}


@dataclass(frozen=True)
class NetworkSummary:
    """A network's layers in the order in which they run, and their totals.

    `image_size` is (rows, columns) of the input. `str()` is the table. `buffers` are numbers that
    are kept but not learned. `steps` say what becomes of an image before the network, `notes` what
    the totals do not.
    """

    title: str
    image_size: Pair
    layers: list[Layer] = field(repr=False)
    parameters: int
    trainable: int
    buffers: int
    multiply_adds: int
    steps: list[str]
    notes: list[str]
    kept: Kept = field(repr=False)

    def layer(self, name: str) -> Layer:
        """The layer of that name; UsageError with the nearest names where there is none."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        names = list(dict.fromkeys([x for layer in self.layers for x in (layer.block, layer.name)]))
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.4) or names[:3]
        raise UsageError(f"no layer {name!r}; the nearest names: {', '.join(near)}")

    def under(self, beginning: str) -> list[Layer]:
        """The layers whose name begins with that. `blocks.1` has blocks.1.0.conv, but not
        blocks.10.
        """
        start = beginning.rstrip(".")
        whole = [x for x in self.layers if x.name == start or x.name.startswith(f"{start}.")]
        return whole or [x for x in self.layers if x.name.startswith(beginning)]

    def memory(self, batch: int = 1) -> Memory:
        """What prediction and training take for a batch of images, in bytes."""
        return memory_of(self.kept, batch)

    def to_json(self, batch: int = 1) -> dict[str, Any]:
        """Totals, memory at that batch size, and every layer."""
        totals = ("title", "image_size", "parameters", "trainable", "buffers", "multiply_adds")
        found: dict[str, Any] = {name: getattr(self, name) for name in totals}
        found |= {"steps": self.steps, "notes": self.notes}
        found["memory"] = self.memory(batch).to_json()
        return found | {"layers": [layer.to_json() for layer in self.layers]}

    def __str__(self) -> str:
        from graft.explanation.layer_text import text_of

        return text_of(self)

    def _repr_html_(self) -> str:
        import html

        return f"<pre>{html.escape(str(self))}</pre>"


def summary(
    model: "str | Path | Predictor | nn.Module", image_size: int | Pair | None = None
) -> NetworkSummary:
    """What a network consists of: run once on one image, every layer with its output's shape,
    receptive field, parameters and multiply-adds, and the arithmetic of each.

    `model` is a name (graft models; no weights are needed), a run folder, a Predictor or a module
    of your own, which takes (N, C, H, W) and needs an `image_size`: pixels a side, or (rows,
    columns). Totals equal PyTorch's: all parameters' `numel`, and half of what
    torch.utils.flop_counter counts.

    Raises ModelError for a name that nothing answers to, UsageError for an image size that the
    network does not take.
    """
    with torch.random.fork_rng(devices=[]):
        subject = subject_of(model, image_size)
        recorder, kept = run_once(subject)
    layers = _layers(subject, recorder)
    own = list(subject.network.parameters())
    return NetworkSummary(
        title=subject.title,
        image_size=subject.image_size,
        layers=layers,
        parameters=sum(p.numel() for p in own),
        trainable=sum(p.numel() for p in own if trains(subject, p)),
        buffers=sum(b.numel() for b in subject.network.buffers()),
        multiply_adds=sum(layer.multiply_adds for layer in layers),
        steps=subject.steps,
        notes=subject.notes,
        kept=kept,
    )


def _layers(subject: Subject, recorder: Recorder) -> list[Layer]:
    """A layer for each call, a module that runs several times once; then what did not run."""
    counted: set[int] = set()
    trained = {id(p) for p in subject.network.parameters() if trains(subject, p)}
    places = {subject.rename(name): module for name, module in subject.network.named_modules()}

    def own(module: nn.Module | None) -> dict[str, nn.Parameter]:
        named = module.named_parameters(recurse=False) if module else ()
        found = {name: p for name, p in named if id(p) not in counted}
        counted.update(id(p) for p in found.values())
        return found

    layers: list[Layer] = []
    seen: dict[int, int] = {}
    for call in recorder.calls:
        if call.module is not None and id(call.module) in seen:
            at = seen[id(call.module)]
            more = sum(o.multiply_adds for o in call.operations)
            layers[at] = replace(layers[at], multiply_adds=layers[at].multiply_adds + more)
            continue
        if call.module is not None:
            seen[id(call.module)] = len(layers)
        layers.append(_layer(call, own(call.module), trained))
    for place, module in places.items():
        _add_alone(layers, place, module, own(module), trained, recorder.used)
    return [_within(layer, places) for layer in layers]


def _add_alone(
    layers: list[Layer],
    place: str,
    module: nn.Module,
    own: dict[str, nn.Parameter],
    trained: set[int],
    used: set[int],
) -> None:
    """Add parameters that no call stands for: before the block that uses them, or at the end."""
    place = "" if place == "encoder.body" else place
    if own and is_layer(module) and not any(id(p) in used for p in own.values()):
        kind = f"{type(module).__name__}, not run"
        layers.append(_alone(place, kind, own, trained, ran=False))
        return
    around = place.rpartition(".")[0] if is_layer(module) else place
    for key, parameter in own.items():
        name = f"{place}.{key}" if place else key
        layer = _alone(name, "Parameter", {key: parameter}, trained, ran=True)
        start = f"{around}." if around else ""
        first = next((i for i, x in enumerate(layers) if x.name.startswith(start)), len(layers))
        # The network's own, such as a position embedding, are used after its first layer.
        at = first if around else min(1, len(layers))
        layers.insert(at, layer)


def _within(layer: Layer, places: dict[str, nn.Module]) -> Layer:
    """With the block that the layer belongs to: the first on its path that is no mere row."""
    words = layer.name.split(".")
    for end in range(1, len(words)):
        name = ".".join(words[:end])
        module = places.get(name)
        rows = isinstance(module, nn.Sequential | nn.ModuleList | Head) or hasattr(module, "blocks")
        if module is not None and not rows:
            return replace(layer, block=name, block_kind=type(module).__name__)
    return replace(layer, block=layer.name, block_kind=layer.kind)


def _layer(call: Call, own: dict[str, nn.Parameter], trained: set[int]) -> Layer:
    window = next((o for o in call.operations if o.kernel), None)
    kind = call.kind
    if window and window.name in CONVOLUTIONS and window.groups > 1:
        depthwise = window.groups == window.input_shape[1]
        kind += ", depthwise" if depthwise else f", {window.groups} groups"
    buffers = call.module.buffers(recurse=False) if call.module is not None else ()
    return Layer(
        name=call.name,
        kind=kind,
        kernel=window.kernel if window else None,
        stride=window.stride if window else None,
        padding=_padding(window) if window else None,
        dilation=window.dilation if window else None,
        groups=window.groups if window else 1,
        input_shape=_one(call.input_shape),
        output_shape=_one(call.output_shape),
        receptive_field=call.seen.pixels if call.seen else 0,
        jump=max(call.seen.jump) if call.seen and call.seen.jump else None,
        parameters=sum(p.numel() for p in own.values()),
        trainable=sum(p.numel() for p in own.values() if id(p) in trained),
        buffers=sum(b.numel() for b in buffers),
        multiply_adds=sum(o.multiply_adds for o in call.operations),
        arithmetic=arithmetic(call, own),
        sees=call.seen,
        channels=call.channels - (len(call.output_shape) - len(_one(call.output_shape))),
    )


def _alone(
    name: str, kind: str, own: dict[str, nn.Parameter], trained: set[int], ran: bool
) -> Layer:
    return Layer(
        name=name,
        kind=kind,
        parameters=sum(p.numel() for p in own.values()),
        trainable=sum(p.numel() for p in own.values() if id(p) in trained),
        ran=ran,
        arithmetic=of_parameters(own, ran),
    )


def _padding(window: Operation) -> tuple[int, ...]:
    rows, columns = window.padding
    if not any(window.amounts):
        return window.padding
    left, right, top, bottom = (*window.amounts, 0, 0, 0, 0)[:4]
    if left == right and top == bottom:
        return rows + top, columns + left
    return columns + left, columns + right, rows + top, rows + bottom


def _one(shape: Iterable[int]) -> tuple[int, ...]:
    found = tuple(shape)
    return found[1:] if len(found) > 1 and found[0] == 1 else found
