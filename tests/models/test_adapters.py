"""Adapters: nothing else moves, and merged they compute what they computed beside their layers."""

import pytest
import timm
import torch
from torch import nn

from graft.data.decode import Preprocess
from graft.errors import UsageError
from graft.models.adapters import RANK, adapted_layers, add_adapters, merge_adapters
from graft.models.encoder import Encoder
from graft.models.split_point import find_split_point

HALF = (0.5, 0.5, 0.5)


def encoder_of(name, size, **arguments):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        body = timm.create_model(name, num_classes=0, **arguments)
    return Encoder(body, Preprocess(size, size, HALF, HALF), taps=True).eval()


@pytest.fixture
def transformer():
    pytest.importorskip("peft", reason="needs the package peft (graft[lora])")
    return encoder_of("test_vit", 32, img_size=32)


def trained(encoder, steps=3):
    """The encoder after steps on random images, and its state before, by name in the body."""
    before = {name: value.clone() for name, value in encoder.body.state_dict().items()}
    add_adapters(encoder, seed=1)
    moving = [p for p in encoder.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(moving, lr=0.01, weight_decay=0.1)
    pixels = torch.randint(0, 256, (4, *encoder.input_shape), dtype=torch.uint8)
    for _ in range(steps):
        optimizer.zero_grad()
        encoder(pixels).square().mean().backward()
        optimizer.step()
    return encoder, before, pixels


def test_an_adapter_that_has_not_been_trained_changes_nothing(transformer):
    pixels = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    with torch.inference_mode():
        before = transformer(pixels)
        add_adapters(transformer, seed=1)
        assert torch.equal(transformer(pixels), before)


def test_only_adapters_are_trained_and_the_network_itself_does_not_move_by_a_bit(transformer):
    encoder, before, _ = trained(transformer)
    after = {
        name.replace(".base_layer", ""): value
        for name, value in encoder.body.state_dict().items()
        if "lora_" not in name
    }
    assert after.keys() == before.keys()
    assert all(value.equal(after[name]) for name, value in before.items())
    assert any(p.abs().max() > 0 for name, p in encoder.named_parameters() if "lora_B" in name)


def test_merged_the_network_is_itself_again_and_computes_the_same(transformer):
    names = adapted_layers(transformer)
    encoder, before, pixels = trained(transformer)
    with torch.inference_mode():
        beside = encoder(pixels)
    merge_adapters(encoder)
    with torch.inference_mode():
        assert torch.allclose(encoder(pixels), beside, rtol=1e-4, atol=1e-5)
    after = encoder.body.state_dict()
    assert after.keys() == before.keys()
    assert not any("lora" in type(module).__module__ for module in encoder.modules())
    changed = {name for name, value in before.items() if not value.equal(after[name])}
    assert changed == {f"{name}.weight" for name in names}


def test_what_is_trained_is_counted(transformer):
    found = find_split_point(transformer, "lora")
    add_adapters(transformer, seed=1)
    trainable = sum(p.numel() for p in transformer.parameters() if p.requires_grad)
    assert found.parameters[0] == trainable
    linear = [m for m in transformer.body.blocks.modules() if type(m).__name__ == "Linear"]
    assert found.layers[0] == len([m for m in linear if type(m) is not nn.Linear])
    assert f"adapters of rank {RANK} in blocks.0.attn.qkv" in found.described()


def test_a_network_without_attention_is_refused_in_one_line():
    with pytest.raises(UsageError, match="lora is for transformers, and ResNet has no attention"):
        find_split_point(encoder_of("resnet10t", 32), "lora")
