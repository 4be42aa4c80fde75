"""Receptive fields: the part of the image that each value inside a network can depend on.

The network runs once; a mode of PyTorch sees each function as it is called, so that branches,
shortcuts and attention need no description of the network (rules: field_rules.py).
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode

from graft.explanation import field_rules as rules
from graft.explanation.field_rules import Pair, Seen

# By the name of the function or method: what changes shapes only, …
SHAPES = {
    *("reshape", "flatten", "unflatten", "permute", "transpose", "swapaxes", "movedim"),
    *("squeeze", "unsqueeze", "expand", "repeat", "roll", "__getitem__", "chunk", "split"),
    *("tensor_split", "unbind", "narrow", "select", "flip", "pixel_shuffle", "pixel_unshuffle"),
    *("repeat_interleave", "tile", "index_select", "split_with_sizes", "broadcast_to"),
}
JOINS = {"cat", "concat", "concatenate", "stack"}
# … takes something over axes, …
REDUCTIONS = {
    *("mean", "sum", "amax", "amin", "max", "min", "std", "var", "norm", "prod", "logsumexp"),
    *("median", "vector_norm"),
}
# … or mixes all along axes.
SOFTMAX = {"softmax", "log_softmax"}


@dataclass(frozen=True)
class Field:
    """What the values of one tensor see of an image, in its pixels.

    `boxes` is (…, 4) int: for each position the left, top, right and bottom of the rectangle,
    right and bottom exclusive, as Pillow's crop takes it; all zero where nothing is seen. It is
    clipped to the image. `size` (rows, columns), `jump` and `start` are those of a position away
    from the border, padding counted; None where positions differ, such as after attention.
    `whole`: every position sees the whole image.
    """

    boxes: NDArray[np.int64]
    size: Pair | None
    jump: Pair | None
    start: Pair | None
    whole: bool

    def at(self, *position: int) -> tuple[int, int, int, int]:
        """The rectangle that a position, such as (row, column), sees: left, top, right, bottom."""
        left, top, right, bottom = self.boxes[position].tolist()
        return left, top, right, bottom

    @property
    def pixels(self) -> int | None:
        """The field's longer side; None for the whole image."""
        if self.size:
            return max(self.size)
        if self.whole or not self.boxes.size:
            return None
        wide = self.boxes.reshape(-1, 4)
        return int((wide[:, 2:] - wide[:, :2]).max())


def field_of(tensor: Tensor, channels: int, image: Pair) -> Field | None:
    """The field of a tensor that went through `Following`; `channels` is the axis that is no
    position, `image` the (rows, columns) of the input. None for what does not see the image.
    """
    seen: Seen | None = getattr(tensor, "_seen", None)
    if seen is None:
        return None
    ends = [end.amax(channels) for end in seen.ends]
    if ends[0].ndim and len(ends[0]) == 1:
        ends = [end[0] for end in ends]
    nothing = torch.isinf(ends[0]) | torch.isinf(ends[2])
    top, bottom, left, right = -ends[0], ends[1] + 1, -ends[2], ends[3] + 1
    boxes = torch.stack([left, top, right, bottom], -1).masked_fill(nothing[..., None], 0).long()
    whole = bool((boxes == torch.tensor([0, 0, image[1], image[0]])).all())
    if not seen.regular:
        return Field(boxes.numpy(), None, None, None, whole)
    return Field(boxes.numpy(), seen.size, seen.jump, seen.start, whole)


class Following(TorchFunctionMode):
    """While it is active, results carry their receptive fields with them.

    `start(image)` marks a tensor as the image; `called` is told of every function that ran: its
    name, its arguments and its result.
    """

    def start(self, image: Tensor, channels_last: bool = False) -> Tensor:
        """Mark (1, C, H, W) pixels, or (1, H, W, C) with `channels_last`, as the image."""
        image._seen = rules.of_image(image.shape, channels_last)  # type: ignore[attr-defined]
        return image

    def called(self, name: str, args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> None:
        """Nothing here; for those who count."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run the function, then its rule."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == "__get__":
            name = getattr(getattr(func, "__self__", None), "__name__", name)
        result = func(*args, **kwargs)
        if not _tensors([result]):  # a shape, a number
            return result
        inputs = _tensors([args, kwargs])
        if any(hasattr(each, "_seen") for each in inputs):
            with torch.no_grad():
                _mark(result, _rule(name.strip("_") if name != "__getitem__" else name, func, args,
                                    kwargs, result, inputs))
        self.called(name, args, kwargs, result)
        return result


def seen(x: Any) -> Seen | None:
    """The fields that a tensor carries."""
    found: Seen | None = getattr(x, "_seen", None)
    return found


def _mark(result: Any, found: Any) -> None:
    if isinstance(result, Tensor):
        if found is not None:
            result._seen = found  # type: ignore[attr-defined]
        return
    for i, part in enumerate(result):
        if isinstance(part, Tensor) and found is not None:
            own = found[i] if isinstance(found, list) else found
            if own is not None and tuple(own.ends[0].shape) == tuple(part.shape):
                part._seen = own  # type: ignore[attr-defined]


def _tensors(values: Any) -> list[Tensor]:
    if isinstance(values, Tensor):
        return [values]
    if isinstance(values, dict):
        values = values.values()
    elif not isinstance(values, tuple | list):
        return []
    return [each for value in values for each in _tensors(value)]


def _rule(name: str, func: Any, args: Any, kwargs: Any, result: Any, inputs: list[Tensor]) -> Any:
    """The result's Seen, by the function's name; a list for several results."""
    known = [each._seen for each in inputs if hasattr(each, "_seen")]  # type: ignore[attr-defined]
    own = seen(args[0]) if args else None
    if name in ("view", "view_as", "reshape_as"):
        return own and own.mapped(lambda x: x.reshape(result.shape))
    if name == "expand_as":
        return own and own.mapped(lambda x: x.expand(result.shape))
    if own and (name in SHAPES or name in ("T", "mT", "H")):
        return _reshaped(own, func, args, kwargs, result)
    if name in JOINS:
        parts = list(args[0])
        return rules.joined(
            [seen(p) for p in parts], parts, lambda ends: func(ends, *args[1:], **kwargs)
        )
    if found := _computed(name, args, kwargs, result, known, own):
        return found
    shape = result.shape if isinstance(result, Tensor) else result[0].shape
    try:
        together = torch.broadcast_shapes(*(k.ends[0].shape for k in known), shape)
    except RuntimeError:
        return rules.everything(known, shape)
    if together != shape or not isinstance(result, Tensor):
        return rules.everything(known, shape)
    found = rules.union(known, shape)
    if name in ("add", "radd", "iadd"):
        return _with_mask(found, inputs, shape)
    if name in ("dropout", "masked_fill", "float", "type_as", "to", "contiguous", "clone"):
        return known[0]
    return found


def _with_mask(found: Seen, inputs: list[Tensor], shape: Sequence[int]) -> Seen:
    """What an attention mask that is added leaves out; what was left out before stays so."""
    old = [s.masked for x in inputs if (s := seen(x)) and s.masked is not None]
    new = [rules.blocked(x) for x in inputs if seen(x) is None and x.ndim > 2 and x.is_floating_point()]
    masks = [m.expand(*shape) for m in (*old, *new) if bool(m.any())]
    if not masks or shape[-1] != shape[-2]:
        return found
    masked = masks[0] if len(masks) == 1 else masks[0] | masks[1]
    return Seen(found.ends, found.size, found.jump, found.start, found.regular, masked)


def _reshaped(own: Seen, func: Any, args: Any, kwargs: Any, result: Any) -> Any:
    if isinstance(result, Tensor):
        return own.mapped(lambda x: func(x, *args[1:], **kwargs))
    parts = [func(end, *args[1:], **kwargs) for end in own.ends]
    return [
        Seen(tuple(part[i] for part in parts), own.size, own.jump, own.start, own.regular)
        for i in range(len(result))
    ]


def _computed(
    name: str, args: Any, kwargs: Any, result: Any, known: list[Seen], own: Seen | None
) -> Seen | None:
    """The rules of functions that look beyond single elements; None for all others."""
    shape = result.shape if isinstance(result, Tensor) else result[0].shape
    if name in ("matmul", "rmatmul", "bmm", "mm") and args[0].ndim > 1 and args[1].ndim > 1:
        pair = (args[1], args[0]) if name == "rmatmul" else (args[0], args[1])
        return rules.product(seen(pair[0]), seen(pair[1]), shape)
    if name == "scaled_dot_product_attention" and len(known) >= 3:
        mask = args[3] if len(args) > 3 else kwargs.get("attn_mask")
        return rules.attention(known[0], known[1], known[2], mask, shape)
    if own is None:
        return None
    if name == "linear":
        return rules.spread(own, (-1,), shape)
    if name in ("layer_norm", "rms_norm"):
        count = len(args[1] if len(args) > 1 else kwargs["normalized_shape"])
        return rules.spread(own, range(-count, 0), shape)
    if name in ("group_norm", "instance_norm"):
        return rules.spread(own, range(1 if name == "group_norm" else 2, result.ndim), shape)
    if name in SOFTMAX or name == "normalize":
        default = 1 if name == "normalize" else -1
        place = 2 if name == "normalize" else 1
        axis = kwargs.get("dim", args[place] if len(args) > place else default)
        return rules.spread(own, (axis,), shape, keep=name in SOFTMAX)
    if name in REDUCTIONS:
        return _over_axes(name, args, kwargs, own, shape)
    return _window(name, args, kwargs, own, shape)


def _over_axes(name: str, args: Any, kwargs: Any, own: Seen, shape: Any) -> Seen | None:
    place = 2 if name in ("norm", "vector_norm") else 1
    axes = kwargs.get("dim", args[place] if len(args) > place else None)
    if isinstance(axes, Tensor):
        return None  # torch.max of two tensors
    ndim = own.ends[0].ndim
    every = range(ndim) if axes is None else [axes] if isinstance(axes, int) else list(axes)
    return rules.reduced(own, [a % ndim for a in every], len(shape) == ndim)


def _window(name: str, args: Any, kwargs: Any, own: Seen, shape: Any) -> Seen | None:
    if name == "pad":
        told = _arguments(_PAD, args, kwargs)
        amounts, mode = list(told["pad"]), told["mode"]
        more = {"value": rules.NONE} if mode == "constant" else {"mode": mode}
        return rules.padded(
            own, amounts, lambda x: torch.nn.functional.pad(x, amounts, **more)
        )
    if len(shape) != 4 or own.ends[0].ndim != 4:
        return None
    if name == "conv2d":
        window = conv_window(args, kwargs)
        kernel, stride, padding, dilation = window[:4]
        return rules.windowed(own, shape, kernel, stride, padding, dilation, groups=window[4])
    if name in ("max_pool2d", "avg_pool2d", "max_pool2d_with_indices"):
        kernel, stride, padding, dilation, ceil = pool_window(name, args, kwargs)
        return rules.windowed(own, shape, kernel, stride, padding, dilation, ceil=ceil)
    if name.startswith("adaptive_") and tuple(shape[2:]) == (1, 1):
        return rules.reduced(own, (2, 3), True)
    if name == "interpolate" and kwargs.get("mode", "nearest") == "nearest":
        return own.mixing(
            [torch.nn.functional.interpolate(end, tuple(shape[2:])) for end in own.ends], True
        )
    return None


def _pad(input: Any, pad: Any, mode: str = "constant", value: Any = None) -> None: ...
def _conv(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> None: ...
def _max_pool(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> None: ...
def _avg_pool(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: Any = None,
) -> None: ...


# PyTorch's own are builtins without a signature.
_PAD, _CONV, _MAX_POOL, _AVG_POOL = map(inspect.signature, (_pad, _conv, _max_pool, _avg_pool))


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
