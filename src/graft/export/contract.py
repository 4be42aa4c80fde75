"""What travels with an exported graph: its classes, its input, and the parity found."""

import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from graft.errors import DataError
from graft.export.graph import INPUT, OUTPUTS
from graft.inference.predictor import Predictor
from graft.runs.digest_file import digest_of

KEY = "graft"  # of the metadata
FORMAT = 1
_PACKAGES = ("graft", "torch", "timm", "pillow", "onnx", "onnxruntime", "openvino")
# A stranger's metadata may be anything: no true one is larger.
MOST_BYTES = 4 * 2**20

Contract = dict[str, Any]


def contract_of(predictor: Predictor, to: str, square: bool) -> Contract:
    """What a program must know of a run's graph: as in preprocess.json, and in the metadata."""
    fed = predictor.backbone.preprocess
    weights = predictor.backbone.weights
    size = (fed.height, fed.width) if square else ("any", "any")
    return {
        "format": FORMAT,
        "made_by": "graft export",
        "to": to,
        "classes": list(predictor.classes),
        "input": {
            "name": INPUT,
            "dtype": "uint8",
            "shape": ["any", *size, 3],
            "layout": "images, rows, columns, channels",
            "color": "RGB, 8 bits, transparency over white",
            "upright": "turned as the EXIF orientation says",
            "square": square,
        },
        "outputs": {
            OUTPUTS[0]: "(images, classes) float32, calibrated, each row summing to 1",
            OUTPUTS[1]: "(images,) float32, above ood_limit: unlike the training images",
            OUTPUTS[2]: "(images, features) float32",
        },
        "preprocess": fed.to_json() | {"inside": not square},
        "temperature": predictor.temperature,
        "ood_limit": 1.0 if predictor.ood_detector else None,
        "backbone": predictor.backbone.name,
        "weights_sha256": digest_of(weights) if weights else None,
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """The versions of what made the file."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def read_contract(text: str | None, file: Path) -> Contract:
    """The contract in a file's metadata; DataError where there is none that can be read."""
    refusal = f"{file}: expected a model made by graft export, "
    if not text:
        raise DataError(f"{refusal}its metadata has no {KEY!r}; export the run again")
    if len(text) > MOST_BYTES:
        raise DataError(f"{refusal}its metadata has {len(text):,} characters")
    try:
        found = json.loads(text)
        known = (
            found["format"] <= FORMAT
            and all(isinstance(name, str) for name in found["classes"])
            and len(found["classes"]) > 0
            and isinstance(found["input"]["square"], bool)
            and (found["ood_limit"] is None or found["ood_limit"] > 0)
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{refusal}its metadata is damaged: {error}") from error
    if not known:
        raise DataError(f"{refusal}its metadata is none that this graft can read; upgrade graft")
    return dict(found)
