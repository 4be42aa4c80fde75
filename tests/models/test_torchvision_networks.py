"""torchvision's networks, with random weights from a file and from a server on this machine."""

import contextlib
import hashlib
import http.server
import threading

import numpy as np
import pytest
import torch
import torchvision

from graft.errors import ModelError
from graft.models import torchvision_weights
from graft.models.split_point import find_split_point
from graft.models.stored_model import _shapes
from graft.models.weights import find_backbone, find_classifier


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cards")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file with random weights of a network, and the network."""

    def made(name):
        torch.manual_seed(0)
        network = torchvision.models.get_model(name, weights=None).eval()
        file = tmp_path_factory.mktemp("weights") / f"{name}.pth"
        torch.save(network.state_dict(), file)
        return file, network

    return made


def normalized(backbone, pixels):
    fed = backbone.preprocess
    x = pixels.permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (fed.mean, fed.std))
    return (x - mean) / std


@pytest.mark.parametrize("name", ["squeezenet1_1", "nonsense"])
def test_a_name_that_has_no_classifier_is_refused(name, cache, tmp_path):
    (tmp_path / "x.pth").write_bytes(b"")
    with pytest.raises(ModelError) as raised:
        find_backbone(f"torchvision:{name}={tmp_path / 'x.pth'}", cache)
    assert "\n" not in str(raised.value)


def test_the_features_are_what_the_classifier_is_given(cache, weights):
    file, network = weights("shufflenet_v2_x0_5")
    backbone = find_backbone(f"torchvision:shufflenet_v2_x0_5={file}", cache)
    assert backbone.architecture == "torchvision_shufflenet_v2_x0_5"
    assert backbone.preprocess.crop == pytest.approx(224 / 256)
    pixels = torch.randint(0, 256, (2, 224, 224, 3), dtype=torch.uint8)
    network.fc = torch.nn.Identity()
    with torch.inference_mode():
        expected = network(normalized(backbone, pixels))
        found = backbone.build()(pixels)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_its_classes_come_with_it(cache, weights):
    file, _ = weights("shufflenet_v2_x0_5")
    _, head, classes = find_classifier(f"torchvision:shufflenet_v2_x0_5={file}", cache)
    assert len(classes) == 1000
    assert head.shape["classes"] == 1000


def test_a_resnet_is_timms_and_can_be_trained_in_part(cache, weights):
    file, network = weights("resnet18")
    backbone = find_backbone(f"torchvision:resnet18={file}", cache)
    assert backbone.architecture == "resnet18"
    encoder = backbone.build()
    assert find_split_point(encoder, "20%").unit
    pixels = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    network.fc = torch.nn.Identity()
    with torch.inference_mode():
        x = normalized(backbone, pixels)
        found = encoder.body.forward_head(encoder.body.forward_features(x), pre_logits=True)
        np.testing.assert_allclose(found, network(x), atol=1e-4)


def test_others_are_trained_whole_or_not_at_all(cache, weights):
    file, _ = weights("shufflenet_v2_x0_5")
    encoder = find_backbone(f"torchvision:shufflenet_v2_x0_5={file}", cache).build()
    assert find_split_point(encoder, "all").unit is None
    with pytest.raises(ModelError, match="use --unfreeze all or none"):
        find_split_point(encoder, "20%")


def test_a_run_of_one_is_built_without_memory():
    stored = {
        "backbone": {"architecture": "torchvision_mobilenet_v3_small", "arguments": {}},
        "head": {
            "features": 1024,
            "classes": 2,
            "hidden": 0,
            "dropout_in": 0.0,
            "dropout_hidden": 0.0,
        },
    }
    body, _ = _shapes(stored)
    assert all(value.is_meta for value in body.state_dict().values())


@contextlib.contextmanager
def serving(folder):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *said):
            pass

    def handler(*given):
        return Quiet(*given, directory=folder)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


class Weights:
    """What torchvision says of weights, but where they are."""

    def __init__(self, real, url):
        self.url, self.meta, self.transforms = url, real.meta, real.transforms


def test_weights_are_fetched_once_and_are_those_that_their_name_promises(
    tmp_path, monkeypatch, cache, weights
):
    name = "shufflenet_v2_x0_5"
    file, _ = weights(name)
    data = file.read_bytes()
    served = tmp_path / "served"
    served.mkdir()
    good = f"{name}-{hashlib.sha256(data).hexdigest()[:8]}.pth"
    (served / good).write_bytes(data)
    (served / f"{name}-0123abcd.pth").write_bytes(data)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    real = torchvision.models.get_model_weights(name).DEFAULT

    def promise(address):
        monkeypatch.setattr(torchvision_weights, "_weights", lambda network: Weights(real, address))

    with serving(served) as address:
        promise(f"{address}/{name}-0123abcd.pth")
        with pytest.raises(ModelError, match="could not be fetched"):
            find_backbone(f"torchvision:{name}", cache)
        promise(f"{address}/{good}")
        assert find_backbone(f"torchvision:{name}", cache).features == 1024
    kept = tmp_path / "home" / "hub" / "checkpoints"
    assert [each.name for each in kept.iterdir()] == [good]
    # The server is gone: from here on it is the folder.
    assert find_backbone(f"torchvision:{name}", tmp_path / "new").features == 1024
    promise(f"{address}/{name}-ffffffff.pth")
    with pytest.raises(ModelError, match="=FILE") as raised:
        find_backbone(f"torchvision:{name}", cache)
    assert "\n" not in str(raised.value)
