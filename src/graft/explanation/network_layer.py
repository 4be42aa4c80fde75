"""Layer: one layer of a network as it ran."""

from dataclasses import dataclass, field
from typing import Any

from graft.explanation.receptive_field import Field
from graft.explanation.window_arguments import Pair


@dataclass(frozen=True)
class Layer:
    """One layer as it ran for one image.

    `kernel`, `stride`, `padding` and `dilation` are (rows, columns), None where there is no window;
    padding that differs between the sides is (left, right, top, bottom). Shapes are PyTorch's
    without the batch of one image; `output_shape` is () for a layer that did not run, or parameters
    that belong to none. `receptive_field` is the longer side in pixels of what one output value
    sees of the image, padding counted; None: the whole image; 0: nothing. `jump`: how far apart
    neighbors' fields lie. `trainable` parameters are those that training changes; `buffers`
    count what is kept but not learned. `arithmetic` are its sums in full, a line each. `sees` has
    the rectangle on the image for each position; `channels` is the axis of `output_shape` that
    holds the channels. `block` is the name of the block that the layer belongs to.
    """

    name: str
    kind: str
    kernel: Pair | None = None
    stride: Pair | None = None
    padding: tuple[int, ...] | None = None
    dilation: Pair | None = None
    groups: int = 1
    input_shape: tuple[int, ...] = ()
    output_shape: tuple[int, ...] = ()
    receptive_field: int | None = 0
    jump: int | None = None
    parameters: int = 0
    trainable: int = 0
    buffers: int = 0
    multiply_adds: int = 0
    ran: bool = True
    arithmetic: list[str] = field(default_factory=list)
    sees: Field | None = field(default=None, repr=False, compare=False)
    channels: int = 0
    block: str = ""
    block_kind: str = ""

    def to_json(self) -> dict[str, Any]:
        """All but the rectangles."""
        return {k: v for k, v in vars(self).items() if k != "sees"}
