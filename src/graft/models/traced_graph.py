"""A network of PyTorch as an OpenVINO model, by tracing it."""

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn


def traced_graph(network: nn.Module, example: Tensor, kind: str) -> Any:
    """The network as an openvino.Model, whose input has the shape of `example` and numbers of the
    type `kind`, as "u8"; raises what OpenVINO raises of an operation that it does not know.
    """
    # openvino.convert_model does the same and more: it validates by tracing twice at the full
    # batch size (8 s against 0.7 s for MobileNetV2) and reports usage to its maker's server.
    import openvino
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    with torch.inference_mode(), _quiet():
        script = torch.jit.trace(network, example, check_trace=False)  # type: ignore[no-untyped-call]
        traced = torch.jit.freeze(script)
        frontend = FrontEndManager().load_by_framework("pytorch")
        decoder = TorchScriptPythonDecoder(traced, example_input=example)  # must outlive convert
        model = frontend.convert(frontend.load(decoder))
    model.inputs[0].get_node().set_element_type(getattr(openvino.Type, kind))
    model.validate_nodes_and_infer_types()
    model.reshape(list(example.shape))
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # Tracing is deprecated in favor of torch.export, which takes ten times as long here; and it
    # warns of every Python number in a network that has a fixed input size anyway.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
