"""Backbones: from a folder, from a hub, from nowhere."""

import http.server
import json
import os
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
import timm
from safetensors.torch import save_file

from graft.errors import ModelError
from graft.models.backbone import resized
from graft.models.weights import find_backbone


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A resnet10t with random weights, in timm's local-dir form."""
    place = tmp_path_factory.mktemp("weights")
    model = timm.create_model("resnet10t")
    save_file(model.state_dict(), place / "model.safetensors")
    config = {"input_size": [3, 96, 96], "crop_pct": 0.9, "interpolation": "bilinear"}
    config |= {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "num_classes": 1000}
    config |= {"classifier": "fc", "first_conv": "conv1.0"}
    stored = {"architecture": "resnet10t", "num_classes": 1000, "pretrained_cfg": config}
    (place / "config.json").write_text(json.dumps(stored))
    return place


def recropped(folder, place, mode):
    """The same weights, trained with images cropped in that way."""
    place.mkdir()
    stored = json.loads((folder / "config.json").read_text())
    stored["pretrained_cfg"]["crop_mode"] = mode
    (place / "config.json").write_text(json.dumps(stored))
    (place / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    return place


def test_preprocessing_comes_from_the_weights_own_config(folder, tmp_path):
    found = find_backbone(f"local-dir:{folder}", tmp_path)
    wants = found.preprocess
    assert (wants.height, wants.width, wants.crop, wants.interpolation) == (96, 96, 0.9, "bilinear")
    assert (wants.mean, wants.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


@pytest.mark.parametrize(("mode", "resize"), [("center", "crop"), ("squash", "squash")])
def test_the_way_to_resize_comes_from_the_weights_own_config_too(folder, tmp_path, mode, resize):
    place = recropped(folder, tmp_path / "other", mode)
    assert find_backbone(f"local-dir:{place}", tmp_path / "cache").preprocess.resize == resize


def test_weights_resized_in_a_way_that_graft_does_not_know_are_refused(folder, tmp_path):
    place = recropped(folder, tmp_path / "other", "border")
    with pytest.raises(ModelError, match="crop_mode 'border'"):
        find_backbone(f"local-dir:{place}", tmp_path / "cache")


def test_a_backbone_that_is_to_squash_sees_whole_images_and_has_features_of_its_own(
    folder, tmp_path
):
    found = find_backbone(f"local-dir:{folder}", tmp_path)
    squashing = resized(found, None, "squash")
    assert squashing.preprocess == replace(found.preprocess, resize="squash", crop=1.0)
    assert squashing.digest != found.digest
    assert resized(found, None, "crop") == found


def test_the_card_builds_the_same_network_and_is_found_again(folder, tmp_path):
    first = find_backbone(f"local-dir:{folder}", tmp_path)
    again = find_backbone(f"local-dir:{folder}", tmp_path)
    assert first == again
    reference = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0)
    built = first.build().body.state_dict()
    for key, value in reference.state_dict().items():
        assert value.equal(built[key]), key


def test_other_weights_have_another_digest(folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_bytes((folder / "config.json").read_bytes())
    save_file(timm.create_model("resnet10t").state_dict(), other / "model.safetensors")
    digests = {find_backbone(f"local-dir:{f}", tmp_path / "c").digest for f in (folder, other)}
    assert len(digests) == 2


@pytest.mark.parametrize("broken", ["cut", "not json", "other architecture"])
def test_damaged_weights_are_one_clear_error(folder, tmp_path, broken):
    place = tmp_path / "broken"
    place.mkdir()
    weights, config = (folder / n for n in ("model.safetensors", "config.json"))
    data, text = weights.read_bytes(), config.read_text()
    if broken == "cut":
        data = data[: len(data) // 2]
    elif broken == "not json":
        text = "{"
    else:
        text = text.replace('"resnet10t"', '"resnet18"')
    (place / "model.safetensors").write_bytes(data)
    (place / "config.json").write_text(text)
    with pytest.raises(ModelError) as raised:
        find_backbone(f"local-dir:{place}", tmp_path / "cache")
    assert "\n" not in str(raised.value)


def test_weights_are_fetched_from_a_hub_and_then_work_offline(tmp_path):
    state = tmp_path / "model.safetensors"
    save_file(timm.create_model("mobilenetv3_small_050").state_dict(), state)
    weights = state.read_bytes()
    asked = []

    class Hub(http.server.BaseHTTPRequestHandler):
        def answer(self, body: bool) -> None:
            asked.append(self.path)
            here = self.path.endswith("/model.safetensors")
            self.send_response(200 if here else 404)
            self.send_header("Content-Length", str(len(weights) if here else 0))
            self.send_header("ETag", '"' + "a" * 64 + '"')
            self.send_header("X-Repo-Commit", "c" * 40)
            self.end_headers()
            if body and here:
                self.wfile.write(weights)

        def do_HEAD(self) -> None:
            self.answer(False)

        def do_GET(self) -> None:
            self.answer(True)

        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    code = (
        "import sys; from pathlib import Path; from graft.models.weights import find_backbone; "
        "print(find_backbone('mobilenetv3_small_050.lamb_in1k', Path(sys.argv[1])).source)"
    )
    environment = os.environ | {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_address[1]}",
        "HF_HOME": str(tmp_path / "hub"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    try:
        for offline, cache in ((False, "one"), (True, "two")):
            if offline:
                environment["HF_HUB_OFFLINE"] = "1"
            done = subprocess.run(
                [sys.executable, "-c", code, str(tmp_path / cache)],
                env=environment,
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert done.returncode == 0, done.stderr
            assert "mobilenetv3_small_050" in done.stdout
    finally:
        server.shutdown()
        server.server_close()
    assert any("model.safetensors" in path for path in asked)
