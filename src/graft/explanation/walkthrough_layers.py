"""Which layers and channels of a walkthrough a page of limited size can hold, such that whoever
opens it can compute every number that it shows.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from graft.explanation.walkthrough import Walkthrough
from graft.explanation.walkthrough_steps import Step

# A layer that cannot be held whole is held with so many of its channels, as fit.
CHANNELS = (16, 12, 8, 6)
# Multiply-adds that a browser does in some four seconds.
MOST_WORK = 2_500_000_000
# Columns of a network that does not fit whole: more are hard to find one's way in.
MOST_LAYERS = 24
# Steps after the last map.
AFTER_MAPS = ("mean", "max", "divide")


@dataclass(frozen=True)
class Layer:
    """A convolution with what follows it up to the next one.

    `channels` are the output channels whose kernels are held, those that vary most over the image
    first, or in the last layer those that decide; None for all of them.
    """

    steps: tuple[Step, ...]
    channels: tuple[int, ...] | None = None

    @property
    def output(self) -> int:
        """The number of the value that it ends with."""
        return self.steps[-1].output

    def floats(self) -> int:
        """Numbers that its weights are, as far as they are held."""
        whole = sum(tensor.size for step in self.steps for tensor in step.tensors.values())
        if self.channels is None:
            return whole
        return int(whole * len(self.channels) // len(self.steps[0].tensors["weight"]))


@dataclass(frozen=True)
class Excerpt:
    """The layers that are held; `stored` numbers the values that must be held because a layer
    reads them and not all of their channels can be computed. `whole`: with all of the network's
    layers and its head, so that the probabilities follow.
    """

    layers: tuple[Layer, ...]
    stored: tuple[int, ...]
    whole: bool


def layers_of(walkthrough: Walkthrough) -> list[Layer]:
    """The steps, grouped: each convolution and what follows it, without the global pooling."""
    groups: list[list[Step]] = []
    for step in walkthrough.steps:
        if step.kind in AFTER_MAPS:
            break
        if step.kind == "conv":
            groups.append([])
        groups[-1].append(step)
    return [Layer(tuple(group)) for group in groups]


def excerpts(walkthrough: Walkthrough, most: int | None = None) -> Iterator[Excerpt]:
    """Excerpts, each smaller than the one before, for a page to take the first that fits.

    `most` layers at most; without it all, if they are the whole network, or MOST_LAYERS.
    """
    layers = layers_of(walkthrough)
    count = min(most or len(layers), len(layers))
    if walkthrough.whole and count == len(layers):
        if sum(work(walkthrough, layer) for layer in layers) <= MOST_WORK:
            yield _excerpt(walkthrough, layers, whole=True)
        for channels in CHANNELS:
            yield _excerpt(walkthrough, _reduced(walkthrough, layers, channels), whole=True)
    for short in range(min(count, most or MOST_LAYERS), 0, -1):
        yield _excerpt(walkthrough, _reduced(walkthrough, layers[:short], CHANNELS[1]), whole=False)


def size(walkthrough: Walkthrough, excerpt: Excerpt) -> int:
    """How many numbers an excerpt holds, beside those of the head."""
    stored = sum(walkthrough.values[number].size for number in excerpt.stored)
    return stored + sum(layer.floats() for layer in excerpt.layers)


def work(walkthrough: Walkthrough, layer: Layer) -> int:
    """Multiply-adds of a layer's convolution, as far as it is held."""
    step = layer.steps[0]
    positions = walkthrough.values[step.output][0].size
    channels = len(step.tensors["weight"]) if layer.channels is None else len(layer.channels)
    return channels * int(step.tensors["weight"][0].size) * int(positions)


def _first(walkthrough: Walkthrough, layer: Layer, last: bool) -> list[int]:
    """The channels of a layer in the order in which they are worth showing."""
    if last and walkthrough.adds is not None:
        return [int(channel) for channel in np.argsort(-np.abs(walkthrough.adds), kind="stable")]
    return varying(walkthrough, layer.output)


def varying(walkthrough: Walkthrough, number: int) -> list[int]:
    """The channels of a map (C, H, W), those that vary most over the image first."""
    spread = walkthrough.values[number].std(axis=(1, 2))
    return [int(channel) for channel in np.argsort(-spread, kind="stable")]


def _reduced(walkthrough: Walkthrough, layers: list[Layer], channels: int) -> list[Layer]:
    """Each layer with all of its channels or the first few, whichever takes fewer numbers."""
    found, done = [], 0
    final = layers_of(walkthrough)[-1].output
    for layer in layers:
        few = Layer(
            layer.steps, tuple(_first(walkthrough, layer, layer.output == final)[:channels])
        )
        stored = walkthrough.values[layer.output].size
        affordable = done + work(walkthrough, layer) <= MOST_WORK
        better = layer if affordable and layer.floats() <= few.floats() + stored else few
        done += work(walkthrough, better)
        found.append(better)
    return found


def _excerpt(walkthrough: Walkthrough, layers: list[Layer], whole: bool) -> Excerpt:
    made = {step.output: n for n, layer in enumerate(layers) for step in layer.steps}
    read = {
        number
        for n, layer in enumerate(layers)
        for step in layer.steps
        for number in step.inputs
        if made.get(number, n) != n
    }
    if whole:
        read.add(layers[-1].output)
    stored = sorted(n for n in read if n and layers[made[n]].channels is not None)
    return Excerpt(tuple(layers), tuple(stored), whole)
