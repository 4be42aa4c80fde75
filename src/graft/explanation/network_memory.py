"""What a network takes in memory: to predict, and to train."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

# Numbers kept for a trained parameter: by AdamW two running means, by SGD its momentum.
STATES = {"adamw": 2, "sgd": 1}
FLOAT = 4  # bytes of a float32


@dataclass
class Kept:
    """Counted in one run for one image: bytes of `weights` (buffers included), of `gradients`
    (trained parameters) and of what autograd kept (`saved`); values of the `largest` layer, its
    input and output together. `states` are the optimizer's numbers a trained parameter.
    """

    weights: int
    gradients: int
    states: int
    optimizer: str
    saved: int = 0
    largest: int = 0
    held: dict[int, Tensor] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Memory:
    """Bytes at a batch size, in float32.

    Prediction: `weights`, and the input and output of the layer where these are largest
    (`activations`); shortcuts and attention keep a little more for a while. Training: weights,
    `gradients`, `optimizer` and what autograd keeps of every layer for the backward pass (`saved`).
    The libraries themselves, the images that wait and the allocator's spare are not counted.
    """

    batch: int
    weights: int
    activations: int
    gradients: int
    optimizer: int
    saved: int

    @property
    def prediction(self) -> int:
        """All that is counted for prediction."""
        return self.weights + self.activations

    @property
    def training(self) -> int:
        """All that is counted for training."""
        return self.weights + self.gradients + self.optimizer + self.saved

    def to_json(self) -> dict[str, int]:
        """The parts and both sums."""
        return vars(self) | {"prediction": self.prediction, "training": self.training}


@contextmanager
def kept_for_training(network: nn.Module, optimizer: str) -> Iterator[Kept]:
    """Count while the block runs what autograd keeps, each storage once; weights are not it."""
    tensors = [*network.parameters(), *network.buffers()]
    own = {t.untyped_storage().data_ptr() for t in tensors}
    trained = sum(p.numel() * p.element_size() for p in network.parameters() if p.requires_grad)
    weights = sum(t.numel() * t.element_size() for t in tensors)
    kept = Kept(weights, trained, STATES.get(optimizer, 2), optimizer)

    def pack(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in own and storage.data_ptr() not in kept.held:
            kept.held[storage.data_ptr()] = x.detach()  # held, so that no other gets its place
            kept.saved += storage.nbytes()
        return x

    def unpack(x: Any) -> Any:
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        yield kept
    kept.held.clear()


def memory_of(kept: Kept, batch: int) -> Memory:
    """At a batch size: what is counted for an image, as many times; weights once."""
    return Memory(
        batch=batch,
        weights=kept.weights,
        activations=kept.largest * FLOAT * batch,
        gradients=kept.gradients,
        optimizer=kept.gradients * kept.states,
        saved=kept.saved * batch,
    )
