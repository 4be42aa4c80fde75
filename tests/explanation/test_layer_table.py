"""Totals are PyTorch's own, and every number is what its arithmetic says."""

import re

import pytest
import timm
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import graft
from graft.errors import ModelError, UsageError
from graft.models.scratch_cnns import SCRATCH
from graft.models.zoo import CHOSEN

# The smallest of each family that graft offers, and families that it takes from timm besides.
FAMILIES = {
    **{"base_cnn": 64, "deep_cnn": 64, "tf_efficientnet_lite0": 96, "mobilenetv2_050": 96},
    **{"mobilenetv3_small_050": 96, "resnet18": 96, "vgg11": 224, "inception_v3": 128},
    **{"densenet121": 64, "convnext_atto": 96, "vit_tiny_patch16_224": 224, "test_vit": 160},
    **{"deit_tiny_distilled_patch16_224": 224, "swin_tiny_patch4_window7_224": 224},
    **{"eva02_tiny_patch14_224": 224, "levit_128s": 224, "hrnet_w18_small": 64, "test_nfnet": 96},
    **{"pit_ti_224": 224, "regnetx_002": 96, "ghostnet_100": 96},
}
LESSON = nn.Sequential(
    *(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 15 * 15, 10))
)


def counted(body, size):
    """All parameters, and the multiply-adds that PyTorch counts."""
    image = torch.zeros(1, 3, size, size)
    fast = torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False)
    with fast[0], fast[1], fast[2] as counter:
        body.forward_head(body.forward_features(image), pre_logits=True)
    return sum(p.numel() for p in body.parameters()), counter.get_total_flops() // 2


@pytest.mark.parametrize(("name", "size"), FAMILIES.items())
def test_totals_are_those_of_torch(name, size):
    found = graft.summary(name, image_size=size)
    body = SCRATCH[name]() if name in SCRATCH else timm.create_model(name, num_classes=0)
    body.requires_grad_(False).eval()
    parameters, multiply_adds = counted(body, size)
    assert (found.parameters, found.multiply_adds) == (parameters, multiply_adds)
    assert sum(layer.parameters for layer in found.layers) == parameters
    assert sum(layer.multiply_adds for layer in found.layers) == multiply_adds
    assert found.buffers == sum(b.numel() for b in body.buffers())
    names = [layer.name for layer in found.layers]
    assert len(set(names)) == len(names)
    for layer in found.layers:
        said = layer.arithmetic[0].replace(",", "")
        if layer.parameters:
            assert re.search(rf"\b{layer.parameters} (parameters|weights)", said), layer
        else:
            assert said.startswith("no parameters")
        if layer.multiply_adds:
            assert f"{layer.multiply_adds:,} multiply-adds" in " ".join(layer.arithmetic), layer


def test_the_sums_in_each_line_are_right():
    """Every `a × b × c = d`, `floor(…) + 1 = d` and `a + b · c = d` is computed again."""
    checked = 0
    for name in ("tf_efficientnet_lite0", "vit_tiny_patch16_224", "inception_v3", "vgg11"):
        for layer in graft.summary(name).layers:
            for line in layer.arithmetic:
                text = line.replace(",", "").replace("−", "-").replace("·", "*").replace("×", "*")
                for sides in re.finditer(r"(floor|ceil)?(\(?[\d(][\d\s*+\-/()]*?) = (\d+)", text):
                    rounding, left, right = sides.groups()
                    if rounding:
                        inner = re.fullmatch(r"\((.*) / (\d+)\)( \+ 1)?", left)
                        value = eval(inner[1]) / int(inner[2])
                        value = int(value // 1) if rounding == "floor" else -int(-value // 1)
                        value += 1 if inner[3] else 0
                    elif left.count("(") == left.count(")") and re.search(r"[*+]", left):
                        value = eval(left)
                    else:
                        continue
                    assert value == int(right), line
                    checked += 1
    assert checked > 900


def test_a_first_convolution_has_864_weights_and_32_biases():
    found = graft.summary(LESSON, image_size=32)
    first = found.layer("0")
    assert first.arithmetic[0] == "3 × 3 × 3 × 32 = 864 weights + 32 biases = 896 parameters"
    assert (first.parameters, first.output_shape, first.receptive_field) == (896, (32, 30, 30), 3)
    assert "floor((32 + 2·0 − 3) / 1) + 1 = 30" in first.arithmetic[2]
    assert "gives ceil(32 / 1) = 32; “valid” (none) gives" in first.arithmetic[3]
    assert first.arithmetic[3].endswith("= 30, as here")
    assert found.layer("2").receptive_field == 4
    assert found.layer("4").receptive_field is None
    assert found.parameters == 896 + 32 * 15 * 15 * 10 + 10


def test_same_padding_as_tensorflow_has_it_is_one_sided():
    layer = graft.summary("tf_efficientnet_lite0").layer("conv_stem")
    assert layer.padding == (0, 1, 0, 1)
    assert any(
        "(0 before, 1 after) gives ceil(224 / 2) = 112, as here" in a for a in layer.arithmetic
    )


def test_depthwise_groups_dilation_and_ceil_mode_are_told():
    network = nn.Sequential(
        nn.Conv2d(8, 8, 3, groups=8),
        nn.Conv2d(8, 16, 3, groups=2, dilation=2, padding=(2, 1), bias=False),
        nn.MaxPool2d(3, 2, ceil_mode=True),
    )
    first, second, pool = graft.summary(network, image_size=(20, 24)).layers
    assert first.kind == "Conv2d, depthwise"
    assert first.arithmetic[0] == "3 × 3 × 1 × 8 = 72 weights + 8 biases = 80 parameters"
    assert second.arithmetic[0] == "3 × 3 × 4 × 16 = 576 weights, no biases = 576 parameters"
    assert "2 · (3 − 1) + 1 = 5" in " ".join(second.arithmetic)
    assert second.output_shape == (16, 18, 20)
    assert second.receptive_field == 7
    assert "ceil(" in " ".join(pool.arithmetic)


class Own(nn.Module):
    """PyTorch's own attention and a transposed convolution."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.encoder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.up = nn.ConvTranspose2d(16, 4, 3, stride=2)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = self.encoder(self.attention(x, x, x)[0])
        return self.up(x.transpose(1, 2).unflatten(2, (5, 5)))


def test_pytorchs_own_transformer_layers_are_counted_too():
    network = Own()
    found = graft.summary(network, image_size=20)
    # Unlike in inference mode, where one fused function does it all, uncounted.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        network.eval()(torch.zeros(1, 3, 20, 20))
    assert found.multiply_adds == counter.get_total_flops() // 2
    assert found.parameters == sum(layer.parameters for layer in found.layers)
    assert found.layer("attention").parameters == 4 * 16 * 16 + 4 * 16
    assert found.layer("attention").receptive_field is None
    assert graft.summary(nn.Conv2d(3, 4, 3), image_size=8).layer("Conv2d").parameters == 112


class Shared(nn.Module):
    """Functions instead of modules, one convolution twice, and one that is never called."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.idle = nn.Conv2d(3, 5, 1)

    def forward(self, x):
        x = nn.functional.max_pool2d(nn.functional.relu(self.conv(x)), 2)
        x = nn.functional.max_pool2d(self.conv(x), 2)
        return (x * self.scale).mean((2, 3))


def test_functions_shared_layers_and_idle_ones_are_lines_of_the_table():
    network = Shared().train()
    network.conv.bias.requires_grad_(False)
    before = torch.random.get_rng_state()
    found = graft.summary(network, image_size=16)
    names = ["conv", "scale", "max_pool2d", "max_pool2d_2", "mean", "idle"]
    assert sorted(layer.name for layer in found.layers) == sorted(names)
    assert found.layer("conv").multiply_adds == 81 * (16 * 16 + 8 * 8)
    assert found.layer("idle").kind == "Conv2d, not run"
    assert not found.layer("idle").ran
    assert found.parameters == 84 + 20 + 1
    assert found.trainable == found.parameters - 3
    # Nothing about the network or the random numbers has changed.
    assert network.training
    assert not network.conv.bias.requires_grad
    assert network.conv.weight.requires_grad
    assert torch.equal(before, torch.random.get_rng_state())


# The others take seconds, by the same code.
@pytest.mark.parametrize("name", [n for n, row in CHOSEN.items() if row[0] < 2e7])
def test_each_chosen_model_has_the_parameters_that_graft_models_says(name):
    assert graft.summary(name).parameters == CHOSEN[name][0]


def test_a_run_says_what_was_trained(finished, frozen_run):
    whole, frozen = graft.summary(finished), graft.summary(str(frozen_run))
    assert whole.trainable == whole.parameters
    head = [layer for layer in frozen.layers if layer.name.startswith("head.")]
    assert frozen.trainable == sum(layer.parameters for layer in head) > 0
    assert frozen.parameters == graft.Run(frozen_run).model["parameters"]["total"]
    assert frozen.layers[0].kind == "Normalize"
    assert frozen.layers[-1].output_shape == (3,)
    assert "16 × 16" in frozen.steps[0]
    assert graft.summary(graft.load(frozen_run)).to_json() == frozen.to_json()


def test_the_last_layers_of_a_fine_tuned_run_are_trainable(frozen_run):
    from dataclasses import replace

    from graft.explanation.layer_table import summary
    from graft.explanation.summarized import _after
    from graft.models.split_point import find_split_point

    predictor = graft.load(frozen_run)
    encoder = predictor.backbone.build()
    cut = find_split_point(encoder, "20%")
    kept = {id(p) for p in _after(encoder, cut)}
    names = [name for name, p in encoder.body.named_parameters() if id(p) in kept]
    every = [name for name, _ in encoder.body.named_parameters()]
    assert names == every[-len(names) :]  # from the split point on, normalization included
    assert 0 < len(names) < len(every)
    tuned = summary(replace(predictor, frozen=False))
    assert tuned.trainable > summary(predictor).trainable


def test_an_unknown_layer_is_answered_with_the_nearest_names():
    found = graft.summary("base_cnn")
    with pytest.raises(UsageError, match=r"no layer 'blocks.0.9'; the nearest names: blocks\.0\."):
        found.layer("blocks.0.9")
    assert [layer.name for layer in found.under("blocks.1")] == [f"blocks.1.{i}" for i in range(7)]
    assert [layer.name for layer in found.under("me")] == ["mean"]
    assert found.under("conv") == []


@pytest.mark.parametrize(
    ("model", "size", "error", "words"),
    [
        ("resnet5", None, ModelError, "did you mean resnet"),
        ("vit_tiny_patch16_224", 100, UsageError, "does not take an image of 100 × 100 pixels"),
        ("base_cnn", 0, UsageError, "at least 1, not 0"),
        (nn.Conv2d(3, 4, 3), None, UsageError, "needs image_size"),
        (3, None, UsageError, "expected the name of a network"),
    ],
)
def test_what_cannot_be_summarized_is_one_clear_line(model, size, error, words):
    with pytest.raises(error, match=words) as raised:
        graft.summary(model, image_size=size)
    assert "\n" not in str(raised.value)


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(ModelError, match="expected a run folder"):
        graft.summary(tmp_path)


def test_the_text_of_a_large_network_fits_a_screen_and_adds_up():
    found = graft.summary("resnet50")
    text = str(found)
    lines = text.splitlines()
    assert len(lines) < 40
    assert "5 × Bottleneck" in text
    assert "23,508,032" in text
    start = next(i for i, line in enumerate(lines) if line.startswith("layer "))
    rows = lines[start + 1 : lines.index("", start)]
    column = lines[start].index("parameters") + len("parameters")
    shown = [row[:column].split()[-1].replace(",", "") for row in rows]
    assert sum(int(n) for n in shown if n.isdigit()) == found.parameters
    assert found._repr_html_().startswith("<pre>")
