"""Layers from the calls of one run."""

from collections.abc import Iterable
from dataclasses import replace

from torch import nn

from graft.explanation.layer_arithmetic import arithmetic, of_parameters
from graft.explanation.layer_calls import CONVOLUTIONS, Call, Operation, Recorder, is_layer
from graft.explanation.network_layer import Layer
from graft.explanation.network_run import trains
from graft.explanation.summarized import Subject
from graft.models.head import Head


def layers_of(subject: Subject, recorder: Recorder) -> list[Layer]:
    """A layer for each call, a module that runs several times once; then what did not run."""
    counted: set[int] = set()
    trained = {id(p) for p in subject.network.parameters() if trains(subject, p)}
    places = {subject.rename(name): module for name, module in subject.network.named_modules()}

    def own(module: nn.Module | None) -> dict[str, nn.Parameter]:
        # PyTorch's own attention uses the weights of its last projection itself.
        parts = isinstance(module, nn.MultiheadAttention)
        named = module.named_parameters(recurse=parts) if module else ()
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


def blocks_of(recorder: Recorder) -> dict[str, Layer]:
    """What each block gives, by name: the shape and the receptive field of its output."""
    return {call.name: _layer(call, {}, set()) for call in recorder.blocks}
