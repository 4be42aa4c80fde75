"""A network may be named in any of its forms beside networks of the others."""

import json
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

FILES = Path(__file__).parent / "files"


def local_folder(place):
    """A ResNet-10 of random weights in timm's own form."""
    place.mkdir()
    save_file(timm.create_model("resnet10t").state_dict(), place / "model.safetensors")
    fed = {"input_size": [3, 32, 32], "mean": [0.5] * 3, "std": [0.5] * 3, "classifier": "fc"}
    config = {"architecture": "resnet10t", "num_classes": 1000, "pretrained_cfg": fed}
    (place / "config.json").write_text(json.dumps(config))
    return place


@pytest.mark.slow
def test_networks_of_every_form_are_ranked_in_one_table(graft_here, digits, finished, tmp_path):
    pytest.importorskip("open_clip", reason="needs open_clip_torch (graft[zero-shot])")
    from test_image_text import write_model

    network = torchvision.models.get_model("shufflenet_v2_x0_5", weights=None)
    torch.save(network.state_dict(), tmp_path / "shuffle.pth")
    names = [
        f"file:{FILES / 'tiny.onnx'}#features",
        f"file:{FILES / 'tiny_saved_model'}",
        f"torchvision:shufflenet_v2_x0_5={tmp_path / 'shuffle.pth'}",
        f"local-dir:{local_folder(tmp_path / 'local')}",
        f"open-clip:{write_model(tmp_path / 'captions')}",
        str(finished),
        "base_cnn",
    ]
    ended = graft_here("rank", digits, "--backbones", ",".join(names), "--pixels", "tf", "--json")
    assert ended.code == 0, ended.err
    rows = {row["backbone"]: row for row in json.loads(ended.out)}
    assert rows.keys() == set(names)
    assert rows.pop("base_cnn")["problem"] == (
        "base_cnn learns from your images alone: there are no weights of it"
    )
    assert not [row["problem"] for row in rows.values() if "problem" in row]
