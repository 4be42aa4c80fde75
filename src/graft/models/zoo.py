"""What can be trained, and what of it is on this machine; the chosen few without loading timm."""

import fnmatch
from typing import Any

from graft.choices import FROM_SCRATCH
from graft.errors import ModelError
from graft.models.hub_weights import hub_networks_here
from graft.models.packaged_weights import PACKAGES, packaged_file

# name: (parameters without classifier, input pixels, weights, what it is good for). The
# numbers are held against timm by tests/models/test_listing.py. MB: 4 bytes a parameter.
CHOSEN = {
    "base_cnn": (287_456, 64, "trained from your images", "no weights needed; small images"),
    "deep_cnn": (3_187_896, 64, "trained from your images", "no weights needed; better, slower"),
    "tf_efficientnet_lite0": (3_371_008, 224, "comes with graft", "the default: fast"),
    "tf_efficientnet_lite1": (
        4_135_680,
        240,
        "pip install 'graft[lite]'",
        "slower, larger input",
    ),
    "tf_efficientnet_lite2": (4_811_072, 260, "pip install 'graft[lite]'", "slower, larger input"),
    "mobilenetv2_100": (2_223_872, 224, "timm/mobilenetv2_100.ra_in1k", "smaller and faster"),
    "mobilenetv3_large_100": (4_202_032, 224, "timm/mobilenetv3_large_100.ra_in1k", "fast"),
    "efficientnet_b0": (4_007_548, 224, "timm/efficientnet_b0.ra_in1k", "fast, a little better"),
    "hgnetv2_b0": (3_947_550, 224, "timm/hgnetv2_b0.ssld_stage2_ft_in1k", "small, for a CPU"),
    "hgnetv2_b2": (9_172_356, 224, "timm/hgnetv2_b2.ssld_stage2_ft_in1k", "balanced, for a CPU"),
    "resnet18": (11_176_512, 224, "timm/resnet18.a1_in1k", "simple, for teaching"),
    "resnet50": (23_508_032, 224, "timm/resnet50.a1_in1k", "the classic"),
    "inception_v3": (21_785_568, 299, "timm/inception_v3.tv_in1k", "larger input"),
    "vgg16": (134_260_544, 224, "timm/vgg16.tv_in1k", "for teaching; large and slow"),
    "convnext_tiny": (27_820_128, 224, "timm/convnext_tiny.in12k_ft_in1k", "strong"),
    "deit_small_patch16_224": (
        21_665_664,
        224,
        "timm/deit_small_patch16_224.fb_in1k",
        "transformer",
    ),
    "vit_small_patch16_224": (
        21_665_664,
        224,
        "timm/vit_small_patch16_224.augreg_in21k_ft_in1k",
        "transformer, strong",
    ),
    "tiny_vit_21m_224": (
        20_621_568,
        224,
        "timm/tiny_vit_21m_224.dist_in22k",
        "balanced, for a GPU",
    ),
    "vit_small_patch14_dinov2": (
        22_056_192,
        518,
        "timm/vit_small_patch14_dinov2.lvd142m",
        "transformer, strong features, slow",
    ),
    "vit_base_patch14_dinov2": (
        86_579_712,
        518,
        "timm/vit_base_patch14_dinov2.lvd142m",
        "transformer, strongest features, for a GPU",
    ),
}


def list_models(pattern: str | None = None) -> list[dict[str, Any]]:
    """The chosen models, or those of timm that have weights and match a shell pattern, or have a
    word in their names; of torchvision with torchvision:PATTERN; or what a file:FILE holds.

    Each row: name, parameters (None where only building the model would tell), megabytes, input
    (pixels a side), source, here (whether it works on this machine without a network connection),
    note. Raises ModelError when nothing matches, and for a file that cannot be read.
    """
    if pattern and ":" in pattern:
        return _from_elsewhere(pattern)
    fetched = set(hub_networks_here())
    if pattern is None:
        return [
            {
                "name": name,
                "parameters": parameters,
                "megabytes": round(parameters * 4 / 1e6, 1) if name not in FROM_SCRATCH else 0,
                "input": pixels,
                "source": source,
                "here": name in FROM_SCRATCH
                or (name in PACKAGES and packaged_file(name) is not None)
                or source.removeprefix("timm/") in fetched,
                "note": note,
            }
            for name, (parameters, pixels, source, note) in CHOSEN.items()
        ]
    import timm
    from timm.models import get_pretrained_cfg

    names = fnmatch.filter(timm.list_models(pretrained=True), _wild(pattern))
    if not names:
        raise ModelError(f"no model of timm matches {pattern!r}; try a pattern such as 'resnet*'")
    rows = []
    for name in names:
        config: Any = get_pretrained_cfg(name)
        rows.append(
            {
                "name": name,
                "parameters": None,
                "megabytes": None,
                "input": config.input_size[-1],
                "source": config.hf_hub_id or "",
                "here": name in fetched,
                "note": config.license or "",
            }
        )
    return rows


def _wild(pattern: str) -> str:
    return pattern if any(sign in pattern for sign in "*?[") else f"*{pattern}*"


def _from_elsewhere(pattern: str) -> list[dict[str, Any]]:
    # Not at the top: they import torch, which the list of the chosen does without.
    from graft.models.network_file import FILE
    from graft.models.torchvision_weights import TORCHVISION

    if pattern.startswith(TORCHVISION):
        return _of_torchvision(pattern.removeprefix(TORCHVISION))
    if pattern.startswith(FILE):
        return [_of_file(pattern)]
    raise ModelError(
        f"{pattern}: graft models lists names of timm, torchvision:PATTERN and file:FILE; what "
        "else can be named is below the list without a pattern"
    )


def _of_torchvision(pattern: str) -> list[dict[str, Any]]:
    import torchvision

    from graft.models.torchvision_weights import TORCHVISION, weights_here

    every = torchvision.models.list_models(module=torchvision.models)
    names = fnmatch.filter(every, _wild(pattern))
    if not names:
        raise ModelError(
            f"no model of torchvision matches {pattern!r}; try torchvision:resnet*, in quotes"
        )
    rows = []
    for name in names:
        weights: Any = torchvision.models.get_model_weights(name).DEFAULT
        rows.append(
            {
                "name": f"{TORCHVISION}{name}",
                "parameters": weights.meta["num_params"],
                "megabytes": round(weights.meta["num_params"] * 4 / 1e6, 1),
                "input": weights.transforms().crop_size[0],
                "source": weights.url,
                "here": weights_here(weights).is_file(),
                "note": "",
            }
        )
    return rows


def _of_file(name: str) -> dict[str, Any]:
    from graft.models.network_file import find_file, read_file

    file = find_file(name)
    # Of any scale: what is asked here does not depend on it.
    body, fed = read_file(file, "0-255")
    parameters = body.parameter_count()
    return {
        "name": name,
        "parameters": parameters,
        "megabytes": round(sum(each.stat().st_size for each in file.files) / 1e6, 1),
        "input": fed.height,
        "source": str(file.path),
        "here": True,
        "note": "a frozen backbone",
    }
