"""An encoder compiled by OpenVINO, for the backends: its name, and how a batch is given to it."""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from graft.models.encoder import Encoder
from graft.models.openvino_body import OpenVinoBody, from_pixels
from graft.models.runtime import float32_asked_for

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
    compiled = core.compile_model(
        _converted(encoder, batch),
        "CPU",
        {"INFERENCE_PRECISION_HINT": name.split()[2], "PERFORMANCE_HINT": hint},
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
    # openvino.convert_model does the same and more: it validates by tracing twice at the full
    # batch size (8 s against 0.7 s for MobileNetV2) and reports usage to its maker's server.
    import openvino

    if isinstance(encoder, Encoder) and isinstance(encoder.body, OpenVinoBody):
        mean, std = encoder.get_buffer("mean"), encoder.get_buffer("std")
        return from_pixels(encoder.body, mean, std, encoder.input_shape, batch)
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    example = torch.zeros(1, *encoder.input_shape, dtype=torch.uint8)
    with torch.inference_mode(), _quiet():
        script = torch.jit.trace(encoder, example, check_trace=False)  # type: ignore[no-untyped-call]
        traced = torch.jit.freeze(script)
        frontend = FrontEndManager().load_by_framework("pytorch")
        decoder = TorchScriptPythonDecoder(traced, example_input=example)  # must outlive convert
        model = frontend.convert(frontend.load(decoder))
    model.inputs[0].get_node().set_element_type(openvino.Type.u8)
    model.validate_nodes_and_infer_types()
    model.reshape([batch, *encoder.input_shape])
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # Tracing is deprecated in favor of torch.export, which takes ten times as long here; and it
    # warns of every Python number in a network that has a fixed input size anyway.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
