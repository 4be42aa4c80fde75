"""Run module by module, a network computes what its own forward_features computes."""

import pytest
import timm
import torch

from graft.data.decode import Preprocess
from graft.errors import ModelError
from graft.models.encoder import Encoder, pooled
from graft.models.scratch_cnns import SCRATCH
from graft.models.sequence import KNOWN, family, run, sequence

HALF = (0.5, 0.5, 0.5)
# The smallest of each known family, with the input that it takes.
SMALLEST = {
    "mobilenetv2_050": 64,
    "mobilenetv3_small_050": 64,
    "resnet10t": 64,
    "vgg11": 64,
    "inception_v3": 96,
    "densenet121": 64,
    "convnext_atto": 64,
    "test_vit": 160,
    "deit_tiny_distilled_patch16_224": 64,
    "swin_tiny_patch4_window7_224": 56,
    "base_cnn": 32,
    "deep_cnn": 32,
}


def body_of(name, size=None):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if name in SCRATCH:
            return SCRATCH[name]().eval()
        sized = {"img_size": size} if size and "patch" in name else {}
        return timm.create_model(name, num_classes=0, **sized).eval()


def test_each_known_family_runs_its_modules_in_the_order_of_their_definition():
    seen = set()
    for name, size in SMALLEST.items():
        body, x = body_of(name, size), torch.randn(1, 3, size, size)
        with torch.inference_mode():
            found = run(body, sequence(body, (3, size, size)), x)
            assert torch.equal(found, body.forward_features(x)), name
        seen.add(family(body))
    assert seen == KNOWN


def test_an_unknown_network_is_compared_with_its_own_forward_pass():
    assert sequence(body_of("test_nfnet"), (3, 96, 96))  # not known, and in order
    assert sequence(body_of("hrnet_w18_small"), (3, 64, 64)) == ()


@pytest.mark.parametrize("name", ["eva02_tiny_patch14_224", "vit_small_patch16_rope_mixed_224"])
def test_the_rotary_embedding_goes_along_with_each_block(name):
    side = 56 if "patch14" in name else 64
    body, x = body_of(name, side), torch.randn(1, 3, side, side)
    names = sequence(body, x.shape[1:])
    with torch.inference_mode():
        assert names
        assert torch.allclose(run(body, names, x), body.forward_features(x), atol=1e-5)


def test_a_network_that_drops_at_random_is_no_less_a_sequence():
    body = timm.create_model("test_nfnet", num_classes=0, drop_path_rate=0.9)
    assert body.training
    assert sequence(body, (3, 96, 96))
    assert body.training


def test_a_network_that_takes_more_than_one_tensor_along_gives_what_timm_gives():
    body = body_of("eva02_tiny_patch14_224", 56)
    pixels = torch.randint(0, 256, (1, 56, 56, 3), dtype=torch.uint8)
    encoder = Encoder(body, Preprocess(56, 56, HALF, HALF), taps=True).eval()
    with torch.inference_mode():
        outputs = []
        hooks = [b.register_forward_hook(lambda *a: outputs.append(a[2])) for b in body.blocks[-4:]]
        body.forward_features(encoder.normalized(pixels))
        for hook in hooks:
            hook.remove()
        expected = torch.cat([pooled(x) for x in outputs], 1)
        assert torch.allclose(encoder(pixels), expected, atol=1e-5)


def test_a_network_whose_stages_are_out_of_reach_is_refused():
    class Odd(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.stages = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.Conv2d(4, 4, 1))

        def forward_features(self, x):
            return self.stages(x) + 1

    with pytest.raises(ModelError, match="expected a network whose stages follow one another"):
        Encoder(Odd().eval(), Preprocess(8, 8, HALF, HALF), taps=True)
