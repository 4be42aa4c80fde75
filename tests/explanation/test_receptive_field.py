"""Receptive fields against the support of the gradient: which pixels move a value at all."""

import numpy as np
import pytest
import timm
import torch
from torch import nn

from graft.explanation.receptive_field import Following, field_of
from graft.models.scratch_cnns import SCRATCH

# The smallest of the families, with an input that their deepest fields do not all fill.
NETWORKS = {
    "base_cnn": 64,
    "deep_cnn": 64,
    "tf_efficientnet_lite0": 128,
    "mobilenetv2_050": 128,
    "mobilenetv3_small_050": 64,
    "resnet18": 128,
    "vgg11": 128,
    "densenet121": 96,
    "inception_v3": 128,
    "convnext_atto": 128,
    "hrnet_w18_small": 64,
}
MOST = 10  # outputs that are looked at, from the first to the last


def body_of(name, size=None):
    """A network with random weights, none of them zero: some families begin with blocks that add
    nothing."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        sized = {"img_size": size} if size and "patch" in name else {}
        body = (
            SCRATCH[name]() if name in SCRATCH else timm.create_model(name, num_classes=0, **sized)
        )
        for module in body.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
    return body.eval()


def run(body, size, wanted):
    """The outputs of the wanted modules by name, with the image that they come from."""
    image = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1))
    image.requires_grad_()
    outputs = {}

    def keep(name):
        return lambda module, given, output: outputs.__setitem__(name, output)

    hooks = [m.register_forward_hook(keep(n)) for n, m in body.named_modules() if wanted(m)]
    follow = Following()
    with follow:
        body.forward_features(follow.start(image))
    for hook in hooks:
        hook.remove()
    return image, outputs


def support(value, image):
    """The rectangle of the pixels with a gradient: left, top, right, bottom."""
    (gradient,) = torch.autograd.grad(value, image, retain_graph=True)
    rows, columns = np.nonzero(gradient[0].abs().sum(0).numpy())
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


@pytest.mark.parametrize(("name", "size"), NETWORKS.items())
def test_the_field_is_the_support_of_the_gradient(name, size):
    def wanted(module):
        return isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d)

    image, outputs = run(body_of(name), size, wanted)
    names = list(outputs)
    clipped = 0
    for place in sorted({round(i) for i in np.linspace(0, len(names) - 1, MOST)}):
        output = outputs[names[place]]
        field = field_of(output, 1, (size, size))
        mix = torch.randn(output.shape[1], generator=torch.Generator().manual_seed(2))
        _, _, rows, columns = output.shape
        for row, column in {(0, 0), (rows // 2, columns // 2), (0, columns - 1)}:
            value = (output[0, :, row, column] * mix).sum()
            found = support(value, image)
            assert field.at(row, column) == found, (names[place], row, column)
            if field.size and not field.whole:
                wide = (found[3] - found[1], found[2] - found[0])
                assert wide <= field.size
                clipped += wide != field.size
    assert clipped


def test_a_field_away_from_the_border_has_the_size_jump_and_start_that_it_says():
    image, outputs = run(body_of("base_cnn"), 96, lambda m: isinstance(m, nn.MaxPool2d))
    output = outputs["blocks.2.5"]
    field = field_of(output, 1, (96, 96))
    assert (field.size, field.jump, field.start) == ((36, 36), (8, 8), (-14, -14))
    assert field.pixels == 36
    found = support(output[0, :, 4, 6].sum(), image)
    assert found == (-14 + 6 * 8, -14 + 4 * 8, -14 + 6 * 8 + 36, -14 + 4 * 8 + 36)


# Araujo, Norris & Sim 2019, Computing Receptive Fields of Convolutional Neural Networks.
@pytest.mark.parametrize(("name", "pixels"), [("vgg16", 212), ("inception_v3", 1311)])
def test_published_fields_are_found_again(name, pixels):
    with torch.no_grad():
        _, outputs = run(body_of(name), 96, lambda m: isinstance(m, nn.Conv2d | nn.MaxPool2d))
    image = (96, 96)
    fields = {n: field_of(output, 1, image).pixels for n, output in outputs.items()}
    last = [v for n, v in fields.items() if n.startswith(("features", "Mixed_7c"))]
    assert max(last) == pixels


def test_a_window_of_a_swin_transformer_sees_itself_and_when_shifted_its_neighbors():
    name, size = "swin_tiny_patch4_window7_224", 112
    image, outputs = run(body_of(name, size), size, lambda m: type(m).__name__.endswith("Block"))
    first, second = outputs["layers.0.blocks.0"], outputs["layers.0.blocks.1"]
    for output, expected in ((first, (28, 28)), (second, (56, 56))):
        field = field_of(output, 3, (size, size))
        assert field.size is None
        for row, column in ((0, 0), (3, 3), (10, 17), (14, 8), (27, 27), (25, 1)):
            value = output[0, row, column].sum()
            assert field.at(row, column) == support(value.double(), image), (row, column)
        wide = field.boxes.reshape(-1, 4)
        assert tuple((wide[:, 2:] - wide[:, :2]).max(0)) == expected


def test_after_attention_a_token_sees_the_whole_image_and_before_it_a_patch():
    _, outputs = run(body_of("deit_tiny_distilled_patch16_224", 64), 64, lambda m: True)
    before = field_of(outputs["blocks.0.norm1"], 2, (64, 64))
    after = field_of(outputs["blocks.0"], 2, (64, 64))
    assert before.pixels == 16
    assert before.at(0) == (0, 0, 0, 0)  # the class token has seen nothing yet
    assert before.at(2 + 5) == (16, 16, 32, 32)  # two tokens of its own, then rows of four patches
    assert after.whole
    assert after.pixels is None


@pytest.mark.parametrize(
    ("change", "box"),
    [
        (lambda x: x[:, :, 2:6, 1:3], (1, 2, 2, 3)),
        (lambda x: x.mean(2, keepdim=True), (0, 0, 1, 8)),
        (lambda x: torch.fft.rfft2(x).abs(), (0, 0, 8, 8)),
        (lambda x: nn.functional.pad(x, (1, 1, 2, 2))[:, :, 2:, 1:], (0, 0, 1, 1)),
        (lambda x: torch.cat([x, x.flip(3)], 1), (0, 0, 8, 1)),
        (lambda x: nn.functional.pixel_unshuffle(x, 2), (0, 0, 2, 2)),
        (lambda x: x * torch.sigmoid(x.mean((2, 3), keepdim=True)), (0, 0, 8, 8)),
        (lambda x: nn.functional.conv2d(x, torch.ones(2, 3, 3, 3), dilation=2), (0, 0, 5, 5)),
        (lambda x: x.clone().add_(1).mul_(2), (0, 0, 1, 1)),
    ],
)
def test_other_functions_pass_fields_on(change, box):
    image = torch.randn(1, 3, 8, 8)
    follow = Following()
    with follow:
        output = change(follow.start(image))
    assert field_of(output, 1, (8, 8)).at(0, 0) == box
