"""The exponential moving average of a model's weights (Polyak & Juditsky 1992)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@torch.no_grad()
def update_ema(ema: dict[str, Tensor], model: nn.Module, decay: float, step: int) -> None:
    """Move the average towards the model's weights and buffers of `step`, counted from 0."""
    # Early on it averages few steps, so that it soon forgets the random start.
    decay = min(decay, (1 + step) / (10 + step))
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            ema[name].lerp_(value, 1 - decay)
        else:
            ema[name].copy_(value)


@contextmanager
def ema_weights(model: nn.Module, ema: dict[str, Tensor]) -> Iterator[None]:
    """The model with the average in place of its own weights; unchanged if there is none."""
    if not ema:
        yield
        return
    own = copied(model.state_dict())
    model.load_state_dict(ema)
    yield
    model.load_state_dict(own)


def copied(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A copy of weights and buffers that training does not change."""
    return {name: value.detach().clone() for name, value in state.items()}
