"""Which rule of field_rules.py holds for which function of PyTorch, by its name."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from graft.explanation import field_rules as rules
from graft.explanation.field_rules import Seen
from graft.explanation.window_arguments import conv_window, padding_of, pool_window

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


def seen(x: Any) -> Seen | None:
    """The fields that a tensor carries."""
    found: Seen | None = getattr(x, "_seen", None)
    return found


def tensors(values: Any) -> list[Tensor]:
    """All tensors within arguments or results, however nested."""
    if isinstance(values, Tensor):
        return [values]
    if isinstance(values, dict):
        values = values.values()
    elif not isinstance(values, tuple | list):
        return []
    return [each for value in values for each in tensors(value)]


def rule(name: str, func: Any, args: Any, kwargs: Any, result: Any, inputs: list[Tensor]) -> Any:
    """The result's Seen, by the function's name; a list for several results."""
    known = [each._seen for each in inputs if hasattr(each, "_seen")]
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
        together = torch.broadcast_shapes(*(k.ends[0].shape for k in known), shape)  # type: ignore[no-untyped-call]
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
    new = [
        rules.blocked(x) for x in inputs if seen(x) is None and x.ndim > 2 and x.is_floating_point()
    ]
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
        amounts, mode = padding_of(args, kwargs)
        more = {"value": rules.NONE} if mode == "constant" else {"mode": mode}
        return rules.padded(own, amounts, lambda x: torch.nn.functional.pad(x, amounts, **more))
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
