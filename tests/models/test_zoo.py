"""The listed numbers are timm's own."""

from pathlib import Path

import pytest
import timm
import torch
import torchvision

from graft.errors import ModelError
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


def test_torchvisions_networks_are_listed_by_a_pattern_or_a_word(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    weights = torchvision.models.ResNet50_Weights.DEFAULT
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / weights.url.rpartition("/")[2]).touch()
    rows = {row["name"]: row for row in list_models("torchvision:resnet*")}
    assert list(rows) == [f"torchvision:resnet{depth}" for depth in (101, 152, 18, 34, 50)]
    found = rows["torchvision:resnet50"]
    assert (found["parameters"], found["input"], found["here"]) == (25_557_032, 224, True)
    assert not rows["torchvision:resnet18"]["here"]
    assert "torchvision:wide_resnet50_2" in [r["name"] for r in list_models("torchvision:resnet")]
    with pytest.raises(ModelError, match="no model of torchvision matches 'nonsense'"):
        list_models("torchvision:nonsense")


def test_a_file_is_listed_as_what_it_holds():
    file = Path(__file__).parent / "files" / "tiny.onnx"
    (row,) = list_models(f"file:{file}#features")
    assert (row["parameters"], row["input"], row["here"]) == (1100, 16, True)
    with pytest.raises(ModelError, match="there is no such file"):
        list_models("file:nowhere.onnx")
