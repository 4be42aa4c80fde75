"""Depthwise convolutions in float32 while the rest of a network trains in bfloat16, on CPUs.

oneDNN has no fast code for a depthwise convolution's gradient in bfloat16: with it a step of
EfficientNet-lite0 takes 1.8 times as long as without (docs/recipes.md).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from graft.models.runtime import Runtime


@contextmanager
def float32_depthwise(model: nn.Module, runtime: Runtime) -> Iterator[None]:
    """Within it, the depthwise convolutions of `model` compute in float32 whatever `runtime` does;
    nothing changes on a GPU, nor where all is float32.
    """
    found: list[nn.Conv2d] = []
    if runtime.device.type == "cpu" and runtime.dtype != torch.float32:
        found = [
            module
            for module in model.modules()
            if isinstance(module, nn.Conv2d) and 1 < module.groups == module.in_channels
        ]
    for convolution in found:
        # On the module itself, where it goes before the method of its class.
        convolution.forward = partial(_in_float32, type(convolution), convolution)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for convolution in found:
            del convolution.forward


def _in_float32(kind: type[nn.Conv2d], convolution: nn.Conv2d, x: Tensor) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        return kind.forward(convolution, x.float())
