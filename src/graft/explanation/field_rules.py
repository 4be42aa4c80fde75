"""How each operation of a network passes receptive fields on.

The field of a value is the smallest rectangle of the image that holds every pixel it depends on.
Each tensor carries a `Seen` of its own shape, and each function of PyTorch has a rule that makes
the output's from the inputs': shapes change as the values' shapes do, a window takes the union over
the window, a sum the union of its terms, attention and means the union over all that they mix.
Size, jump and start follow Dumoulin & Visin 2016 (arXiv:1603.07285) and Araujo et al. 2019
(doi:10.23915/distill.00021).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from graft.explanation.window_arguments import Pair

NONE = float("-inf")  # the end of a field with no pixel in it: of a constant, or of padding


@dataclass(frozen=True)
class Seen:
    """The fields of a tensor's elements.

    `ends` are four tensors of its shape: minus the first row, the last row, minus the first
    column, the last column, so that a union is a maximum; NONE where no pixel is seen. While
    `regular`, all elements have a field of `size` (rows, columns), neighbors' fields lie `jump`
    apart, and the first begins at `start`, with padding counted. `masked` marks what attention
    leaves out.
    """

    ends: tuple[Tensor, ...]
    size: Pair = (1, 1)
    jump: Pair = (1, 1)
    start: Pair = (0, 0)
    regular: bool = True
    masked: Tensor | None = None

    def mapped(self, change: Callable[[Tensor], Tensor]) -> "Seen":
        """The same change of shape for all that is tensors."""
        masked = None if self.masked is None else change(self.masked)
        return replace(self, ends=tuple(change(end) for end in self.ends), masked=masked)

    def mixing(self, ends: Sequence[Tensor], mixed: bool) -> "Seen":
        """With other ends; no longer regular where different fields were mixed."""
        regular = self.regular and not mixed
        return replace(self, ends=tuple(ends), regular=regular, masked=None)


def of_image(shape: Sequence[int], channels_last: bool) -> Seen:
    """The fields of an image's own pixels: (1, C, H, W), or (1, H, W, C) with `channels_last`."""
    at = 1 if channels_last else 2
    view = [1] * 4
    ends = []
    for axis in (at, at + 1):
        places = torch.arange(shape[axis], dtype=torch.float32)
        view[axis] = shape[axis]
        ends += [(-places).view(view).expand(*shape), places.view(view).expand(*shape)]
        view[axis] = 1
    return Seen(tuple(ends))


def thin(x: Tensor) -> Tensor:
    """Without the copies that `expand` made: (1, 64, 8, 8) of equal channels is (1, 1, 8, 8)."""
    for axis in range(x.ndim):
        if x.shape[axis] > 1 and x.stride(axis) == 0:
            x = x.narrow(axis, 0, 1)
    return x


def union(seen: Sequence[Seen], shape: Sequence[int]) -> Seen:
    """Of the terms of a sum, a product or another function element by element."""
    ends = list(seen[0].ends)
    for other in seen[1:]:
        pairs = zip(ends, other.ends, strict=True)
        ends = [torch.maximum(thin(a), thin(b)) for a, b in pairs]
    return _joint(seen, tuple(end.expand(*shape) for end in ends))


def joined(parts: Sequence[Seen | None], tensors: Sequence[Tensor], join: Any) -> Seen | None:
    """Of tensors that `join`, such as torch.cat, puts together."""
    known = [part for part in parts if part is not None]
    if not known:
        return None
    empty = [[torch.full_like(t, NONE, dtype=torch.float32)] * 4 for t in tensors]
    each = [list(p.ends) if p else e for p, e in zip(parts, empty, strict=True)]
    return _joint(known, tuple(join([ends[i] for ends in each]) for i in range(4)))


def _joint(seen: Sequence[Seen], ends: tuple[Tensor, ...]) -> Seen:
    def extreme(choose: Any, name: str) -> Pair:
        pairs = [getattr(each, name) for each in seen]
        return choose(p[0] for p in pairs), choose(p[1] for p in pairs)

    size, jump = extreme(max, "size"), extreme(max, "jump")
    return Seen(ends, size, jump, extreme(min, "start"), all(each.regular for each in seen))


def reduced(seen: Seen, axes: Sequence[int], keepdim: bool) -> Seen:
    """Of a mean, sum or maximum over these axes."""
    # Over all positions: one value of the whole image, even where each saw all of it before.
    shape = seen.ends[0].shape
    over_map = len(axes) > 1 and any(shape[axis] > 1 for axis in axes)
    ends = [end.amax(tuple(axes), keepdim) for end in seen.ends]
    return seen.mixing(ends, over_map or _differ(seen, axes))


def spread(seen: Seen, axes: Sequence[int], shape: Sequence[int], keep: bool = False) -> Seen:
    """Of a function in which all along these axes depends on all: normalization, a linear layer.

    `keep` what attention leaves out: a softmax.
    """
    ends = seen.ends
    if keep and seen.masked is not None:
        ends = tuple(end.masked_fill(seen.masked, NONE) for end in ends)
    wide = [end.amax(tuple(axes), True).expand(*shape) for end in map(thin, ends)]
    found = seen.mixing(wide, _differ(seen, axes))
    return replace(found, masked=seen.masked) if keep else found


def _differ(seen: Seen, axes: Sequence[int]) -> bool:
    slim = [thin(end) for end in seen.ends]
    return any(not torch.equal(end.amax(tuple(axes)), end.amin(tuple(axes))) for end in slim)


def everything(seen: Sequence[Seen], shape: Sequence[int]) -> Seen:
    """Of a function without a rule: at most all that any of its inputs sees."""
    each = zip(*(s.ends for s in seen), strict=True)
    ends = [torch.stack([end.amax() for end in four]).amax().expand(*shape) for four in each]
    return _joint(seen, tuple(ends)).mixing(ends, mixed=True)


def windowed(
    seen: Seen,
    shape: Sequence[int],
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair = (1, 1),
    *,
    groups: int = 0,
    ceil: bool = False,
) -> Seen:
    """Of a convolution (with `groups`) or a pooling (without) of (1, C, H, W)."""
    ends = []
    for end in seen.ends:
        if groups:
            few = end[:, :1] if end.stride(1) == 0 else _grouped(end, groups)
        else:
            few = end[:, :1] if end.stride(1) == 0 else end
        rows, columns = padding
        few = torch.nn.functional.pad(few, (columns, columns, rows, rows), value=NONE)
        found = torch.nn.functional.max_pool2d(
            few, kernel, stride, dilation=dilation, ceil_mode=ceil
        )
        found = found[:, :, : shape[2], : shape[3]]
        if found.shape[1] not in (1, shape[1]):
            found = found.repeat_interleave(shape[1] // found.shape[1], 1)
        ends.append(found.expand(*shape))
    jump = seen.jump
    reach = [(k - 1) * d * j for k, d, j in zip(kernel, dilation, jump, strict=True)]
    before = [p * j for p, j in zip(padding, jump, strict=True)]
    return replace(
        seen,
        ends=tuple(ends),
        size=(seen.size[0] + reach[0], seen.size[1] + reach[1]),
        jump=(jump[0] * stride[0], jump[1] * stride[1]),
        start=(seen.start[0] - before[0], seen.start[1] - before[1]),
        masked=None,
    )


def _grouped(end: Tensor, groups: int) -> Tensor:
    n, channels, *places = end.shape
    return end.reshape(n, groups, channels // groups, *places).amax(2)


def padded(seen: Seen, amounts: Sequence[int], pad: Callable[[Tensor], Tensor]) -> Seen:
    """Of `pad`, which adds (left, right, top, bottom, …) to the last axes."""
    ends = tuple(pad(end) for end in seen.ends)
    left, top = amounts[0], amounts[2] if len(amounts) > 2 else 0
    start = (seen.start[0] - top * seen.jump[0], seen.start[1] - left * seen.jump[1])
    return replace(seen, ends=ends, start=start, masked=None)


def product(a: Seen | None, b: Seen | None, shape: Sequence[int]) -> Seen:
    """Of a matrix product of (…, M, K) and (…, K, N): row m sees what its K terms see."""
    masked = a.masked if a else None
    found = []
    for side, seen in enumerate((a, b)):
        if seen is None:
            continue
        ends = []
        for end in map(thin, seen.ends):
            if side == 0:
                few = end.amax(-1, keepdim=True)
            elif masked is None:
                few = end.amax(-2, keepdim=True)
            else:
                few = _unmasked(end.amax(-1)[..., None, :], masked)
            ends.append(few.expand(*shape))
        found.append(seen.mixing(ends, _differ(seen, (-1 if side == 0 else -2,))))
    return union(found, shape)


def attention(
    query: Seen, key: Seen, value: Seen, mask: Tensor | None, shape: Sequence[int]
) -> Seen:
    """Of scaled dot-product attention: each query sees all keys and values that are not masked."""
    own = [end.amax(-1, keepdim=True).expand(*shape) for end in map(thin, query.ends)]
    found = [query.mixing(own, mixed=False)]
    for seen in (key, value):
        ends = []
        for end in map(thin, seen.ends):
            few = end.amax(-1)[..., None, :]
            few = few if mask is None else _unmasked(few, blocked(mask))
            ends.append(few.amax(-1, keepdim=True).expand(*shape))
        found.append(seen.mixing(ends, mixed=_differ(seen, (-2,))))
    return union(found, shape)


def blocked(mask: Tensor) -> Tensor:
    """What an attention mask leaves out: False, or a number whose exponential is nothing."""
    return ~mask if mask.dtype == torch.bool else mask <= -50


def _unmasked(ends: Tensor, masked: Tensor) -> Tensor:
    ends, masked = torch.broadcast_tensors(ends, masked)  # type: ignore[no-untyped-call]
    return ends.masked_fill(masked, NONE).amax(-1, keepdim=True)
