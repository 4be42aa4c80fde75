"""Families of timm, each from random weights: docs/families.md says what was found.

The small ones in the default run; all of them, and ONNX, in the slow one.
"""

import re

import pytest
import timm
import torch
from model_families import CHECKS, DOCS, FAMILIES, backbone_of, examined

from graft.models.backbone import new_body, resized
from graft.models.weights import preprocess_of

SMALL = ("byobnet", "convnext", "efficientnet", "mambaout", "nfnet", "resnet", "vision_transformer")
QUICK = ("20%", "all", "gradients", "image size")


def documented():
    """The cells of the table by family, in the order of CHECKS."""
    rows = re.findall(r"^\| (\w+) \| `(\w+)` \| (\d*) \| (.*) \|$", DOCS.read_text(), re.M)
    return {
        family: (name, dict(zip(CHECKS, cells.split(" | "), strict=True)))
        for family, name, _, cells in rows
    }


def test_at_least_thirty_families_are_documented_and_each_network_is_of_its_family():
    table = documented()
    assert len(table) >= 30
    for family, (name, _) in table.items():
        assert name == FAMILIES[family].name
        assert timm.model_entrypoint(name).__module__ == f"timm.models.{family}"


def test_nothing_fails_without_a_reason():
    assert "**no**" not in DOCS.read_text()


@pytest.mark.parametrize("family", SMALL)
def test_small_networks_do_what_the_page_says(family, tmp_path):
    found, (_, said) = examined(family, tmp_path, QUICK), documented()[family]
    assert {name: found[name].partition(":")[0] for name in QUICK} == {
        name: said[name] for name in QUICK
    }


@pytest.mark.slow
@pytest.mark.parametrize("family", documented())
def test_each_family_does_what_the_page_says(family, tmp_path):
    _, said = documented()[family]
    tried = tuple(name for name, word in said.items() if word != "not tried")
    found = examined(family, tmp_path, tried)
    assert {name: found[name].partition(":")[0] for name in tried} == {n: said[n] for n in tried}


# Name in timm: pixels a side, mean of red, crop. From the model cards of their authors.
MODERN = {
    "vit_small_patch14_dinov2": (518, 0.485, 1.0),
    "vit_small_patch16_dinov3": (256, 0.485, 1.0),
    "vit_base_patch16_siglip_224": (224, 0.5, 0.9),
    "vit_base_patch16_clip_224": (224, 0.4815, 0.95),
    "eva02_base_patch16_clip_224": (224, 0.4815, 0.9),
}


@pytest.mark.parametrize(("name", "wanted"), MODERN.items())
def test_modern_transformers_are_fed_as_their_weights_want(name, wanted):
    with torch.device("meta"):
        body = new_body(name, {})
    fed = preprocess_of(body, name)
    config = timm.get_pretrained_cfg(name)
    assert (fed.height, fed.crop) == (config.input_size[-1], config.crop_pct)
    assert (fed.height, round(fed.mean[0], 4), fed.crop) == wanted
    assert fed.interpolation == "bicubic"


def test_a_transformer_at_another_size_computes_what_timms_own_does(tmp_path):
    backbone = backbone_of(FAMILIES["vision_transformer"], tmp_path)
    body = backbone.build().body
    side = backbone.preprocess.height
    other = resized(backbone, 2 * side)
    assert other.digest != backbone.digest
    found = other.build()
    body.set_input_size(img_size=(2 * side, 2 * side))
    x = torch.randn(1, 3, 2 * side, 2 * side)
    with torch.inference_mode():
        expected = body.forward_features(x)
        assert torch.allclose(found.body.forward_features(x), expected, atol=1e-4)
    # It is known again, from the card beside the first one.
    assert resized(backbone, 2 * side) == other
