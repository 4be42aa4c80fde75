"""A classifier is one network: it can be traced and exported like any other."""

import pytest
import torch

from graft.data.decode import Preprocess
from graft.models.backbone import new_body
from graft.models.classifier import Classifier
from graft.models.encoder import Encoder
from graft.models.head import Head

HALF = (0.5, 0.5, 0.5)


def classifier_of(name, size):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = Encoder(new_body(name, {}), Preprocess(size, size, HALF, HALF), taps=True).eval()
        with torch.inference_mode():
            features = encoder(torch.zeros(1, size, size, 3, dtype=torch.uint8)).shape[1]
        return Classifier(encoder, Head(features, 3, 8, 0.2, 0.5), temperature=2.0).eval()


def pixels_of(size, count=2):
    shape = (count, size, size, 3)
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:FutureWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize(
    ("name", "size"),
    [("mobilenetv3_small_050", 64), ("test_vit", 160), ("base_cnn", 32)],
)
def test_traced_and_exported_it_says_what_it_says_eagerly(name, size):
    classifier = classifier_of(name, size)
    with torch.no_grad():
        pixels = pixels_of(size)
        expected = classifier(pixels)
        traced = torch.jit.trace(classifier, pixels_of(size, 1))
        exported = torch.export.export(classifier, (pixels,)).module()
        assert torch.allclose(traced(pixels), expected, atol=1e-6)
        assert torch.allclose(exported(pixels), expected, atol=1e-6)
        again = classifier(pixels)
    assert torch.equal(again, expected), "nothing is left behind by tracing"


def test_probabilities_are_the_softmax_of_the_logits_over_the_temperature():
    classifier, pixels = classifier_of("base_cnn", 32), pixels_of(32, 5)
    with torch.no_grad():
        logits, found = classifier.logits(pixels), classifier(pixels)
    powers = (logits.double() / 2).exp()
    assert torch.allclose(found.double(), powers / powers.sum(1, keepdim=True), atol=1e-6)
    assert float(classifier.temperature) == 2.0


def test_no_module_of_it_has_a_hook_and_gradients_reach_the_stages():
    classifier = classifier_of("mobilenetv2_050", 64)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in classifier.modules())
    classifier.logits(pixels_of(64))[:, 1].sum().backward()
    body = classifier.encoder.body
    assert all(p.grad is not None for p in body.blocks.parameters())
    assert all(p.grad is None for p in body.conv_head.parameters()), "runs no further than it must"
