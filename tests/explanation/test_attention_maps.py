import numpy as np
import pytest
import timm
import torch

from graft.explanation.attention_maps import attention_maps
from graft.inference.saved_model import load


@pytest.fixture(scope="module")
def vit(make_predictor):
    torch.manual_seed(0)
    body = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=64, depth=3).eval()
    return make_predictor(body, 192, torch.randn(2, 192), side=64)


def test_attention_is_what_the_blocks_weights_are_in_timms_own_pass(vit):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    kept = []
    body = vit.classifier.encoder.body
    handles = []
    for block in body.blocks:
        block.attn.fused_attn = False  # then the weights pass through a dropout that can be hooked
        handles.append(block.attn.attn_drop.register_forward_hook(lambda m, i, o: kept.append(o)))
    with torch.inference_mode():
        vit.classifier(torch.from_numpy(pixels)[None])
    for handle in handles:
        handle.remove()
    means = [weights[0].mean(0).double() for weights in kept]
    found = attention_maps(vit, pixels)
    assert found.last.shape == found.rollout.shape == (4, 4)
    assert found.last == pytest.approx(means[-1][0, 1:].reshape(4, 4).numpy(), rel=1e-4)
    rollout = torch.eye(17).double()
    for weights in means:
        rollout = (weights / 2 + torch.eye(17) / 2) @ rollout
    assert found.rollout == pytest.approx(rollout[0, 1:].reshape(4, 4).numpy(), rel=1e-4)
    assert found.last.sum() < 1


def test_a_convolutional_network_has_no_attention(finished, digits):
    assert attention_maps(load(finished), next((digits / "0").glob("*.png"))) is None
