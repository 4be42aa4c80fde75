"""`graft import`: a file of another tool, converted once to a folder that graft uses from then on.

encoder.xml, encoder.bin          an OpenVINO graph from RGB pixels (N, H, W, 3) uint8 to features
config.json, model.safetensors    the same in timm's form, which can be fine-tuned, where there is
                                  one that gives equal features
"""

import shutil
import uuid
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from graft.choices import PixelScale
from graft.data.decode import Preprocess
from graft.errors import ModelError, UsageError
from graft.models.encoder import Encoder
from graft.models.graph_bounds import reason_of
from graft.models.keras_file import APPLICATIONS, ENDINGS, KerasNetwork, read_keras
from graft.models.keras_to_timm import agree, preprocess_of_keras, timm_name, timm_weights
from graft.models.network_file import FILE, IMPORTED, find_file, read_file
from graft.models.network_graph import USUAL_SIDE
from graft.models.network_reader import encoder_of
from graft.models.openvino_body import OpenVinoBody, from_pixels
from graft.models.pixel_scales import SAY_SCALE
from graft.models.timm_folder import write_timm_folder
from graft.models.traced_graph import traced_graph
from graft.models.weights import LOCAL
from graft.utils.files import naming


def import_network(
    file: str | Path,
    out: str | Path | None = None,
    *,
    pixels: PixelScale | None = None,
    output: str | None = None,
    architecture: str | None = None,
) -> dict[str, Any]:
    """Convert a network of Keras (.keras, .h5), ONNX, TFLite, SavedModel or OpenVINO IR into the
    new folder `out`, by default the file's name without its ending.

    `pixels` says how the network was fed where the file does not; `output` which output or layer
    gives the features, by default the first output, and of a network of Keras Applications with a
    classifier what comes before that. `architecture`: its name in Keras Applications, for a file
    of weights alone whose name does not say it.

    Returns "folder", "frozen" and "fine_tuned" (the names for `model`; None for the latter and a
    "reason" where timm has no equal network), "features" and "size". Raises ModelError for a file
    that cannot be read, UsageError for a folder that is in use and where Keras is missing.
    """
    file = Path(file)
    folder = Path(out) if out else Path(file.name).with_suffix("")
    if folder.exists():
        raise UsageError(f"{folder} is there already; --out takes a new folder")
    keras = file.suffix.lower() in ENDINGS
    if architecture and not keras:
        raise UsageError(f"--as is for files of Keras ({', '.join(ENDINGS)}); leave it out")
    beside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.partial")
    with naming(folder):
        beside.mkdir(parents=True)
    try:
        if keras:
            network = read_keras(file, architecture)
            body, fed = _keras_encoder(network, file, pixels, output)
            reason = _write_timm(network, body, fed, beside)
        else:
            named = f"{FILE}{file}#{output}" if output else f"{FILE}{file}"
            body, fed = read_file(find_file(named), pixels)
            reason = "only networks of Keras Applications are known in timm's form"
        features = _write_graph(body, fed, beside)
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return {
        "folder": str(folder),
        "frozen": f"{FILE}{folder}",
        "fine_tuned": None if reason else f"{LOCAL}{folder}",
        "reason": reason,
        "features": features,
        "size": [fed.height, fed.width],
    }


def _keras_encoder(
    network: KerasNetwork, file: Path, pixels: PixelScale | None, output: str | None
) -> tuple[OpenVinoBody, Preprocess]:
    """The network up to its features as a graph, and how it is fed."""
    keras: Any = import_module("keras")
    model = network.model
    known = APPLICATIONS.get(network.application)
    pixels = pixels or (known.pixels if known else None)
    if pixels is None:
        raise ModelError(f"{file}: {SAY_SCALE}")
    try:
        end = model.outputs[0]
        if output:
            end = model.get_layer(output).output
        elif known and type(model.layers[-1]).__name__ == "Dense":
            end = model.layers[-1].input
        sides = [side or USUAL_SIDE for side in model.inputs[0].shape[1:3]]
        cut = keras.Model(model.inputs[0], end).eval()
        graph = traced_graph(cut, torch.zeros(1, *sides, 3), "f32")
        *made, fed = encoder_of(graph, None, pixels)
        return OpenVinoBody(*made), fed
    except ModelError as error:
        raise ModelError(f"{file}: {error}") from error
    except Exception as error:  # Keras, PyTorch and OpenVINO fail in many ways
        raise ModelError(f"{file}: it cannot be converted: {reason_of(error)}") from error


def _write_timm(
    network: KerasNetwork, body: OpenVinoBody, fed: Preprocess, folder: Path
) -> str | None:
    """Write the network in timm's form if it gives the same features there; else the reason."""
    name, arguments = timm_name(network)
    if not name:
        known = APPLICATIONS.get(network.application)
        return known.reason if known else "it is no network of Keras Applications that is known"
    other = timm_weights(network, name, arguments)
    if other is None:
        return f"its layers are not those of timm's {name}"
    own = preprocess_of_keras(network, (fed.height, fed.width))
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(
        0, 256, (2, fed.height, fed.width, 3), dtype=torch.uint8, generator=random
    )
    with torch.inference_mode():
        expected = Encoder(body, fed, False).eval()(pixels).numpy()
        found = Encoder(other, own, False).eval()(pixels).numpy()
    if not agree(found, expected):
        return f"its features are not those of timm's {name}"
    write_timm_folder(folder, other, name, arguments, own)
    return None


def _write_graph(body: OpenVinoBody, fed: Preprocess, folder: Path) -> int:
    """Write the graph from pixels to features; the number of features."""
    import openvino

    encoder = Encoder(body, fed, False)
    mean, std = encoder.get_buffer("mean"), encoder.get_buffer("std")
    graph = from_pixels(body, mean, std, encoder.input_shape, -1)
    openvino.save_model(graph, folder / IMPORTED, compress_to_fp16=False)
    return int(graph.output(0).get_partial_shape()[1].get_length())
