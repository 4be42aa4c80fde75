"""A graph to a file of each format."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from graft.errors import GraftError, ModelError, UsageError
from graft.export.contract import KEY, Contract
from graft.export.graph import INPUT, OUTPUTS
from graft.export.quiet import quiet

# Writes the file, with a contract in its metadata.
Save = Callable[[Path, Contract], None]
_AXES = ("batch", "height", "width")


def torch_program(graph: nn.Module, square: tuple[int, int] | None) -> Any:
    """The graph as torch.export's program: any number of images, of any height and width, or of
    the `square` size alone. To be saved in one format: converting it changes it.
    """
    height, width = square or (97, 131)
    example = torch.zeros(2, height, width, 3, dtype=torch.uint8)
    free = range(1 if square else 3)
    dynamic = dict.fromkeys(free, torch.export.Dim.DYNAMIC)
    with quiet(), torch.no_grad(), _explained():
        return torch.export.export(graph, (example,), dynamic_shapes=(dynamic,), strict=False)


def onnx_saver(program: Any) -> Save:
    """The program in ONNX: one file, plain operators of the standard domain."""
    require_onnx()

    with quiet(), _explained():
        made = torch.onnx.export(
            program,
            (),
            dynamo=True,
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            external_data=False,
            verbose=False,
        )
        model = made.model_proto  # type: ignore[union-attr]
    _name_axes(model)
    return _proto_saver(model)


def copier(source: Path) -> Save:
    """What writes an ONNX file again, with another contract."""
    import onnx

    return _proto_saver(onnx.load(source))


def _proto_saver(model: Any) -> Save:
    import onnx

    def save(file: Path, contract: Contract) -> None:
        del model.metadata_props[:]
        text = json.dumps(contract, ensure_ascii=False, allow_nan=False)
        onnx.helper.set_model_props(model, {KEY: text})
        onnx.checker.check_model(model)
        file.write_bytes(model.SerializeToString())

    return save


def openvino_saver(program: Any, half: bool = False) -> Save:
    """The program as OpenVINO IR: the .xml, and the weights beside it as .bin; with `half` in
    float16.
    """
    with quiet(), _explained("; export it to onnx, which OpenVINO reads, too"):
        model, decoder = in_openvino(program)
    return openvino_file_saver(model, half, decoder)


def in_openvino(program: Any) -> tuple[Any, Any]:
    """A program of torch.export as an OpenVINO model, and what must outlive it."""
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder

    # Not openvino.convert_model, which reports usage to its maker's server.
    frontend = FrontEndManager().load_by_framework("pytorch")
    decoder = TorchFXPythonDecoder.from_exported_program(program)
    return frontend.convert(frontend.load(decoder)), decoder


def openvino_file_saver(model: Any, half: bool, held: Any) -> Save:
    """An OpenVINO model of a Graph as IR; `held` is what must outlive it."""
    import openvino

    model.inputs[0].get_tensor().set_names({INPUT})
    for output, name in zip(model.outputs, OUTPUTS, strict=True):
        output.get_tensor().set_names({name})

    def save(file: Path, contract: Contract) -> None:
        text = json.dumps(contract, ensure_ascii=False, allow_nan=False)
        model.set_rt_info(text, [KEY])
        openvino.save_model(model, file, compress_to_fp16=half)

    save.held = held  # type: ignore[attr-defined]
    return save


def torch_saver(program: Any) -> Save:
    """The program as torch.export.save writes it."""

    def save(file: Path, contract: Contract) -> None:
        text = json.dumps(contract, ensure_ascii=False, allow_nan=False)
        with quiet():
            torch.export.save(program, file, extra_files={f"{KEY}.json": text})

    return save


def require_onnx() -> None:
    """Raise UsageError where the packages that ONNX needs are not installed."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        try:
            __import__(package)
        except ImportError as error:
            raise UsageError(
                f"export to ONNX needs {package}, which is not installed; pip install 'graft[onnx]'"
            ) from error


def _name_axes(model: Any) -> None:
    """Names for people instead of the exporter's symbols."""
    dims = model.graph.input[0].type.tensor_type.shape.dim
    names = {d.dim_param: n for d, n in zip(dims, _AXES, strict=False) if d.dim_param}
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in names:
                dim.dim_param = names[dim.dim_param]


@contextlib.contextmanager
def _explained(advice: str = "") -> Iterator[None]:
    try:
        yield
    except (GraftError, KeyboardInterrupt):
        raise
    # Exporters raise whatever their own code stumbles over.
    except Exception as error:
        reason = (str(error).strip() or repr(error)).splitlines()[0][:300]
        raise ModelError(f"this network cannot be exported: {reason}{advice}") from error
