"""Splitting a network: both halves add up to the whole, for every family offered."""

import pytest
import torch

from graft.data.decode import Preprocess
from graft.errors import ModelError
from graft.models.backbone import Backbone, new_body, scratch
from graft.models.halves import Suffix, split_backbone
from graft.models.split_point import find_split_point, layers_of

HALF = (0.5, 0.5, 0.5)
# The smallest of each family, with the input that it takes.
FAMILIES = {
    "mobilenetv2_050": 64,
    "mobilenetv3_small_050": 64,
    "efficientnet_b0": 64,
    "resnet18": 64,
    "vgg11": 64,
    "inception_v3": 96,
    "densenet121": 64,
    "convnext_atto": 64,
    "vit_tiny_patch16_224": 64,
    "deit_tiny_patch16_224": 64,
}


def backbone_of(name, size, folder):
    """A backbone with random weights, as found on disk."""
    from safetensors.torch import save_file

    file = folder / f"{name}.safetensors"
    arguments = {"img_size": size} if "vit" in name or "deit" in name else {}
    if not file.exists():
        with torch.random.fork_rng():
            torch.manual_seed(0)
            body = new_body(name, arguments)
        save_file({k: v.contiguous() for k, v in body.state_dict().items()}, file)
    preprocess = Preprocess(size, size, HALF, HALF)
    return Backbone(name, name, arguments, preprocess, True, 0, 0, "", "", file)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("weights")


CASES = [(name, size, unfreeze) for name, size in FAMILIES.items() for unfreeze in ("20%", "1")]
CASES.remove(("densenet121", 64, "1"))  # its stages are not known
CASES.append(("vit_small_patch14_dinov2", 70, "20%"))


@pytest.mark.parametrize(("name", "size", "unfreeze"), CASES)
def test_head_of_suffix_of_prefix_equals_the_whole(name, size, unfreeze, folder):
    backbone = backbone_of(name, size, folder)
    encoder = backbone.build()
    found = find_split_point(encoder, unfreeze)
    prefix, suffix = split_backbone(backbone, found)
    pixels = torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8)
    with torch.inference_mode():
        whole = encoder(pixels)
        assert torch.allclose(
            suffix(prefix(pixels)), whole, rtol=1e-3, atol=1e-3 * float(whole.abs().max())
        )
    trained, every = found.layers
    assert 0 < trained < every
    if unfreeze == "20%":
        assert 0.2 <= trained / every < 0.35


def test_the_trained_layers_are_the_last_ones_and_are_counted_rightly(folder):
    encoder = backbone_of("resnet18", 64, folder).build()
    found = find_split_point(encoder, "1")
    assert found.unit == "layer4.0"
    assert found.blocks == ("layer4.0", "layer4.1")
    assert found.layers == (5, 20)
    layer4 = encoder.body.get_submodule("layer4")
    assert layers_of(layer4) == 5
    assert found.parameters[0] == sum(p.numel() for p in layer4.parameters())
    assert found.described() == (
        "layer4.0 to layer4.1: 5 of 20 layers (25%), "
        f"{found.parameters[0]:,} of {found.parameters[1]:,} parameters (75%)"
    )
    assert find_split_point(encoder, "all").unit is None


def test_only_the_suffix_has_gradients_and_its_batch_norm_stands_still(folder):
    backbone = backbone_of("resnet18", 64, folder)
    prefix, suffix = split_backbone(backbone, find_split_point(backbone.build(), "1"))
    before = {k: v.clone() for k, v in suffix.state().items()}
    suffix.train()
    pixels = torch.randint(0, 256, (4, 64, 64, 3), dtype=torch.uint8)
    with torch.no_grad():
        rows = prefix(pixels)
    suffix(rows).sum().backward()
    assert all(p.grad is not None for p in suffix.parameters())
    assert all(name.startswith("layer4.") for name in suffix.state())
    after = suffix.state()
    assert all(torch.equal(after[k], v) for k, v in before.items() if "running" in k)


def test_a_network_that_is_no_sequence_says_so(folder):
    with pytest.raises(ModelError, match="--unfreeze all or none"):
        find_split_point(backbone_of("hrnet_w18_small", 64, folder).build(), "20%")


def test_a_network_that_is_no_sequence_is_trained_as_a_whole_down_to_its_last_layers(folder):
    encoder = backbone_of("hrnet_w18_small", 64, folder).build()
    found = find_split_point(encoder, "all")
    assert found.unit is None
    suffix = Suffix(encoder, found).train()
    suffix(torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)).square().mean().backward()
    learned = [p for p in encoder.body.parameters() if p.grad is not None and p.grad.any()]
    assert len(learned) > 0.9 * len(list(encoder.body.parameters()))


def test_a_deep_cnn_can_be_fine_tuned_from_a_stage_on_and_as_a_whole():
    for unfreeze, layers in (("1", 3), ("all", 10)):
        assert find_split_point(scratch("deep_cnn", 32).build(), unfreeze).layers == (layers, 10)


@pytest.mark.parametrize(
    ("name", "size", "number", "first"),
    [
        ("vit_tiny_patch16_224", 64, 1, "blocks.11"),
        ("vit_tiny_patch16_224", 64, 5, "blocks.7"),
        ("vit_tiny_patch16_224", 64, 12, "blocks.0"),
        ("inception_v3", 139, 1, "Mixed_7a"),
        ("inception_v3", 139, 2, "Mixed_6a"),
        ("inception_v3", 139, 3, "Mixed_5b"),
        ("resnet18", 64, 4, "layer1.0"),
    ],
)
def test_a_number_means_the_last_stages_or_a_transformers_last_blocks(
    name, size, number, first, folder
):
    encoder = backbone_of(name, size, folder).build()
    assert find_split_point(encoder, str(number)).unit == first
    split_backbone(backbone_of(name, size, folder), find_split_point(encoder, str(number)))


def test_more_stages_than_there_are_is_an_error(folder):
    with pytest.raises(ModelError, match="4 stages, not 5"):
        find_split_point(backbone_of("resnet18", 64, folder).build(), "5")
