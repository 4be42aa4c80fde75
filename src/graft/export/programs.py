"""Exported files in their own runtimes: onnxruntime, OpenVINO or PyTorch, on the CPU in float32."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.errors import DataError, UsageError
from graft.export.contract import KEY, Contract, read_contract
from graft.export.graph import INPUT, OUTPUTS
from graft.export.quiet import quiet

Outputs = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
# Of a file that is opened; larger networks are not exported into one file.
MOST_BYTES = 2**31


@dataclass(frozen=True)
class Program:
    """An exported file, loaded: `run` takes (N, H, W, 3) uint8 and gives the graph's outputs.

    `runtime` names what runs it, and `contract` what travels with it.
    """

    file: Path
    runtime: str
    contract: Contract
    run: Callable[[NDArray[np.uint8]], Outputs]

    @property
    def square(self) -> bool:
        """Whether it takes pixels of the network's own size only."""
        return bool(self.contract["input"]["square"])


def open_program(file: str | Path, *, trusted: bool = False) -> Program:
    """Load an exported file: .onnx, .xml (OpenVINO) or .pt2 (PyTorch).

    PyTorch falls back to pickle for parts of a .pt2, which may then run any code: one that is not
    `trusted` is refused.

    Raises DataError for a file that is none or was not made by graft export, UsageError for a .pt2
    that is not trusted, or where the runtime is not installed.
    """
    file = Path(file)
    opener = _OPENERS.get(file.suffix.lower())
    if opener is None or not file.is_file():
        raise DataError(
            f"{file}: expected an exported model ({', '.join(_OPENERS)}), "
            + ("there is no such file" if not file.exists() else "this is something else")
        )
    if file.suffix.lower() == ".pt2" and not trusted:
        raise UsageError(
            f"{file}: PyTorch may run code that is hidden in such a file; add --trust if you know "
            "who made it"
        )
    if file.stat().st_size > MOST_BYTES:
        raise DataError(f"{file}: is larger than any export ({MOST_BYTES:,} bytes)")
    try:
        return opener(file)
    except (DataError, UsageError):
        raise
    # Each runtime has exceptions of its own for bytes that are no model.
    except Exception as error:
        reason = (str(error).strip() or repr(error)).splitlines()[0][:200]
        raise DataError(f"{file}: cannot be loaded: {reason}; export the run again") from error


def missing(package: str, extra: str) -> UsageError:
    """The error for a package that an extra of graft's brings."""
    return UsageError(f"{package} is not installed; pip install 'graft[{extra}]'")


def _open_onnx(file: Path) -> Program:
    try:
        import onnxruntime  # type: ignore[import-untyped]
    except ImportError as error:
        raise missing("onnxruntime", "onnx") from error
    options: Any = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # a dynamic size is worth no warning
    session: Any = onnxruntime.InferenceSession(
        str(file), options, providers=["CPUExecutionProvider"]
    )
    contract = read_contract(session.get_modelmeta().custom_metadata_map.get(KEY), file)
    names = [each.name for each in session.get_outputs()]
    if [each.name for each in session.get_inputs()] != [INPUT] or names != list(OUTPUTS):
        raise DataError(f"{file}: expected {INPUT} in and {', '.join(OUTPUTS)} out")
    return Program(
        file,
        f"onnxruntime {onnxruntime.__version__} on CPU",
        contract,
        lambda image: tuple(session.run(list(OUTPUTS), {INPUT: image})),
    )


def _open_openvino(file: Path) -> Program:
    import openvino

    core = openvino.Core()
    model = core.read_model(file)
    text = model.get_rt_info([KEY]).astype(str) if model.has_rt_info([KEY]) else None
    contract = read_contract(text, file)
    # The resize in bfloat16 would round pixels to even ones.
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(model, "CPU", settings)

    def run(image: NDArray[np.uint8]) -> Outputs:
        found = compiled([np.ascontiguousarray(image)])
        return tuple(np.array(found[name]) for name in OUTPUTS)  # type: ignore[return-value]

    release = ".".join(openvino.__version__.split(".")[:2])
    return Program(file, f"openvino {release} f32 on CPU", contract, run)


def _open_torch(file: Path) -> Program:
    import torch

    extra = {f"{KEY}.json": ""}
    with quiet():
        loaded = torch.export.load(file, extra_files=extra).module()
    contract = read_contract(extra[f"{KEY}.json"], file)

    def run(image: NDArray[np.uint8]) -> Outputs:
        with torch.inference_mode():
            found = loaded(torch.tensor(image))
        return tuple(each.numpy() for each in found)

    return Program(file, f"torch {torch.__version__.partition('+')[0]} on CPU", contract, run)


_OPENERS: dict[str, Callable[[Path], Program]] = {
    ".onnx": _open_onnx,
    ".xml": _open_openvino,
    ".pt2": _open_torch,
}
