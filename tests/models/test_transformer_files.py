"""A vision transformer from a file: ViT-tiny of random weights, as ONNX and as OpenVINO IR."""

import json

import numpy as np
import openvino
import pytest
import timm
import torch

from graft.models.weights import find_backbone

pytestmark = pytest.mark.slow  # exporting it takes longer than all that follows
pytest.importorskip("onnxscript", reason="needs the package onnxscript (graft[onnx])")
# Two of its twelve blocks, and images of four patches: the operators are the same.
SMALL = {"img_size": 32, "depth": 2, "num_classes": 0}
PIXELS = ("--pixels", "tf")


class Both(torch.nn.Module):
    """All tokens, as many exports have them, and the feature of the class token."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        tokens = self.body.forward_features(x)
        return tokens, self.body.forward_head(tokens, pre_logits=True)


@pytest.fixture(scope="module")
def transformer(tmp_path_factory):
    """The network itself, and the folder with vit.onnx and vit.xml."""
    folder = tmp_path_factory.mktemp("vit")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Both(timm.create_model("vit_tiny_patch16_224", **SMALL)).eval()
    torch.onnx.export(
        network,
        (torch.zeros(2, 3, 32, 32),),
        folder / "vit.onnx",
        input_names=["image"],
        output_names=["tokens", "features"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        external_data=False,
        dynamo=True,
        verbose=False,
    )
    graph = openvino.Core().read_model(folder / "vit.onnx")
    openvino.save_model(graph, folder / "vit.xml", compress_to_fp16=False)
    return network, folder


@pytest.fixture(scope="module")
def runs(transformer, digits, graft_here, tmp_path_factory):
    """A comparison of the two files, and its folder with a run of each."""
    folder = transformer[1]
    out = tmp_path_factory.mktemp("compared") / "runs"
    names = f"file:{folder / 'vit.onnx'}#features,file:{folder / 'vit.xml'}#features"
    ended = graft_here("compare", digits, "--models", names, *PIXELS, "--out", out, "--json")
    assert ended.code == 0, ended.err
    return json.loads(ended.out), out


@pytest.mark.parametrize("file", ["vit.onnx", "vit.xml"])
def test_its_tokens_are_averaged_unless_an_output_is_named(transformer, tmp_path, file):
    network, folder = transformer
    pixels = torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8)
    with torch.inference_mode():
        tokens, features = network(pixels.permute(0, 3, 1, 2) / 127.5 - 1)
    for name, expected in (("", tokens.mean(1)), ("#features", features)):
        backbone = find_backbone(f"file:{folder / file}{name}", tmp_path, "tf")
        assert (backbone.preprocess.height, backbone.features) == (32, 192)
        np.testing.assert_allclose(backbone.build()(pixels), expected, atol=1e-4)


def test_both_files_are_ranked_and_compared_and_agree(runs, transformer, digits, graft_here):
    compared, _ = runs
    first, second = (row["accuracy"]["value"] for row in compared["models"])
    assert first == second > 0.5  # one network, twice
    folder = transformer[1]
    names = f"file:{folder / 'vit.onnx'}#features,file:{folder / 'vit.xml'}#features"
    ranked = json.loads(graft_here("rank", digits, "--backbones", names, *PIXELS, "--json").out)
    assert [row.get("problem") for row in ranked] == [None, None]
    assert ranked[0]["accuracy"] == ranked[1]["accuracy"]


def test_it_is_explained_by_occlusion_and_not_by_gradients(runs, digits, graft_here):
    run = next(path.parent for path in sorted(runs[1].rglob("model.json")))
    image = next((digits / "0").iterdir())
    ended = graft_here("explain", run, image, "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out.splitlines()[0])["method"] == "occlusion"
    refused = graft_here("explain", run, image, "--method", "gradients")
    assert refused.code == 4
    assert "computes no gradients; explain it by occlusion" in refused.err
    assert refused.err.count("\n") == 1


def test_whole_or_in_part_or_by_adapters_it_is_not_trained(transformer, digits, graft_here):
    name = f"file:{transformer[1] / 'vit.onnx'}"
    for unfreeze in ("20%", "all", "lora"):
        asked = ("train", digits, "--model", name, *PIXELS, "--unfreeze", unfreeze)
        refused = graft_here(*asked)
        assert refused.code == 4
        assert "no gradients" in refused.err.splitlines()[-1]
