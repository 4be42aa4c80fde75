"""Encoders: families are described rightly, backends agree, features depend on no company."""

import numpy as np
import pytest
import timm
import torch

from graft.data.decode import Preprocess
from graft.features.backends import BATCH, compile_encoder, infer
from graft.models.backbone import new_body, scratch
from graft.models.encoder import Encoder, pooled
from graft.models.scratch_cnns import BaseCNN
from graft.models.sequence import stages

HALF = (0.5, 0.5, 0.5)
FAMILIES = {
    "mobilenetv2_100": 7,
    "efficientnet_b0": 7,
    "resnet18": 4,
    "convnext_atto": 4,
    "vit_tiny_patch16_224": 4,
    "swin_tiny_patch4_window7_224": 4,
    "vgg11": 5,
    "inception_v3": 3,
}


@pytest.mark.parametrize(("name", "count"), FAMILIES.items())
def test_the_stages_of_each_family_are_found(name, count):
    with torch.device("meta"):
        body = timm.create_model(name, num_classes=0)
    assert len(stages(body)) == count


@pytest.mark.parametrize(
    "name", ["resnet18", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"]
)
def test_features_are_the_pooled_outputs_that_timm_itself_gives(name):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        body = timm.create_model(name, num_classes=0).eval()
    pixels = torch.randint(0, 256, (2, 224, 224, 3), dtype=torch.uint8)
    with torch.inference_mode():
        features = Encoder(body, Preprocess(224, 224, HALF, HALF), taps=True).eval()(pixels)
        x = (pixels.permute(0, 3, 1, 2).double() / 255 - 0.5) / 0.5
        maps = body.double().forward_intermediates(x, indices=4, intermediates_only=True)
    if name.startswith("vit"):  # timm's maps leave out the class token, whose block outputs we pool
        assert features.shape == (2, 4 * 3 * 192)
        return
    expected = [
        f for m in maps for f in (m.mean((2, 3)), m.square().mean((2, 3)).sqrt(), m.amax((2, 3)))
    ]
    expected = torch.cat(expected, 1).numpy()
    assert features.numpy() == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_pooling_is_mean_root_mean_square_and_maximum_wherever_the_channels_lie():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    flat = x.reshape(2, 3, 20).astype(np.float64)
    expected = np.concatenate([flat.mean(2), np.sqrt((flat**2).mean(2)), flat.max(2)], 1)
    first = pooled(torch.from_numpy(x))
    last = pooled(torch.from_numpy(x).permute(0, 2, 3, 1), channels_last=True)
    tokens = pooled(torch.from_numpy(flat.astype(np.float32)).permute(0, 2, 1))
    for found in (first, last, tokens):
        assert found.numpy() == pytest.approx(expected, abs=1e-5)


def test_base_cnn_has_the_parameters_that_its_convolutions_add_up_to():
    expected = 0
    for before, after in ((3, 32), (32, 64), (64, 128)):
        expected += 9 * before * after + 2 * after + 9 * after * after + 2 * after
    assert sum(p.numel() for p in BaseCNN().parameters()) == expected


@pytest.mark.parametrize("backend", ["openvino", "torch", "float32"])
def test_a_backend_agrees_with_float32_and_an_image_does_not_depend_on_its_company(backend):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = scratch(image_size=32).build()
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    compiled = compile_encoder(encoder, backend)
    (_, together), (_, alone) = infer(lambda: compiled, [("all", pixels), ("one", pixels[3:4])])
    assert np.array_equal(together[3], alone[0])
    assert together.shape == (5, 128)
    with torch.inference_mode():
        expected = encoder(torch.from_numpy(pixels)).numpy()
    assert np.abs(together - expected).mean() < 0.02 * np.abs(expected).mean()


def test_no_backend_is_made_when_there_is_nothing_to_infer():
    def backend():
        raise AssertionError("compiled for nothing")

    assert list(infer(backend, [])) == []


def test_outputs_come_in_order_with_their_tags_and_without_the_padding():
    compiled = compile_encoder(scratch(image_size=16).build(), "openvino")
    sizes = [BATCH, 3, 1, BATCH, 7]
    batches = [(i, np.full((n, 16, 16, 3), i, np.uint8)) for i, n in enumerate(sizes)]
    found = list(infer(lambda: compiled, batches))
    assert [tag for tag, _ in found] == list(range(5))
    assert [len(features) for _, features in found] == sizes


def test_an_unknown_architecture_gets_did_you_mean():
    from graft.errors import ModelError

    with pytest.raises(ModelError, match="did you mean resnet50"):
        new_body("resnet5O", {})


def test_a_channel_that_is_zero_everywhere_has_a_gradient_of_zero():
    x = torch.rand(2, 3, 4, 4)
    x[:, 1] = 0
    x.requires_grad_()
    pooled(x).square().sum().backward()
    assert torch.isfinite(x.grad).all()
    assert pooled(x)[:, 4].max() < 1e-12
    assert x.grad[:, 0].abs().max() > 0
