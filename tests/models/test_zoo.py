"""The listed numbers are timm's own."""

import timm
import torch

from graft.models.backbone import new_body
from graft.models.packaged_weights import PACKAGES
from graft.models.zoo import CHOSEN, list_models


def test_the_listed_parameters_inputs_and_sources_are_those_of_the_models():
    for name, (parameters, pixels, source, _) in CHOSEN.items():
        with torch.device("meta"):
            body = new_body(name, {})
        assert sum(p.numel() for p in body.parameters()) == parameters, name
        if not name.endswith("_cnn"):
            config = timm.get_pretrained_cfg(name)
            assert config.input_size[-1] == pixels, name
            assert name in PACKAGES or config.hf_hub_id == source, name


def test_a_pattern_lists_what_timm_has_weights_for():
    names = [row["name"] for row in list_models("resnet18*")]
    assert "resnet18.a1_in1k" in names
    assert all(name.startswith("resnet18") for name in names)


def test_a_word_finds_all_names_that_have_it_in_them():
    names = [row["name"] for row in list_models("dinov3")]
    assert "vit_small_patch16_dinov3.lvd1689m" in names
    assert "convnext_tiny.dinov3_lvd1689m" in names
