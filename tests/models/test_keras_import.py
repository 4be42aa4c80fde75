"""`graft import` of Keras: features against those that Keras computes, on random weights."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from graft.models.weights import find_backbone

pytestmark = pytest.mark.skipif(find_spec("keras") is None, reason="pip install 'graft[keras]'")
FILES = Path(__file__).parent / "files"
SMALL = ("MobileNetV2", "EfficientNetB0", "ResNet50", "InceptionV3", "VGG16")
LARGE = "VGG16 with its classifier"


def converted(folder, *names):
    done = subprocess.run(
        [sys.executable, FILES / "keras_applications.py", folder, *names],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "told.json").read_text())


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keras")
    return folder, converted(folder, *SMALL)


def agrees(model, cache, expected, taps):
    """Whether a network gives these features for the images of keras_applications.py."""
    backbone = find_backbone(model, cache)
    side = backbone.preprocess.height
    pixels = np.random.default_rng(0).integers(0, 256, (2, side, side, 3), dtype=np.uint8)
    encoder = backbone.build()
    with torch.inference_mode():
        x = torch.from_numpy(pixels)
        if taps:
            x = encoder.normalized(x)
            found = encoder.body.forward_head(encoder.body.forward_features(x), pre_logits=True)
        else:
            found = encoder(x)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    return True


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_the_graph_gives_what_keras_gives_with_its_own_preprocessing(small, tmp_path, name):
    folder, told = small
    expected = np.load(folder / f"{name}.npy")
    assert told[name]["features"] == expected.shape[1]
    assert agrees(told[name]["frozen"], tmp_path, expected, taps=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNetV2", "EfficientNetB0"])
def test_where_timm_has_an_equal_network_it_gives_the_same(small, tmp_path, name):
    folder, told = small
    assert told[name]["reason"] is None
    assert agrees(told[name]["fine_tuned"], tmp_path, np.load(folder / f"{name}.npy"), taps=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ResNet50", "InceptionV3", "VGG16"])
def test_where_it_has_none_the_reason_is_told(small, name):
    _, told = small
    assert told[name]["fine_tuned"] is None
    assert len(told[name]["reason"]) > 20


@pytest.mark.slow
def test_weights_alone_are_known_by_the_name_of_their_file(small, tmp_path):
    told = small[1]
    # Made for 224 pixels, as the file does not say.
    assert told["weights alone"]["size"] == [224, 224]
    assert told["weights alone"]["fine_tuned"]
    alone, whole = (
        find_backbone(told[name]["fine_tuned"], tmp_path).state()
        for name in ("weights alone", "MobileNetV2")
    )
    assert all(torch.equal(alone[key], whole[key]) for key in whole)


@pytest.mark.slow
def test_vgg16_with_its_classifier_is_timms(tmp_path):
    told = converted(tmp_path, LARGE)[LARGE]
    expected = np.load(tmp_path / f"{LARGE.replace(' ', '_')}.npy")
    assert agrees(told["frozen"], tmp_path, expected, taps=False)
    assert agrees(told["fine_tuned"], tmp_path, expected, taps=True)


@pytest.mark.slow
@pytest.mark.parametrize("file", ["tiny.keras", "tiny.h5"])
def test_files_that_tensorflow_wrote_are_read(graft, tmp_path, file):
    ended = graft("import", FILES / file, "--pixels", "tf", "--out", tmp_path / "out", "--json")
    assert ended.code == 0, ended.err
    told = json.loads(ended.out)
    expected = np.array(json.loads((FILES / "tiny_tensorflow.json").read_text()))
    rows, columns, channels = np.mgrid[0:16, 0:16, 0:3]
    first = (rows * 16 + columns * (channels + 1)) % 256
    pixels = np.stack([first, 255 - first.transpose(1, 0, 2)]).astype(np.uint8)
    found = find_backbone(told["frozen"], tmp_path).build()(torch.from_numpy(pixels))
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.slow
def test_a_damaged_file_of_keras_is_one_line_and_leaves_nothing(graft, tmp_path):
    (tmp_path / "x.keras").write_bytes((FILES / "tiny.keras").read_bytes()[:9000])
    ended = graft("import", tmp_path / "x.keras", "--out", tmp_path / "out")
    assert ended.code == 4
    assert ended.err.count("\n") == 1
    assert [each.name for each in tmp_path.iterdir()] == ["x.keras"]


def test_a_folder_that_is_there_is_left_alone(graft_here, tmp_path):
    ended = graft_here("import", FILES / "tiny.onnx", "--out", tmp_path)
    assert ended.code == 2
    assert "is there already" in ended.err


def test_what_was_imported_says_itself_how_it_is_fed(graft_here, tmp_path):
    ended = graft_here(
        *("import", FILES / "tiny.onnx", "--pixels", "torch", "--output", "features"),
        *("--out", tmp_path / "out", "--json"),
    )
    assert ended.code == 0, ended.err
    told = json.loads(ended.out)
    first = find_backbone(told["frozen"], tmp_path / "cache")
    second = find_backbone(f"file:{FILES / 'tiny.onnx'}#features", tmp_path / "cache", "torch")
    pixels = torch.randint(0, 256, (2, 16, 16, 3), dtype=torch.uint8)
    np.testing.assert_allclose(first.build()(pixels), second.build()(pixels), atol=1e-6)
