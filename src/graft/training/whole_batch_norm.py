"""BatchNorm over the whole batch while processes share it: what SyncBatchNorm is for.

torch.nn.SyncBatchNorm takes the place of layers, and works on GPUs alone. This takes the place of
the function that all of them call, so the layers keep their names, their own statistics and what
timm adds to them, and the tests run on CPUs.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from graft.models import ranks
from graft.models.runtime import Runtime
from graft.training.batch_part import Part


class WholeBatchNorm(TorchFunctionMode):
    """Within it, the BatchNorm layers of a model in training mode normalize by the mean and the
    variance of the whole batch, over all processes.
    """

    def __init__(self, runtime: Runtime) -> None:
        super().__init__()
        self.runtime, self.counts = runtime, True

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Any function of PyTorch, but for `batch_norm` while it is trained."""
        if func is F.batch_norm:
            return self._batch_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _batch_norm(
        self,
        x: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        if not training:
            return F.batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
        dims = [0, *range(2, x.ndim)]
        shape = [1, -1, *[1] * (x.ndim - 2)]
        own = x.float()
        count = self._sum(own.new_tensor([own.numel() / own.shape[1]]))
        mean = self._sum(own.sum(dims)) / count
        centered = own - mean.view(shape)
        var = self._sum(centered.square().sum(dims)) / count
        if running_mean is not None and running_var is not None:
            with torch.no_grad():
                unbiased = var * (count / (count - 1).clamp_min(1))
                running_mean.lerp_(mean.to(running_mean.dtype), momentum)
                running_var.lerp_(unbiased.to(running_var.dtype), momentum)
        out = centered * (var + eps).rsqrt().view(shape)
        if weight is not None:
            out = out * weight.view(shape)
        if bias is not None:
            out = out + bias.view(shape)
        return out.to(x.dtype)

    def _sum(self, own: Tensor) -> Tensor:
        summed: Tensor = _Sum.apply(own if self.counts else own * 0, self.runtime)
        return summed


def batch_norm_of(
    model: nn.Module, runtime: Runtime, wanted: bool
) -> Callable[[Part], AbstractContextManager[Any]]:
    """What a forward pass of `model`, in training mode, of a part of a batch is to run within:
    nothing special for one process, nor where no BatchNorm layer is trained.
    """
    if runtime.world == 1 or not wanted or not any(map(_moves, model.modules())):
        return lambda part: nullcontext()
    mode = WholeBatchNorm(runtime)

    def within(part: Part) -> AbstractContextManager[Any]:
        mode.counts = part.count > 0
        return mode

    return within


def _moves(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training


class _Sum(torch.autograd.Function):
    """The sum over all processes, whose gradient is the sum of all their gradients."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, runtime: Runtime) -> Tensor:
        ctx.runtime = runtime
        summed = own.clone()
        ranks.add_up(runtime, summed)
        return summed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        summed = gradients[0].clone()
        ranks.add_up(ctx.runtime, summed)
        return summed, None
