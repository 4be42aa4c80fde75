"""Networks of Keras, read by Keras itself on its PyTorch backend: for `graft import` alone.

A file may hold a whole network (.keras, .h5) or, as those that Keras Applications downloads, the
weights of a known one (.h5), which is then known by the file's name or named by the user.
"""

import os
import re
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from graft.choices import PixelScale
from graft.errors import ModelError, UsageError
from graft.models.graph_bounds import reason_of
from graft.runs.reading import checked_size

ENDINGS = (".keras", ".h5", ".hdf5")
LARGEST_FILE = 4 * 2**30
_DIFFERS = "Keras and timm compute it differently"


@dataclass(frozen=True)
class Application:
    """A network of Keras Applications: how it was fed, what it is called in timm, and why not."""

    pixels: PixelScale
    timm: str = ""
    reason: str = _DIFFERS


# By the class or function of keras.applications. Networks with "0-255" scale inside of themselves.
APPLICATIONS = {
    "MobileNetV2": Application("tf", "mobilenetv2_100"),
    "ResNet50": Application(
        "caffe", reason="Keras's strides in a block's first convolution, timm's in the second"
    ),
    "VGG16": Application("caffe", "vgg16"),
    "VGG19": Application("caffe", "vgg19"),
    "InceptionV3": Application(
        "tf", reason="Keras's leaves the padding out of its averages, timm's counts it as zeros"
    ),
    "EfficientNetB0": Application("0-255", "tf_efficientnet_b0"),
    "EfficientNetB1": Application("0-255", "tf_efficientnet_b1"),
    "EfficientNetB2": Application("0-255", "tf_efficientnet_b2"),
    "EfficientNetB3": Application("0-255", "tf_efficientnet_b3"),
    "EfficientNetB4": Application("0-255", "tf_efficientnet_b4"),
    "MobileNet": Application("tf"),
    "ResNet101": Application("caffe"),
    "ResNet152": Application("caffe"),
    "ResNet50V2": Application("tf"),
    "ResNet101V2": Application("tf"),
    "InceptionResNetV2": Application("tf"),
    "Xception": Application("tf"),
    "DenseNet121": Application("torch"),
    "DenseNet169": Application("torch"),
    "DenseNet201": Application("torch"),
    "NASNetMobile": Application("tf"),
}


@dataclass(frozen=True)
class KerasNetwork:
    """A network that Keras has read, the name of it in Keras Applications or "", and MobileNet's
    width.
    """

    model: Any
    application: str
    width: float = 1.0


def read_keras(file: Path, named: str | None = None) -> KerasNetwork:
    """Read a .keras or .h5 file. `named`: a name of Keras Applications, for a file of weights
    alone whose name does not say it.

    Raises UsageError where Keras is not installed or the name is not known, ModelError for a file
    that Keras cannot read, or would only read by running code that is in it.
    """
    if named and named not in APPLICATIONS:
        raise UsageError(f"--as is one of {', '.join(APPLICATIONS)}, not {named!r}")
    try:
        checked_size(file, LARGEST_FILE)
    except (OSError, ValueError) as error:
        raise ModelError(f"{file}: cannot be read: {error}") from error
    keras = _keras()
    try:
        if file.suffix.lower() != ".keras" and not _has_network(file):
            return _of_weights(keras, file, named)
        model = keras.models.load_model(file, compile=False, safe_mode=True)
    except (ModelError, UsageError):
        raise
    except Exception as error:  # Keras and h5py fail in many ways
        raise ModelError(f"{file}: Keras cannot read it: {reason_of(error)}") from error
    application = named or _application(re.sub(r"_\d+$", "", str(model.name)))
    return KerasNetwork(model, application, _width(str(model.name)))


def _keras() -> Any:
    os.environ["KERAS_BACKEND"] = "torch"  # it is read when Keras is imported
    os.environ.setdefault("KERAS_TORCH_DEVICE", "cpu")
    try:
        keras = import_module("keras")
        import_module("h5py")
    except ImportError as error:
        raise UsageError(
            "a file of Keras is read by Keras, which is not installed; pip install 'graft[keras]' "
            "(once: what it is converted to needs it no more)"
        ) from error
    if keras.backend.backend() != "torch":
        raise UsageError(
            f"Keras runs on {keras.backend.backend()} in this process; import the file in another "
            "one, where KERAS_BACKEND is torch"
        )
    return keras


def _has_network(file: Path) -> bool:
    h5py: Any = sys.modules["h5py"]
    with h5py.File(file) as opened:
        return "model_config" in opened.attrs


def _of_weights(keras: Any, file: Path, named: str | None) -> KerasNetwork:
    h5py: Any = sys.modules["h5py"]
    name = named or _application(file.name)
    if not name:
        raise ModelError(
            f"{file}: holds weights without their network; name it by --as, one of "
            f"{', '.join(APPLICATIONS)}"
        )
    with h5py.File(file) as opened:
        layers = opened.attrs.get("layer_names", opened.get("layers", ()))
        top = any("predictions" in str(layer) for layer in layers)
    width = _width(file.name)
    more = {"alpha": width} if name.startswith("MobileNet") else {}
    model = getattr(keras.applications, name)(weights=None, include_top=top, **more)
    model.load_weights(file)
    return KerasNetwork(model, name, width)


def _application(text: str) -> str:
    """The longest name of APPLICATIONS that a text begins with, whatever its spelling; or ""."""
    plain = re.sub(r"[^a-z0-9]", "", text.lower())
    found = [name for name in APPLICATIONS if plain.startswith(name.lower())]
    return max(found, key=len, default="")


def _width(text: str) -> float:
    """Of mobilenetv2_0.35_224 or mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224.h5."""
    found = re.search(r"_([01]\.\d+)_\d+", text)
    return float(found[1]) if found else 1.0
