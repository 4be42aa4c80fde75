"""Steps of a walkthrough: which of PyTorch's functions are any, and what their arguments mean."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float32]
Read = tuple[str, dict[str, Floats], dict[str, Any]]


@dataclass(frozen=True)
class Step:
    """One elementary step.

    `kind` is conv, norm, pool, add, an activation (relu, relu6, gelu, silu, hardswish), mean or max
    (over all positions), or divide. `inputs` and `output` number the values: 0 is the normalized
    image. `module` is the dotted name of the module of the body that it happens in. `tensors` are
    its weights, float32: weight (O, I / groups, kh, kw) and bias (O,) of a convolution; mean, var,
    weight and bias, (C,) each, of a normalization. `settings` are its other arguments; `pads` are
    pixels at the top, left, bottom and right.
    """

    kind: str
    module: str
    inputs: tuple[int, ...]
    output: int
    tensors: dict[str, Floats] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


def step_of(
    name: str, args: Any, kwargs: dict[str, Any], pads: list[int], known: bool
) -> Read | None:
    """The kind, weights and settings of a call of one of PyTorch's functions; None for one that
    is no step.

    `pads`: pixels that an earlier function has set around its input at the top, left, bottom and
    right. `known`: its second argument is a value of the walkthrough, too.
    """
    if name == "convolution":
        return _convolution(args, pads)
    if any(pads):
        return None
    match name:
        case "native_batch_norm" | "_native_batch_norm_legit_no_training":
            return _normalization(name, args)
        case "max_pool2d_with_indices":
            return _pooling(args)
        case "add" if known and kwargs.get("alpha", 1) == 1:
            return "add", {}, {}
        case "hardtanh" if tuple(args[1:]) == (0.0, 6.0):
            return "relu6", {}, {}
        case "gelu" if kwargs.get("approximate", "none") == "none":
            return "gelu", {}, {}
        case "relu" | "silu" | "hardswish":
            return name, {}, {}
        case "mean" | "amax" if _all_positions(args):
            return ("mean" if name == "mean" else "max"), {}, {}
        case "div" if not isinstance(args[1], Tensor):
            return "divide", {}, {"divisor": float(args[1])}
    return None


def _convolution(args: Any, pads: list[int]) -> Read | None:
    _, weight, bias, stride, padding, dilation, transposed, _, groups = args
    if transposed or weight.ndim != 4:
        return None
    rows, columns = padding
    top, left, bottom, right = pads
    settings = {
        "kernel": list(weight.shape[2:]),
        "stride": list(stride),
        "pads": [top + rows, left + columns, bottom + rows, right + columns],
        "dilation": list(dilation),
        "groups": groups,
    }
    tensors = {"weight": _copied(weight)}
    if bias is not None:
        tensors["bias"] = _copied(bias)
    return "conv", tensors, settings


def _normalization(name: str, args: Any) -> Read | None:
    _, weight, bias, mean, var, *rest = args
    training, _, eps = rest if name == "native_batch_norm" else (False, *rest)
    if training or any(each is None for each in (weight, bias, mean, var)):
        return None
    tensors = {"mean": mean, "var": var, "weight": weight, "bias": bias}
    return "norm", {k: _copied(v) for k, v in tensors.items()}, {"eps": eps}


def _pooling(args: Any) -> Read | None:
    given = list(args[1:])
    defaults: list[Any] = [None, [], [0], [1], False]
    kernel, stride, padding, dilation, ceil = given + defaults[len(given) :]
    if ceil or any(each != 1 for each in dilation):
        return None
    kernel, stride, padding = (_pair(each) for each in (kernel, stride or kernel, padding))
    settings = {"kernel": kernel, "stride": stride, "pads": [*padding, *padding]}
    return "pool", {}, settings


def _all_positions(args: Any) -> bool:
    x, dims, *keep = args
    return x.ndim == 4 and sorted(d % 4 for d in dims) == [2, 3] and not any(keep)


def _pair(value: Any) -> list[int]:
    numbers = list(value)
    return numbers * 2 if len(numbers) == 1 else numbers


def _copied(tensor: Tensor) -> Floats:
    return tensor.detach().float().numpy().copy()
