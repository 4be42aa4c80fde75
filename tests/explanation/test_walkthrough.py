from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from graft.data.decode import center_view
from graft.errors import DataError, ModelError, UsageError
from graft.explanation.network_input import network_input
from graft.explanation.walkthrough import check, walk
from graft.explanation.walkthrough_recorder import Recorder


def outputs(predictor, image):
    """What each module gives, by name, from PyTorch's own hooks."""
    encoder, found = predictor.classifier.encoder, {}
    pixels = center_view(Image.fromarray(image), predictor.backbone.preprocess)
    hooks = [
        module.register_forward_hook(
            lambda _, taken, given, name=name: found.__setitem__(name, given[0].clone())
        )
        for name, module in encoder.body.named_modules()
    ]
    with torch.no_grad():
        encoder.features(encoder.normalized(torch.from_numpy(pixels.copy())[None]))
    for hook in hooks:
        hook.remove()
    return found


@pytest.mark.parametrize("name", ["base_cnn", "deep_cnn"])
def test_each_step_of_a_network_from_scratch_is_what_its_module_gives(untrained, noise, name):
    predictor = untrained(name)
    found, expected = walk(predictor, noise), outputs(predictor, noise)
    compared = 0
    for step in found.steps:
        module = predictor.classifier.encoder.body.get_submodule(step.module)
        if isinstance(module, torch.nn.Conv2d | torch.nn.BatchNorm2d | torch.nn.MaxPool2d):
            np.testing.assert_array_equal(found.values[step.output], expected[step.module].numpy())
            compared += 1
    assert compared == {"base_cnn": 6 + 6 + 3, "deep_cnn": 10 + 9 + 3}[name]
    assert found.whole
    assert found.stopped == ""
    with torch.no_grad():
        again = predictor.classifier(torch.from_numpy(found.pixels.copy())[None])[0]
    np.testing.assert_allclose(found.probabilities, again.numpy(), atol=1e-6)


def test_functions_that_are_no_modules_are_steps_too(untrained, noise):
    found = walk(untrained("deep_cnn"), noise)
    block = [s for s in found.steps if s.module.startswith("blocks.1")]
    assert [s.kind for s in block] == [
        *("conv", "pool", "norm", "gelu", "conv", "norm", "gelu", "conv", "norm", "add", "gelu")
    ]
    first, last = block[3], block[-2]
    assert set(last.inputs) == {first.output, block[-3].output}
    total = found.values[first.output] + found.values[block[-3].output]
    np.testing.assert_array_equal(found.values[last.output], total)
    assert [s.kind for s in found.steps[-2:]] == ["max", "divide"]
    assert found.mirrored.shape == found.features.shape


def test_a_pixel_of_a_convolution_is_its_patch_times_its_kernel(untrained, noise):
    found = walk(untrained("base_cnn"), noise)
    step = [s for s in found.steps if s.kind == "conv"][3]
    x, weight = found.values[step.inputs[0]], step.tensors["weight"]
    channel, row, column = 5, 0, 7
    total = 0.0
    for i in range(weight.shape[1]):
        for dy in range(3):
            for dx in range(3):
                y, z = row + dy - 1, column + dx - 1
                if 0 <= y < x.shape[1] and 0 <= z < x.shape[2]:
                    total += float(weight[channel, i, dy, dx]) * float(x[i, y, z])
    assert found.values[step.output][channel, row, column] == pytest.approx(total, rel=1e-4)


def test_what_the_features_add_and_the_bias_are_the_best_logit(untrained, noise):
    predictor = untrained("deep_cnn")
    found = walk(predictor, noise)
    best = int(found.probabilities.argmax())
    bias = predictor.head.layers[-1].bias[best].item()
    assert found.adds.sum() + bias == pytest.approx(found.logits[best], rel=1e-4)


def test_padding_that_is_a_function_belongs_to_the_convolution(untrained, noise):
    found = walk(untrained("tf_efficientnet_lite0", 64), noise)
    assert found.steps[0].settings["pads"] == [0, 0, 1, 1]
    assert found.steps[2].kind == "relu6"
    assert any(step.kind == "add" for step in found.steps)


def test_the_steps_end_where_a_network_does_something_else(untrained, noise):
    transformer = walk(untrained("vit_tiny_patch16_224", 224), noise)
    assert [step.kind for step in transformer.steps] == ["conv"]
    assert (transformer.whole, bool(transformer.stopped)) == (False, True)
    joined = walk(untrained("densenet121", 64), noise)
    assert joined.stopped == "cat"
    assert joined.convolutions > len(joined.steps)


def test_a_copy_of_a_value_is_that_value_and_works_in_place_are_seen():
    x = torch.randn(1, 3, 6, 6)
    convolution = torch.nn.Conv2d(3, 4, 3)
    with torch.no_grad(), Recorder(x) as recorder:
        y = convolution(x).detach().clone()
        torch.relu_(y)
    assert [(s.kind, s.inputs) for s in recorder.steps] == [("conv", (0,)), ("relu", (1,))]
    np.testing.assert_array_equal(recorder.values[2], y[0].numpy())
    assert (recorder.values[1] < 0).any()


def test_a_number_that_cannot_be_recomputed_is_refused(untrained, noise):
    predictor = untrained("base_cnn")
    found = walk(predictor, noise)
    values = {n: v.copy() for n, v in found.values.items()}
    values[4][3, 2, 1] += 0.05
    with pytest.raises(ModelError, match=r"blocks\.0\.3: recomputed, its output differs by 0\.05"):
        check(replace(found, values=values), predictor)
    with pytest.raises(ModelError, match="its probabilities differ by"):
        check(replace(found, probabilities=found.probabilities[::-1]), predictor)


def test_a_network_without_a_convolution_is_refused(untrained, noise, monkeypatch):
    predictor = untrained("base_cnn")
    encoder = predictor.classifier.encoder
    monkeypatch.setattr(encoder, "features", lambda x: x.flatten(1)[:, :128])
    with pytest.raises(ModelError, match="begins with no convolution that can be shown"):
        walk(predictor, noise)


def test_an_image_comes_from_a_file_from_pillow_or_from_pixels(untrained, noise, tmp_path):
    predictor = untrained("base_cnn")
    fed = predictor.backbone.preprocess
    file = tmp_path / "noise.png"
    Image.fromarray(noise).save(file)
    expected = center_view(Image.fromarray(noise), fed)
    for image in (file, str(file), Image.open(file), noise):
        np.testing.assert_array_equal(network_input(image, predictor), expected)
    with pytest.raises(UsageError, match=r"nowhere\.png cannot be read"):
        network_input(tmp_path / "nowhere.png", predictor)
    file.write_text("no image")
    with pytest.raises(DataError, match=r"noise\.png cannot be decoded"):
        network_input(file, predictor)
    with pytest.raises(UsageError, match="fractions have no agreed range"):
        network_input(noise.astype(float), predictor)
