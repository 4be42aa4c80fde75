"""An encoder compiled by OpenVINO, for the backends: its name, and how a batch is given to it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from graft.data.reader import cores
from graft.models.encoder import Encoder
from graft.models.openvino_body import OpenVinoBody, from_pixels
from graft.models.runtime import float32_asked_for
from graft.models.traced_graph import traced_graph
from graft.utils.torchrun import place

if TYPE_CHECKING:
    from graft.models.halves import Prefix

Submit = Callable[[NDArray[Any]], Callable[[], NDArray[np.float32]]]
ONE_AT_A_TIME = "the network's file takes one image at a time"


def openvino_name(exact: bool = False) -> str:
    """What runs and how precisely, as "openvino 2026.4 bf16 on CPU"; in float32 if `exact`.
    ImportError where OpenVINO is not installed.
    """
    import openvino

    version = ".".join(openvino.__version__.split(".")[:2])
    native = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    exact = exact or float32_asked_for()
    return f"openvino {version} {'bf16' if native and not exact else 'f32'} on CPU"


def openvino_submit(
    encoder: "Encoder | Prefix", name: str, batch: int
) -> tuple[int, Submit, str | None]:
    """The encoder, compiled for a batch of that size, as precisely as the `name` says: what Backend
    takes after those, `depth`, `submit` and `note`.
    """
    import openvino

    core = openvino.Core()
    # One image alone is waited for: all cores work on it.
    hint = "LATENCY" if batch == 1 else "THROUGHPUT"
    threads = {"INFERENCE_NUM_THREADS": cores()} if place().local_world > 1 else {}
    compiled = core.compile_model(
        _converted(encoder, batch),
        "CPU",
        {"INFERENCE_PRECISION_HINT": name.split()[2], "PERFORMANCE_HINT": hint, **threads},
    )
    depth = max(2, compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
    idle = [compiled.create_infer_request() for _ in range(depth)]

    def submit(pixels: NDArray[Any]) -> Callable[[], NDArray[np.float32]]:
        try:
            request = idle.pop()
        # Several threads at once: each may have `depth` under way, so none waits for another.
        except IndexError:
            request = compiled.create_infer_request()
        request.start_async([np.ascontiguousarray(pixels)], share_inputs=True)

        def wait() -> NDArray[np.float32]:
            request.wait()
            features: NDArray[np.float32] = request.get_output_tensor().data.copy()
            idle.append(request)
            return features

        return wait

    if compiled.input(0).shape[0] == batch:
        return depth, submit, None

    def each(pixels: NDArray[Any]) -> Callable[[], NDArray[np.float32]]:
        waits = [submit(image[np.newaxis]) for image in pixels]
        return lambda: np.concatenate([wait() for wait in waits])

    return 1, each, ONE_AT_A_TIME


def _converted(encoder: "Encoder | Prefix", batch: int) -> Any:
    if isinstance(encoder, Encoder) and isinstance(encoder.body, OpenVinoBody):
        mean, std = encoder.get_buffer("mean"), encoder.get_buffer("std")
        return from_pixels(encoder.body, mean, std, encoder.input_shape, batch)
    example = torch.zeros(1, *encoder.input_shape, dtype=torch.uint8)
    model = traced_graph(encoder, example, "u8")
    model.reshape([batch, *encoder.input_shape])
    return model
