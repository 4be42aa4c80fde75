"""base_cnn and deep_cnn, against the tables of docs/models.md."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from graft.features.backends import compile_encoder
from graft.models.backbone import scratch
from graft.models.scratch_cnns import SCRATCH, BaseCNN, DeepCNN

TABLES = (Path(__file__).parents[2] / "docs" / "models.md").read_text().split("\n### ")[1:]


@pytest.mark.parametrize("name", SCRATCH)
def test_the_documented_layers_add_up_to_the_parameters(name):
    table = next(text for text in TABLES if text.startswith(name))
    body = SCRATCH[name]()
    found = sum(p.numel() for p in body.parameters())
    assert f"**{found:,}**" in table
    total = 0
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 5 and re.search(r"\d", cells[3]) and "sum" not in cells[1]:
            total += int(cells[3].split("= ")[-1].replace(",", ""))
    assert total == found


@pytest.mark.parametrize("name", SCRATCH)
@pytest.mark.parametrize("size", [24, 32, 47])
def test_images_of_any_size_give_the_documented_features(name, size):
    body = SCRATCH[name]().eval()
    with torch.inference_mode():
        maps = body.forward_features(torch.randn(2, 3, size, size))
        features = body.forward_head(maps)
    assert maps.shape[2] == ((size - 1) // 8 if name == "deep_cnn" else size // 8)
    assert features.shape == (2, body.num_features)


def test_deep_cnn_says_the_same_of_a_image_and_its_mirror_image_unless_told_not_to():
    x = torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8)
    with torch.inference_mode():
        encoder = scratch("deep_cnn", 32).build()
        assert torch.allclose(encoder(x), encoder(x.flip(2)), atol=1e-5)
        own = (encoder.features(encoder.normalized(y)) for y in (x, x.flip(2)))
        assert torch.allclose(encoder(x), sum(own) / 2, atol=1e-5)
        encoder.train()
        assert not torch.allclose(encoder(x), encoder(x.flip(2)), atol=1e-5)
        one_sided = scratch("deep_cnn", 32, flip=False).build()
        assert not torch.allclose(one_sided(x), one_sided(x.flip(2)), atol=1e-5)


@pytest.mark.parametrize("backend", ["openvino", "torch"])
def test_every_backend_looks_at_both_sides(backend):
    backbone = scratch("deep_cnn", 32)
    x = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    compiled = compile_encoder(backbone.build(), backend, batch=4)
    found, mirrored = (compiled.submit(np.ascontiguousarray(y))() for y in (x, x[:, :, ::-1]))
    assert found == pytest.approx(mirrored, abs=0.02)


def test_whitened_patches_have_no_correlation_and_unit_variance():
    torch.manual_seed(0)
    smooth = torch.nn.functional.avg_pool2d(torch.randn(200, 3, 34, 34), 3, 1)
    body = DeepCNN()
    body.EPSILON = 0.0
    body.whiten(smooth.split(64))
    with torch.no_grad():
        out = body.whitening(smooth)[:, :12]
    flat = out.permute(0, 2, 3, 1).reshape(-1, 12).double().numpy()
    assert flat.T @ flat / len(flat) == pytest.approx(np.eye(12), abs=0.02)
    weight = body.whitening.weight
    assert torch.equal(weight[:12], -weight[12:])
    assert not weight.requires_grad


def test_pooling_before_the_relu_gives_the_numbers_and_gradients_of_pooling_after_it():
    torch.manual_seed(0)
    body = BaseCNN().double().train()
    x = torch.randn(3, 3, 24, 24, dtype=torch.float64)
    found = body.forward_features(x)
    found.square().sum().backward()
    gradients = [p.grad.clone() for p in body.parameters()]
    body.zero_grad()
    textbook = x
    for conv1, norm1, relu, conv2, norm2, pool, _ in body.blocks:
        textbook = pool(relu(norm2(conv2(relu(norm1(conv1(textbook)))))))
    assert torch.equal(found, textbook)
    textbook.square().sum().backward()
    assert all(map(torch.equal, gradients, (p.grad for p in body.parameters())))
