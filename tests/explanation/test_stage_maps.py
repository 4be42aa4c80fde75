import numpy as np
import pytest
import timm
import torch
from PIL import Image

from graft.errors import ModelError, UsageError
from graft.explanation.stage_maps import excitement, first_filters, stage_maps
from graft.explanation.stage_outputs import as_grid, stage_modules
from graft.inference.saved_model import load
from graft.models.encoder import Encoder
from graft.runs.run import Run


def outputs_by_hand(predictor, pixels):
    """Each block's output in plain torch, (C, h, w)."""
    encoder = predictor.classifier.encoder
    x = encoder.normalized(torch.from_numpy(pixels.copy())[None])
    found = []
    with torch.inference_mode():
        for block in encoder.body.blocks:
            x = block(x)
            found.append(x[0].numpy())
    return found


def pixels_of(file):
    return np.asarray(Image.open(file).convert("RGB").resize((16, 16), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("run", ["finished", "frozen_run"])
def test_the_maps_are_the_blocks_outputs(run, digits, request):
    predictor = load(request.getfixturevalue(run))
    file = next((digits / "2").glob("*.png"))
    found = stage_maps(predictor, file, strongest=5)
    assert [stage.name for stage in found] == [f"stage {i} of 3" for i in (1, 2, 3)]
    for stage, expected in zip(found, outputs_by_hand(predictor, pixels_of(file)), strict=True):
        assert stage.maps == pytest.approx(expected, rel=1e-4, abs=1e-5)
        peaks = expected.max(axis=(1, 2))
        assert peaks[list(stage.strongest)] == pytest.approx(np.sort(peaks)[::-1][:5], rel=1e-4)


def test_the_exciting_images_are_those_of_the_highest_activation(finished, digits):
    predictor = load(finished)
    found = excitement(predictor)
    train = [row["path"] for row in Run(finished).images if row["split"] == "train"]
    assert found.paths == train
    by_hand = [outputs_by_hand(predictor, pixels_of(digits / path)) for path in train]
    for stage, channel in ((0, 3), (2, 100)):
        peaks = [maps[stage][channel].max() for maps in by_hand]
        best = found.most(stage, channel, 1)[0]
        assert peaks[train.index(best)] == pytest.approx(max(peaks), rel=1e-4)


def test_channels_that_are_always_bright_do_not_stand_out(finished, digits):
    predictor = load(finished)
    known = excitement(predictor)
    file = next((digits / "2").glob("*.png"))
    for place, stage in enumerate(stage_maps(predictor, file, 3, known)):
        usual = known.peaks[place]
        z = (stage.maps.max(axis=(1, 2)) - usual.mean(0)) / (usual.std(0) + 1e-6)
        assert stage.strongest[0] == int(z.argmax())


def test_only_so_many_training_images_are_looked_at_and_all_classes_are(finished):
    found = excitement(load(finished), most=9)
    assert len(found.paths) == 9
    assert {path.split("/")[0] for path in found.paths} == {"0", "1", "2"}


def test_a_predictor_without_training_images_says_so(corner):
    with pytest.raises(UsageError, match=r"expected a run, this predictor has none"):
        excitement(corner)


def test_a_filter_is_gray_where_its_weights_are_zero(finished):
    predictor = load(finished)
    weights = predictor.classifier.encoder.body.blocks[0][0].weight.detach().numpy()
    found = first_filters(predictor)
    assert found.shape == (32, 3, 3, 3)
    assert weights[0].size * len(weights) == 864
    for image, own in zip(found, weights, strict=True):
        expected = own.transpose(1, 2, 0) / np.abs(own).max() * 127.5 + 127.5
        assert image == pytest.approx(expected, abs=0.51)


def test_tokens_are_laid_out_as_the_patches_they_stand_for():
    body = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=64, depth=2)
    tokens = torch.arange(1 * 17 * 192).reshape(1, 17, 192).float()
    grid = as_grid(tokens, body, (64, 64, 3))
    assert grid.shape == (1, 192, 4, 4)
    assert torch.equal(grid[0, :, 1, 2], tokens[0, 1 + 1 * 4 + 2])


@pytest.mark.parametrize("name", ["densenet121", "resnet18", "mobilenetv2_100", "convnext_atto"])
def test_every_stage_of_a_family_gives_a_map(name):
    from graft.data.decode import Preprocess
    from graft.explanation.stage_outputs import kept_outputs
    from graft.models.classifier import Classifier
    from graft.models.head import Head

    body = timm.create_model(name, num_classes=0).eval()
    encoder = Encoder(body, Preprocess(64, 64, (0.5,) * 3, (0.5,) * 3), taps=True).eval()
    pixels = torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
    with torch.inference_mode():
        width = encoder(pixels).shape[1]
        classifier = Classifier(encoder, Head(width, 2, 0, 0.0, 0.0)).eval()
        with kept_outputs(classifier) as kept:
            classifier(pixels)
    assert len(kept) >= 4
    assert all(len(outputs) == 1 and outputs[0].ndim == 4 for outputs in kept)


def test_a_network_whose_stages_are_unknown_is_named(corner):
    encoder = corner.backbone.build()
    encoder.body = torch.nn.Identity()
    with pytest.raises(ModelError, match="the stages of Identity are not known"):
        stage_modules(encoder)
