"""The arguments of PyTorch's windowed functions, whichever way they are given."""

import inspect
from typing import Any

Pair = tuple[int, int]


def _pad(input: Any, pad: Any, mode: str = "constant", value: Any = None) -> None: ...
def _conv(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> None: ...
def _max_pool(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> None: ...
def _avg_pool(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: Any = None,
) -> None: ...


# PyTorch's own are builtins without a signature.
_PAD, _CONV = inspect.signature(_pad), inspect.signature(_conv)
_MAX_POOL, _AVG_POOL = inspect.signature(_max_pool), inspect.signature(_avg_pool)


def _arguments(signature: inspect.Signature, args: Any, kwargs: Any) -> dict[str, Any]:
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    return bound.arguments


def pair(value: Any) -> Pair:
    """3 or (3,) as (3, 3), (1, 7) as it is."""
    if isinstance(value, int):
        return value, value
    found = tuple(int(each) for each in value)
    return (found[0], found[0]) if len(found) == 1 else (found[0], found[1])


def conv_window(args: Any, kwargs: Any) -> tuple[Pair, Pair, Pair, Pair, int]:
    """Kernel, stride, padding, dilation and groups of a call of conv2d."""
    told = _arguments(_CONV, args, kwargs)
    kernel, dilation = pair(told["weight"].shape[2:]), pair(told["dilation"])
    padding = told["padding"]
    if padding == "same":
        padding = tuple((k - 1) * d // 2 for k, d in zip(kernel, dilation, strict=True))
    elif padding == "valid":
        padding = 0
    return kernel, pair(told["stride"]), pair(padding), dilation, told["groups"]


def pool_window(name: str, args: Any, kwargs: Any) -> tuple[Pair, Pair, Pair, Pair, bool]:
    """Kernel, stride, padding, dilation and ceil_mode of a call of max_pool2d or avg_pool2d."""
    told = _arguments(_AVG_POOL if name == "avg_pool2d" else _MAX_POOL, args, kwargs)
    kernel = pair(told["kernel_size"])
    stride = pair(told["stride"]) if told["stride"] is not None else kernel
    dilation = pair(told.get("dilation", 1))
    return kernel, stride, pair(told["padding"]), dilation, told["ceil_mode"]


def padding_of(args: Any, kwargs: Any) -> tuple[tuple[int, ...], str]:
    """The amounts, (left, right, top, bottom, …), and the mode of a call of pad."""
    told = _arguments(_PAD, args, kwargs)
    return tuple(int(each) for each in told["pad"]), told["mode"]
