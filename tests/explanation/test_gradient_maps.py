from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from captum.attr import LayerGradientXActivation
from PIL import Image
from torch import nn

from graft.data.decode import Preprocess
from graft.explanation.gradient_maps import gradient_map, stage_evidence
from graft.explanation.stage_outputs import stage_modules
from graft.inference.saved_model import load
from graft.models.backbone import scratch
from graft.models.classifier import Classifier
from graft.models.encoder import Encoder
from graft.models.head import Head
from graft.models.scratch_cnns import BaseCNN


@pytest.fixture
def pixels(digits):
    file = next((digits / "1").glob("*.png"))
    return np.array(Image.open(file).convert("RGB").resize((16, 16)))


def reading_every_stage(side):
    """A classifier with fresh weights whose head reads the pooled outputs of every stage."""
    torch.manual_seed(0)
    preprocess = Preprocess(side, side, (0.5,) * 3, (0.5,) * 3)
    encoder = Encoder(BaseCNN(), preprocess, taps=True)
    with torch.no_grad():  # no channel is dark everywhere: Captum has no gradient there
        for name, bias in encoder.named_parameters():
            if name.endswith("bias"):
                bias.fill_(1)
    return Classifier(encoder, Head(3 * (32 + 64 + 128), 3, 0, 0.0, 0.0)).eval()


@pytest.mark.parametrize("taps", [False, True], ids=["a run from scratch", "every stage is read"])
@pytest.mark.parametrize("against", [None, 0])
def test_each_stage_is_captums_gradient_times_activation(finished, taps, against, pixels):
    classifier = reading_every_stage(64) if taps else load(finished).classifier
    if taps:
        pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    inputs = torch.from_numpy(pixels.copy())[None].float()

    def odds(x):
        logits = classifier.logits(x)
        if against is not None:
            return logits[:, 1] - logits[:, against]
        return logits[:, 1] - torch.logsumexp(logits[:, [0, 2]], 1)

    found = stage_evidence(classifier, pixels, 1, against)
    modules = stage_modules(classifier.encoder)
    assert len(found) == len(modules) == 3
    for own, module in zip(found, modules, strict=True):
        layer = LayerGradientXActivation(odds, module)
        expected = layer.attribute(inputs)[0].sum(0).detach().numpy()
        assert np.abs(expected).max() > 0
        assert own == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_a_channel_that_is_dark_everywhere_has_no_evidence_and_spoils_none():
    classifier = reading_every_stage(16)
    with torch.no_grad():
        classifier.encoder.body.blocks[1][4].weight[:] = 0  # the batch normalization of block 2
        classifier.encoder.body.blocks[1][4].bias[:3] = -1
        classifier.encoder.body.blocks[1][4].bias[3:] = 1
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    for each in stage_evidence(classifier, pixels, 0):
        assert np.isfinite(each).all()
    assert np.abs(each).max() > 0


def test_a_mirrored_network_sees_the_mirror_image_in_the_mirror():
    """deep_cnn answers by the mean over the image and its mirror image, so its evidence must turn
    around with the image.
    """
    torch.manual_seed(0)
    backbone = scratch("deep_cnn", 32)
    encoder = backbone.build()
    assert encoder.mirrored
    classifier = Classifier(encoder, Head(256, 3, 0, 0.0, 0.0)).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (33, 33, 3), dtype=np.uint8)[:32, :32]
    plain = stage_evidence(classifier, pixels, 0)
    turned = stage_evidence(classifier, pixels[:, ::-1], 0)
    assert len(plain) == 3
    for one, other in zip(plain, turned, strict=True):
        assert np.abs(one).max() > 0
        assert other[:, ::-1] == pytest.approx(one, rel=1e-3, abs=1e-5)


def test_a_network_that_was_first_used_in_inference_mode_can_be_explained(finished, pixels):
    predictor = load(finished)
    with torch.inference_mode():
        predictor.classifier(torch.from_numpy(pixels)[None])
    assert gradient_map(predictor, pixels, 1).max() == 1


def test_the_map_lies_over_the_whole_image(finished, pixels):
    found = gradient_map(load(finished), pixels, 1)
    assert found.shape == (16, 16)
    assert found.min() >= 0
    assert found.max() == 1


def test_in_place_layers_behind_a_stage_do_not_spoil_what_was_kept():
    """VGG's ReLUs write into their inputs."""
    body = nn.Module()
    body.blocks = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True))
    body.forward_features = body.blocks
    body.forward_head = lambda x, pre_logits=True: x.mean((2, 3))
    encoder = Encoder(body, Preprocess(8, 8, (0.5,) * 3, (0.5,) * 3), taps=False)
    classifier = Classifier(encoder, Head(4, 2, 0, 0.0, 0.0)).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    first, second = stage_evidence(classifier, pixels, 0)
    assert np.abs(first).max() > 0
    # A ReLU passes on what it lets through: gradient × activation is the same before and after.
    assert first == pytest.approx(second, abs=1e-6)


def test_threads_that_share_a_network_find_each_its_own_stages():
    classifier = reading_every_stage(64)
    images = np.random.default_rng(0).integers(0, 256, (24, 64, 64, 3), dtype=np.uint8)
    alone = [stage_evidence(classifier, image, 1) for image in images]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda image: stage_evidence(classifier, image, 1), images))
    for expected, found in zip(alone, together, strict=True):
        for one, other in zip(expected, found, strict=True):
            np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-6)
