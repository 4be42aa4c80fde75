"""A network that somebody else's tool wrote, as a body: an OpenVINO graph kept as two tensors.

Its state is the graph's text and its constants, byte by byte, so that it lies in a card, in a
run's model.safetensors and in a pickle as any other network's weights do, under the same digests,
and a run folder is enough to predict. It has no gradients: only a head can be trained on it.
"""

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from graft.errors import ModelError
from graft.models.graph_bounds import check_bounds, reason_of

# What model.json says in place of a name of timm's.
ARCHITECTURE = "openvino"


class OpenVinoBody(nn.Module):
    """Normalized pixels (N, 3, H, W) float32 to features (N, D) float32, in OpenVINO on the CPU.

    `graph` (n,) uint8 is the text of an IR with one input and one output, `constants` (m,) uint8
    what its .bin holds. An empty body takes any state. A graph whose first dimension is 1 takes
    one image at a time.
    """

    def __init__(self, graph: bytes = b"", constants: bytes = b"") -> None:
        super().__init__()
        self.register_buffer("graph", _tensor(graph))
        self.register_buffer("constants", _tensor(constants))
        self._requests: dict[tuple[int, ...], Any] = {}
        self._lock = threading.Lock()

    def forward_features(self, x: Tensor) -> Tensor:
        """Features of a batch, computed in float32; RuntimeError for a size it does not take."""
        whole = np.ascontiguousarray(x.detach().float().cpu().numpy())
        with self._lock:
            shape = whole.shape[1:]
            if shape not in self._requests:
                self._requests[shape] = _request(self.model(), shape)
            request = self._requests[shape]
            rows = [request.infer([image[None]])[0].copy() for image in whole]
        return torch.from_numpy(np.concatenate(rows)).to(x.device)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """The features as they are: the graph ends with them."""
        return x

    def reset_classifier(self, classes: int) -> None:
        """Nothing: the graph ends with the features."""

    def model(self) -> Any:
        """The graph itself, an openvino.Model of its own; ModelError for one that is out of
        bounds or that OpenVINO cannot read.
        """
        import openvino

        graph, constants = (
            self.get_buffer(name).cpu().numpy().tobytes() for name in ("graph", "constants")
        )
        try:
            model = openvino.Core().read_model(graph, constants)
        except Exception as error:  # plain RuntimeErrors, of many lines
            raise ModelError(f"the stored graph cannot be read: {reason_of(error)}") from error
        check_bounds(model)
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise ModelError("the stored graph has not one input and one output")
        return model

    def parameter_count(self) -> int:
        """The numbers of floating point among its constants."""
        return sum(
            int(np.prod(list(op.get_output_shape(0))))
            for op in self.model().get_ops()
            if op.get_type_name() == "Constant" and op.get_element_type().is_real()
        )

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Tensor],
        prefix: str,
        metadata: Any,
        strict: bool,
        missing: list[str],
        unexpected: list[str],
        errors: list[str],
    ) -> None:
        # A graph may have any length, which a buffer of PyTorch may not.
        for name in ("graph", "constants"):
            if found := prefix + name in state_dict:
                self.register_buffer(name, state_dict[prefix + name].clone())
            if not found:
                missing.append(prefix + name)
        self._requests.clear()

    def __getstate__(self) -> dict[str, Any]:
        # What is compiled belongs to this process.
        return {**vars(self), "_requests": {}, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._requests, self._lock = {}, threading.Lock()


def named(backbone: Mapping[str, Any]) -> str:
    """What a run's model.json says the backbone is, for people: a name of timm's, or the file."""
    of_file = backbone["architecture"] == ARCHITECTURE
    return str(backbone["source"] if of_file else backbone["architecture"])


def from_pixels(
    body: OpenVinoBody, mean: Tensor, std: Tensor, shape: tuple[int, ...], batch: int
) -> Any:
    """The body's graph with normalization before it, (batch, H, W, 3) uint8 to (batch, D), as an
    openvino.Model; `mean` and `std` (3,) are those of 0 to 255. `batch` -1 is any number; a graph
    that takes one image at a time stays so.
    """
    import openvino
    from openvino import opset13 as ops

    model = body.model()
    old = model.get_parameters()[0]
    one = old.get_partial_shape()[0]
    rows = 1 if one.is_static else batch
    pixels = ops.parameter([rows, *shape], np.uint8, "image")
    as_float = ops.convert(pixels, np.float32)
    shift, scale = (each.float().cpu().numpy().reshape(1, 1, 1, 3) for each in (mean, std))
    scaled = ops.divide(ops.subtract(as_float, ops.constant(shift)), ops.constant(scale))
    turned = ops.transpose(scaled, ops.constant(np.array([0, 3, 1, 2])))
    for target in old.output(0).get_target_inputs():
        target.replace_source_output(turned.output(0))
    whole = openvino.Model(model.get_results(), [pixels], "encoder")
    whole.validate_nodes_and_infer_types()
    return whole


def _request(model: Any, shape: tuple[int, ...]) -> Any:
    import openvino

    model.reshape([1, *shape])
    exact = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    return openvino.Core().compile_model(model, "CPU", exact).create_infer_request()


def _tensor(data: bytes) -> Tensor:
    return (
        torch.frombuffer(bytearray(data), dtype=torch.uint8)
        if data
        else torch.empty(0, dtype=torch.uint8)
    )
