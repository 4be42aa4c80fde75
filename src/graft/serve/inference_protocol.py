"""The Open Inference Protocol, version 2 (KServe, Triton): tensors in, tensors out.

One input, `image`: BYTES [N] of encoded images, or UINT8 [N, height, width, 3] of upright RGB
pixels. Outputs: `label` (empty where the policy abstains), `best_guess` and `reason` as BYTES [N],
`probabilities` FP32 [N, classes] and `ood_score` FP32 [N] (0 where the run has no detector).
Tensors are JSON, or binary behind the JSON as the binary extension says; in JSON, BYTES are base64.
"""

import json
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from graft.inference.prediction import Prediction
from graft.serve.limits import Limits
from graft.serve.problems import ProblemError
from graft.serve.served_runs import ServedRun
from graft.serve.uploads import Upload, Uploads, from_base64, json_object, measured

HEADER_LENGTH = "inference-header-content-length"
INPUT = "image"
Made = tuple[bytes, dict[str, str]]


def server_metadata(version: str) -> dict[str, Any]:
    """GET v2."""
    return {"name": "graft", "version": version, "extensions": ["binary_tensor_data"]}


def model_metadata(run: ServedRun) -> dict[str, Any]:
    """GET v2/models/NAME; `parameters` has the classes in the order of the probabilities."""
    classes = list(run.predictor.classes)
    return {
        "name": run.name,
        "versions": [run.version],
        "platform": "graft",
        "inputs": [{"name": INPUT, "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
            {"name": "best_guess", "datatype": "BYTES", "shape": [-1]},
            {"name": "reason", "datatype": "BYTES", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, len(classes)]},
            {"name": "ood_score", "datatype": "FP32", "shape": [-1]},
        ],
        "parameters": {"classes": classes},
    }


def read_infer(
    body: bytes, headers: Mapping[str, str], limits: Limits
) -> tuple[Uploads, dict[str, Any]]:
    """The images of an infer request, measured, and its JSON; ProblemError 400 or 413."""
    length = headers.get(HEADER_LENGTH)
    if length is None:
        asked, rest = json_object(body), b""
    elif length.isdecimal() and len(length) < 12 and int(length) <= len(body):
        asked, rest = json_object(body[: int(length)]), body[int(length) :]
    else:
        raise ProblemError(400, f"{HEADER_LENGTH} is no length within the body")
    inputs = asked.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise ProblemError(400, f'expected one input: {{"name": "{INPUT}", "datatype": …}}')
    _check_request(asked)
    images = _images(inputs[0], rest, limits)
    return measured(Uploads(images, several=True), limits), asked


def _check_request(asked: dict[str, Any]) -> None:
    if not isinstance(asked.get("id", ""), str):
        raise ProblemError(400, "id is a string")
    _parameters(asked)
    outputs = asked.get("outputs", [])
    if not isinstance(outputs, list):
        raise ProblemError(400, "outputs is a list")
    for output in outputs:
        if not isinstance(output, dict) or output.get("name") not in list(OUTPUTS):
            raise ProblemError(400, f"an output is one of {', '.join(OUTPUTS)}")
        _parameters(output)


def _parameters(part: dict[str, Any]) -> dict[str, Any]:
    found = part.get("parameters", {})
    if not isinstance(found, dict):
        raise ProblemError(400, "parameters is an object")
    return found


def _images(tensor: dict[str, Any], rest: bytes, limits: Limits) -> list[Upload]:
    name, kind, shape = tensor.get("name"), tensor.get("datatype"), tensor.get("shape")
    if name != INPUT or kind not in ("BYTES", "UINT8"):
        raise ProblemError(400, f"expected an input {INPUT!r} of datatype BYTES or UINT8")
    wanted = 1 if kind == "BYTES" else 4
    if (
        not isinstance(shape, list)
        or len(shape) != wanted
        or not all(type(n) is int and n > 0 for n in shape)
    ):
        raise ProblemError(400, f"the shape of {kind} is [N] or [N, height, width, 3] in turn")
    if shape[0] > limits.images:
        raise ProblemError(413, f"at most {limits.images:,} images in one request", "too_large")
    size = _parameters(tensor).get("binary_data_size")
    if size is not None and (type(size) is not int or size != len(rest)):
        raise ProblemError(400, f"binary_data_size is not the {len(rest):,} bytes behind the JSON")
    if size is None and (rest or "data" not in tensor):
        raise ProblemError(400, "the input needs data, or binary_data_size and bytes")
    if kind == "UINT8":
        pixels = _pixels(shape, rest if size is not None else tensor["data"])
        return [Upload("", Image.fromarray(one)) for one in pixels]
    found = _split(rest) if size is not None else _flat_texts(tensor["data"])
    if len(found) != shape[0]:
        raise ProblemError(400, f"the shape says {shape[0]:,} images, there are {len(found):,}")
    return [Upload("", data) for data in found]


def _flat_texts(data: object) -> list[bytes]:
    if not isinstance(data, list):
        raise ProblemError(400, "data is a list of base64 texts")
    return [from_base64(text) for text in data]


def _split(rest: bytes) -> list[bytes]:
    """Elements, each behind its length as 4 little-endian bytes."""
    found, place = [], 0
    while place < len(rest):
        if place + 4 > len(rest):
            raise ProblemError(400, "the binary data ends within a length")
        (size,) = struct.unpack_from("<I", rest, place)
        place += 4 + size
        if place > len(rest):
            raise ProblemError(400, "the binary data ends within an image")
        found.append(rest[place - size : place])
    return found


def _pixels(shape: Sequence[int], data: object) -> np.ndarray[Any, np.dtype[np.uint8]]:
    if shape[3] != 3:
        raise ProblemError(400, "UINT8 pixels are [N, height, width, 3], RGB")
    if isinstance(data, bytes):
        values = np.frombuffer(data, np.uint8)
    else:
        try:
            wide = np.asarray(data)
        except (ValueError, OverflowError) as error:
            raise ProblemError(400, "data is a list of whole numbers") from error
        if wide.dtype.kind not in "iu" or (wide.size and (wide.min() < 0 or wide.max() > 255)):
            raise ProblemError(400, "UINT8 data are whole numbers from 0 to 255")
        values = wide.astype(np.uint8)
    if values.size != math.prod(shape):
        raise ProblemError(400, f"the shape says {math.prod(shape):,} values, not {values.size:,}")
    return values.reshape(tuple(shape))


def _text(of: Callable[[Prediction], str]) -> Callable[[Sequence[Prediction]], list[str]]:
    return lambda found: [of(one) for one in found]


OUTPUTS: dict[str, tuple[str, Callable[[Sequence[Prediction]], Any]]] = {
    "label": ("BYTES", _text(lambda one: one.label or "")),
    "best_guess": ("BYTES", _text(lambda one: one.best_guess)),
    "reason": ("BYTES", _text(lambda one: one.reason)),
    "probabilities": (
        "FP32",
        lambda found: np.array([list(one.probabilities.values()) for one in found], np.float32),
    ),
    "ood_score": ("FP32", lambda found: np.array([one.ood_score or 0 for one in found], "f4")),
}


def written(run: ServedRun, asked: dict[str, Any], found: Sequence[Prediction]) -> Made:
    """The body of the answer and its headers; tensors are binary where the request asks so."""
    wanted = asked.get("outputs") or [{"name": name} for name in OUTPUTS]
    binary = _parameters(asked).get("binary_data_output") is True
    rows, behind = [], []
    for output in wanted:
        kind, values_of = OUTPUTS[output["name"]]
        values = values_of(found)
        shape = [len(values)] if isinstance(values, list) else list(values.shape)
        row: dict[str, Any] = {"name": output["name"], "datatype": kind, "shape": shape}
        if _parameters(output).get("binary_data", binary) is True:
            behind.append(_binary(values))
            row["parameters"] = {"binary_data_size": len(behind[-1])}
        else:
            row["data"] = values if isinstance(values, list) else values.ravel().tolist()
        rows.append(row)
    answer: dict[str, Any] = {"model_name": run.name, "model_version": run.version}
    if "id" in asked:
        answer["id"] = asked["id"]
    answer["outputs"] = rows
    answer["parameters"] = {"classes": list(run.predictor.classes)}
    text = json.dumps(answer, ensure_ascii=False).encode("utf-8", "backslashreplace")
    if not behind:
        return text, {"content-type": "application/json"}
    headers = {"content-type": "application/octet-stream", HEADER_LENGTH: str(len(text))}
    return b"".join([text, *behind]), headers


def _binary(values: Any) -> bytes:
    if not isinstance(values, list):
        data: bytes = values.astype("<f4").tobytes()
        return data
    each = [text.encode("utf-8", "backslashreplace") for text in values]
    return b"".join(struct.pack("<I", len(one)) + one for one in each)
