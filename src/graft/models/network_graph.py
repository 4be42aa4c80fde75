"""The graph of a file of another tool, made uniform: from normalized RGB, (N, 3, H, W), to features
(N, D).

Which dimension holds the channels, the order of the colors, the type of the pixels and the shape
of the output differ from file to file; after this they do not.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.choices import LARGEST_SIDE
from graft.errors import ModelError
from graft.runs.reading import shown

# Pixels a side where the graph takes any.
USUAL_SIDE = 224
MOST_FEATURES = 100_000
# Two images at once give the features that each gives alone, but for rounding.
TOLERANCE = 1e-3


class Image:
    """The input of a graph that takes an image: `channels_last`, `takes_bytes`, and `height` and
    `width` in pixels, None where it takes any. ModelError for a graph with another input.
    """

    def __init__(self, model: Any):
        inputs = model.get_parameters()
        if len(inputs) != 1:
            named = ", ".join(shown(each.get_friendly_name(), 40) for each in inputs[:5])
            raise ModelError(f"expected one input, an image; it has {len(inputs)} ({named})")
        self.parameter = inputs[0]
        shape = self.parameter.get_partial_shape()
        rank = -1 if shape.rank.is_dynamic else len(shape)
        sizes = [d.get_length() if d.is_static else None for d in shape] if rank > 0 else []
        if rank != 4 or (3 not in (sizes[1], sizes[3])):
            raise ModelError(
                "expected an input of images, (N, 3, H, W) or (N, H, W, 3); it has the shape "
                f"{shown(shape, 60)}"
            )
        self.channels_last = sizes[1] != 3
        self.height, self.width = sizes[1:3] if self.channels_last else sizes[2:4]
        for side in (self.height, self.width):
            if side is not None and not 1 <= side <= LARGEST_SIDE:
                raise ModelError(
                    f"it takes images of {side:,} pixels a side, expected {LARGEST_SIDE:,} at most"
                )
        self.type = self.parameter.get_element_type()
        if self.type.get_type_name() not in ("f32", "f16", "u8"):
            raise ModelError(
                f"it takes pixels of the type {self.type.get_type_name()}, expected float32, "
                "float16 or uint8"
            )

    @property
    def takes_bytes(self) -> bool:
        """Whether the pixels are whole numbers of 0 to 255."""
        return bool(self.type.get_type_name() == "u8")


def chosen_output(model: Any, name: str | None) -> Any:
    """The output of that name, or the tensor inside of the graph; None: the first output.

    Raises ModelError, with the names that there are.
    """
    if name is None:
        return model.output(0).get_node().input_value(0)
    for operation in model.get_ops():
        for output in operation.outputs():
            if name in (operation.get_friendly_name(), *output.get_names()):
                is_result = operation.get_type_name() == "Result"
                return operation.input_value(0) if is_result else output
    outputs = [min(each.get_names(), default="(no name)") for each in model.outputs]
    inside = [
        min(output.get_names())
        for operation in model.get_ordered_ops()
        for output in operation.outputs()
        if output.get_names()
        and operation.get_type_name() not in ("Constant", "Parameter", "Result")
        and _rank(output) in (2, 4)
    ]
    near = [each for each in dict.fromkeys(reversed(inside)) if each not in outputs][:5]
    more = f"; before them {', '.join(shown(each, 60) for each in near)}" if near else ""
    raise ModelError(
        f"it has no output {shown(name)!r}; its outputs are "
        f"{', '.join(shown(each, 60) for each in outputs[:10])}{more}"
    )


def uniform(model: Any, image: Image, output: Any, bgr: bool) -> Any:
    """A graph from (N, 3, H, W) float32, RGB, to (N, D) float32, the mean over positions or tokens
    where the output has some. N is -1 where the graph takes any number, else 1.

    Raises ModelError for an output that is no features, RuntimeError for what OpenVINO refuses.
    """
    import openvino
    from openvino import opset13 as ops

    new = ops.parameter([1, 3, image.height or -1, image.width or -1], np.float32, "image")
    x = new
    if bgr:
        x = ops.gather(x, ops.constant(np.array([2, 1, 0])), ops.constant(1))
    if image.channels_last:
        x = ops.transpose(x, ops.constant(np.array([0, 2, 3, 1])))
    if image.takes_bytes:
        x = ops.round(x, "half_to_even")
    if image.type.get_type_name() != "f32":
        x = ops.convert(x, image.type)
    for target in image.parameter.output(0).get_target_inputs():
        target.replace_source_output(x.output(0))
    rank = _rank(output)
    if rank not in (2, 3, 4):
        raise ModelError(
            "expected an output of features (N, D), of maps (N, D, h, w) or (N, h, w, D), or of "
            f"tokens (N, T, D); it has the shape {shown(output.get_partial_shape(), 60)}"
        )
    y = output
    if output.get_element_type().get_type_name() != "f32":
        y = ops.convert(y, np.float32).output(0)
    if rank > 2:
        over = [1] if rank == 3 else [1, 2] if image.channels_last else [2, 3]
        y = ops.reduce_mean(y, ops.constant(np.array(over)), keep_dims=False).output(0)
    made = openvino.Model([ops.result(y)], [new], "encoder")
    return _for_any_number(made)


def written(model: Any) -> tuple[bytes, bytes]:
    """The graph as IR: the text, and the constants."""
    import openvino

    # Names that OpenVINO makes up count on from call to call; equal graphs are to be equal.
    for number, operation in enumerate(model.get_ordered_ops()):
        operation.set_friendly_name(f"{operation.get_type_name()}_{number}")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "encoder.xml"
        openvino.save_model(model, file, compress_to_fp16=False)
        return file.read_bytes(), file.with_suffix(".bin").read_bytes()


def _for_any_number(model: Any) -> Any:
    """The graph for any number of images at once; as it was, for one, where it does not compute
    each image by itself: files often have a 1 somewhere in the middle of them.
    """
    shape = model.input(0).get_partial_shape()
    sides = [d.get_length() if d.is_static else USUAL_SIDE for d in list(shape)[2:]]
    noise = np.random.default_rng(0).standard_normal((2, 3, *sides)).astype(np.float32)
    each = np.concatenate([_computed(model, noise[:1]), _computed(model, noise[1:])])
    if each.ndim != 2 or not 1 <= each.shape[1] <= MOST_FEATURES or len(each) != 2:
        raise ModelError(f"expected features (N, D) of N images, got {each.shape} of 2")
    more = model.clone()
    try:
        more.reshape([-1, *list(shape)[1:]])
        both = _computed(more, noise)
    except RuntimeError:
        return model
    same = both.shape == each.shape and np.allclose(
        both, each, TOLERANCE, TOLERANCE * float(np.abs(each).max())
    )
    return more if same else model


def _computed(model: Any, images: NDArray[np.float32]) -> NDArray[np.float32]:
    import openvino

    own = model.clone()
    own.reshape(list(images.shape))
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    found: NDArray[np.float32] = openvino.Core().compile_model(own, "CPU", exact)(images)[0]
    return found


def _rank(output: Any) -> int:
    shape = output.get_partial_shape()
    return -1 if shape.rank.is_dynamic else len(shape)
