"""Weights of Keras Applications in timm's networks, where both compute the same.

Layers are matched in order and by shape; that both then give equal features is measured, so no
table of names has to be believed.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from graft.data.decode import Preprocess
from graft.models.backbone import new_body
from graft.models.keras_file import APPLICATIONS, KerasNetwork
from graft.models.pixel_scales import SCALES

# timm's widths of MobileNetV2, by Keras's alpha.
_WIDTHS = {0.35: "035", 0.5: "050", 0.75: "075", 1.0: "100", 1.4: "140"}
_KINDS = ("Conv2D", "DepthwiseConv2D", "BatchNormalization", "Dense")
# Between the features of both networks, relative to the largest.
TOLERANCE = 1e-4


def timm_name(network: KerasNetwork) -> tuple[str, dict[str, Any]]:
    """The architecture and the arguments for timm; an empty name where it has none."""
    name = APPLICATIONS[network.application].timm if network.application else ""
    if name.startswith("mobilenetv2"):
        width = _WIDTHS.get(network.width)
        # Padding as TensorFlow does: more on the right and below.
        return (f"mobilenetv2_{width}" if width else ""), {"pad_type": "same"}
    return name, {}


def timm_weights(network: KerasNetwork, name: str, arguments: dict[str, Any]) -> Any:
    """Timm's network of that name with Keras's weights, or None where their layers differ."""
    body: Any = new_body(name, arguments)
    bgr = APPLICATIONS[network.application].pixels == "caffe"
    layers = [layer for layer in network.model.layers if type(layer).__name__ in _KINDS]
    if type(layers[-1]).__name__ == "Dense" and layers[-1] is network.model.layers[-1]:
        layers.pop()  # the classifier
    kinds = nn.Conv2d | _BatchNorm | nn.Linear
    modules = [(n, m) for n, m in body.named_modules() if isinstance(m, kinds)]
    state = body.state_dict()
    if len(layers) != len(modules):
        return None
    for layer, (named, module) in zip(layers, modules, strict=True):
        for key, value in _tensors(layer, module).items():
            key = f"{named}.{key}"
            if key not in state or state[key].shape != value.shape:
                return None
            state[key] = value
    if bgr:
        first = f"{modules[0][0]}.weight"
        state[first] = state[first].flip(1)
    body.load_state_dict(state)
    return body.eval()


def preprocess_of_keras(network: KerasNetwork, size: tuple[int, int]) -> Preprocess:
    """How timm's network is to be fed: what scales in Keras's network is measured, and done before
    timm's.
    """
    application = APPLICATIONS[network.application]
    if application.pixels != "0-255":
        return Preprocess(*size, *SCALES[application.pixels])
    keras: Any = __import__("keras")
    stem = next(layer for layer in network.model.layers if type(layer).__name__ in _KINDS)
    before = keras.Model(network.model.inputs[0], _scaled(stem))
    black, white = (
        np.asarray(before(np.full((1, *size, 3), value, np.float32)).detach())[0, 0, 0]
        for value in (0.0, 255.0)
    )
    std = 1 / (white - black)
    mean = -black * std
    return Preprocess(*size, _triple(mean), _triple(std))


def agree(found: NDArray[np.float32], expected: NDArray[np.float32]) -> bool:
    """Whether features (N, D) are those of the other network."""
    close = TOLERANCE * float(np.abs(expected).max())
    return found.shape == expected.shape and float(np.abs(found - expected).max()) <= close


def _scaled(stem: Any) -> Any:
    """What comes to the first convolution, before it is padded."""
    given = stem.input
    while type(maker := given._keras_history.operation).__name__ == "ZeroPadding2D":
        given = maker.input
    return given


def _tensors(layer: Any, module: nn.Module) -> dict[str, Tensor]:
    """The weights of a layer by their names in PyTorch, in its order of dimensions."""
    own = {weight.name: torch.tensor(np.asarray(weight.numpy())) for weight in layer.weights}
    kind = type(layer).__name__
    if kind == "BatchNormalization":
        mean, variance = own["moving_mean"], own["moving_variance"]
        return {
            "weight": own.get("gamma", torch.ones_like(mean)),
            "bias": own.get("beta", torch.zeros_like(mean)),
            "running_mean": mean,
            # Each adds a small number of its own to it.
            "running_var": variance + layer.epsilon - float(module.eps),  # type: ignore[arg-type]
        }
    kernel = own["kernel"]
    if kind == "DepthwiseConv2D":
        kernel = kernel.permute(2, 3, 0, 1)
    elif kind == "Conv2D":
        kernel = kernel.permute(3, 2, 0, 1)
    elif isinstance(module, nn.Conv2d):  # a dense layer on flattened maps, (h, w, channels)
        rows, columns = module.kernel_size
        kernel = kernel.reshape(int(rows), int(columns), -1, kernel.shape[1]).permute(3, 2, 0, 1)
    else:
        kernel = kernel.T
    return {"weight": kernel.contiguous()} | ({"bias": own["bias"]} if "bias" in own else {})


def _triple(values: NDArray[np.float32]) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in values)
    return first, second, third
