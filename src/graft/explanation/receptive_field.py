"""Receptive fields: the part of the image that each value inside a network can depend on.

The network runs once; a mode of PyTorch sees each function as it is called, so that branches,
shortcuts and attention need no description of the network (rules: field_rules.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode

from graft.explanation import field_rules as rules
from graft.explanation.field_rules import Seen
from graft.explanation.function_rules import rule, tensors
from graft.explanation.window_arguments import Pair


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
        if not tensors([result]):  # a shape, a number
            return result
        inputs = tensors([args, kwargs])
        if any(hasattr(each, "_seen") for each in inputs):
            with torch.no_grad():
                _mark(
                    result,
                    rule(
                        name.strip("_") if name != "__getitem__" else name,
                        func,
                        args,
                        kwargs,
                        result,
                        inputs,
                    ),
                )
        self.called(name, args, kwargs, result)
        return result


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
