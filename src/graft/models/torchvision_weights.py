"""Weights of torchvision's classifiers: from a file, PyTorch's hub folder, or fetched into that.

torchvision:resnet50   torchvision:resnet50=FILE
"""

import re
from pathlib import Path
from typing import Any

import torch

from graft.data.decode import Preprocess
from graft.errors import ModelError
from graft.models.backbone import first_line, new_body
from graft.models.torchvision_body import PREFIX, TorchvisionBody

# How torchvision's networks are named here.
TORCHVISION = "torchvision:"
# Networks that timm has under the same name, module by module: there they can be trained in part.
IN_TIMM = re.compile(
    r"resnet(18|34|50|101|152)|wide_resnet(50|101)_2|resnext50_32x4d|"
    r"resnext101_(32x8d|64x4d)"
)


def torchvision_file(name: str) -> Path:
    """The file with the weights of a network named as above, fetched if it is not here yet.

    Raises ModelError for a name without weights, a file that is not there, and a download that
    fails or is not the file that its name promises.
    """
    network, _, given = name.removeprefix(TORCHVISION).partition("=")
    if given:
        if not Path(given).is_file():
            raise ModelError(f"{name}: there is no file {given}")
        return Path(given)
    weights = _weights(network)
    here = weights_here(weights)
    if not here.is_file():
        _fetch(name, weights.url, here)
    return Path(here)


def weights_here(weights: Any) -> Path:
    """Where PyTorch's hub keeps one of torchvision's weights, once they are fetched."""
    name = str(weights.url).rpartition("/")[2]
    return Path(torch.hub.get_dir()) / "checkpoints" / name


def open_torchvision(name: str, file: Path) -> tuple[Any, dict[str, Any]]:
    """The network with the weights in `file` and its own classifier, and how it is built and fed.

    Raises ModelError for weights of another network.
    """
    network = name.removeprefix(TORCHVISION).partition("=")[0]
    weights = _weights(network)
    in_timm = IN_TIMM.fullmatch(network) is not None
    body: Any = _timm_network(network) if in_timm else TorchvisionBody(network)
    try:
        state = _state(file)
        own = body if in_timm else body.net
        known = own.state_dict().keys()
        # What is used in training alone is left out, and nothing else.
        state = {k: v for k, v in state.items() if k in known or not k.startswith(("aux", "Aux"))}
        own.load_state_dict(state)
    except Exception as error:  # torch and pickle refuse in many ways
        raise ModelError(
            f"{name}: the weights in {file.name} do not fit the architecture: {first_line(error)}"
        ) from error
    if not in_timm:
        body.pretrained_cfg = {"label_names": weights.meta["categories"]}
    return body.eval(), {
        "architecture": network if in_timm else f"{PREFIX}{network}",
        "arguments": {},
        "preprocess": _preprocess(weights),
        "source": f"torchvision {network}, {file.name}",
    }


def _timm_network(network: str) -> Any:
    import timm

    new_body(network, {})
    return timm.create_model(network)


def _weights(network: str) -> Any:
    """Torchvision's default weights of a network; ModelError where it has none."""
    import torchvision

    if network not in torchvision.models.list_models(module=torchvision.models):
        raise ModelError(
            f"no model {network!r} in torchvision: see torchvision.models.list_models(), such as "
            "resnet50"
        )
    return torchvision.models.get_model_weights(network).DEFAULT


def _preprocess(weights: Any) -> Preprocess:
    """How torchvision feeds the network."""
    fed = weights.transforms()
    (height,), (side,) = fed.crop_size, fed.resize_size
    return Preprocess(
        height=height,
        width=height,
        mean=tuple(fed.mean),
        std=tuple(fed.std),
        interpolation=fed.interpolation.value,
        crop=height / side,
    )


def _state(file: Path) -> dict[str, torch.Tensor]:
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(file)
    found: dict[str, torch.Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    return found


def _fetch(name: str, address: str, here: Path) -> None:
    here.parent.mkdir(parents=True, exist_ok=True)
    # The end of the file's name is the beginning of its SHA-256.
    found = re.search(r"-([0-9a-f]{8,})\.", here.name)
    try:
        torch.hub.download_url_to_file(address, str(here), found[1] if found else None)
    except Exception as error:  # the network fails in many ways
        raise ModelError(
            f"{name}: its weights are not on this machine and could not be fetched "
            f"({first_line(error)}); fetch {address} elsewhere and name it: "
            f"{TORCHVISION}{name.removeprefix(TORCHVISION)}=FILE"
        ) from error
