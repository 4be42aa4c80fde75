"""`summary`: the layers of a network with their shapes, parameters, cost and receptive fields."""

import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from graft.errors import UsageError
from graft.explanation.layer_build import blocks_of, layers_of
from graft.explanation.layer_text import OPTIMIZERS, Row, rows_of, short, size, table
from graft.explanation.network_layer import Layer
from graft.explanation.network_memory import Kept, Memory, memory_of
from graft.explanation.network_run import run_once, trains
from graft.explanation.summarized import subject_of
from graft.explanation.window_arguments import Pair

if TYPE_CHECKING:
    from graft.inference.predictor import Predictor


@dataclass(frozen=True)
class NetworkSummary:
    """A network's layers in the order in which they run, and their totals.

    `image_size` is (rows, columns) of the input. `str()` is the table. `buffers` are numbers that
    are kept but not learned. `steps` say what becomes of an image before the network, `notes` what
    the totals do not. `blocks` have the output of each block as a whole, by name.
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
    blocks: dict[str, Layer] = field(repr=False, default_factory=dict)

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

    def rows(self) -> list[Row]:
        """The lines of the table: layers if they are few, else blocks."""
        return rows_of(self.layers, self.blocks)

    def text(self, batch: int = 1, width: int | None = None) -> str:
        """The table, with what comes before the network and the totals; memory is for `batch`
        images. In a terminal of that `width` without the columns that do not fit.
        """
        lines = [f"{self.title} · image {self.image_size[0]}×{self.image_size[1]}"]
        lines += [f"before the network: {step}" for step in self.steps]
        rows = self.rows()
        lines += ["", *table(rows, width), "", *_totals(self, batch), *self.notes]
        first = next((x for x in self.layers if x.kernel and x.parameters), self.layers[0])
        block = next((row.layers[0].block for row in rows if len(row.layers) > 2), None)
        hint = f"--layer {first.name} shows its arithmetic in full"
        lines.append(f"--layer {block} lists the layers of that block; {hint}" if block else hint)
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()

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
    layers = layers_of(subject, recorder)
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
        blocks=blocks_of(recorder),
    )


def _totals(summary: NetworkSummary, batch: int) -> list[str]:
    """Parameters, multiply-adds and memory, in words."""
    frozen = summary.parameters - summary.trainable
    shares = (
        f"{summary.trainable:,} trainable, {frozen:,} frozen" if frozen else "all of them trainable"
    )
    memory = summary.memory(batch)
    images = "1 image" if batch == 1 else f"a batch of {batch:,} images"
    optimizer = OPTIMIZERS.get(summary.kept.optimizer, summary.kept.optimizer)
    return [
        f"parameters: {summary.parameters:,} ({shares}); buffers, which are kept but not learned: "
        f"{summary.buffers:,}",
        f"multiply-adds: {summary.multiply_adds:,} for one image ({short(summary.multiply_adds)})",
        f"memory for {images}, in float32, without the libraries:",
        f"  prediction {size(memory.prediction)} = weights {size(memory.weights)} + input and "
        f"output of the layer where they are largest {size(memory.activations)}",
        f"  training {size(memory.training)} = weights {size(memory.weights)} + gradients "
        f"{size(memory.gradients)} + {optimizer} {size(memory.optimizer)} + what the backward pass "
        f"needs of the layers {size(memory.saved)}",
    ]
