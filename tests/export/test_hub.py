"""The hub folder, its model card, and `graft push`, against a hub on this machine."""

import json
import re
import shutil
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from local_hub import Hub

import graft as package
from graft.errors import UsageError
from graft.export.hub_contents import check_hub_folder
from graft.export.hub_folder import write_hub_folder
from graft.export.model_card import card_data, model_card, plain
from graft.runs.run import Run


@pytest.fixture
def hub():
    server = Hub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def hub_folder(finished, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub") / "digits"
    write_hub_folder(Run.finished(finished), folder, "apache-2.0")
    return folder


def test_huggingface_hub_reads_the_card_and_its_results(hub_folder, finished):
    card = ModelCard.load(hub_folder / "README.md")
    assert card.data.license == "apache-2.0"
    assert card.data.pipeline_tag == "image-classification"
    found = {result.metric_type: result for result in card.data.eval_results}
    metrics = json.loads((finished / "metrics.json").read_text())
    accuracy = found["accuracy"]
    assert accuracy.metric_value == pytest.approx(metrics["accuracy"]["value"], abs=1e-6)
    ends = [metrics["accuracy"]["low"], metrics["accuracy"]["high"]]
    assert accuracy.metric_args["interval_95"] == pytest.approx(ends, abs=1e-6)
    assert accuracy.dataset_name == "digits"
    assert accuracy.dataset_split == "test"
    assert found["expected_calibration_error"].metric_value == pytest.approx(
        metrics["ece"], abs=1e-6
    )


def test_the_card_counts_the_images_of_each_class_and_split(hub_folder, finished):
    text = (hub_folder / "README.md").read_text()
    images = Run.finished(finished).images
    for name in "012":
        of_class = [row["split"] for row in images if row["label"] == name]
        counts = [of_class.count(split) for split in ("train", "val", "test")]
        assert f"| {name} | {' | '.join(map(str, counts))} | {len(of_class)} |" in text
    for title in (
        "How well it works",
        "When it abstains",
        "Limits",
        "How to use it",
        "How to cite",
    ):
        assert f"## {title}\n" in text


def test_the_card_counts_the_images_that_findings_name(finished):
    run = Run.finished(finished)
    row = {"severity": "matters", "message": "", "sets": []}
    run.findings = [
        row | {"kind": "label_error", "paths": ["a.png", "b.png"]},
        row | {"kind": "label_error", "paths": ["b.png", "c.png"]},
        row | {"kind": "time_order", "paths": []},
    ]
    text = model_card(run, "unknown", True, False)
    assert "by kind: label error (3 images), time order." in text
    assert "python check.py" in text


def test_a_license_is_unknown_unless_it_is_given(finished):
    card = ModelCard(model_card(Run.finished(finished), "unknown", False, False))
    assert card.data.license == "unknown"
    assert "Nobody has stated a license" in card.text
    assert "without graft[onnx]" in card.text


def test_a_license_that_is_no_identifier_is_refused(finished, tmp_path):
    with pytest.raises(UsageError, match=r"apache-2\.0"):
        write_hub_folder(Run.finished(finished), tmp_path / "out", "Apache License: 2.0")
    assert not (tmp_path / "out").exists()


def test_names_of_strangers_are_text_in_the_card():
    name = "a|b\n<script>alert(1)</script> [x](y) `z` _i_"
    shown = plain(name)
    assert "\n" not in shown
    assert not re.search(r"(?<!\\)[|<>\[\]()`_]", shown)


def test_graft_loads_the_folder_and_predicts_the_same(hub_folder, finished, noise):
    here, there = package.load(finished), package.load(hub_folder)
    assert here.predict(noise).probabilities == there.predict(noise).probabilities


def test_nothing_in_the_folder_names_a_path_of_this_machine_or_is_a_pickle(hub_folder, digits):
    for file in hub_folder.rglob("*"):
        assert file.suffix in (".md", ".json", ".safetensors")
        data = file.read_bytes()
        assert str(digits.parent).encode() not in data, file.name


def test_a_backbone_from_a_folder_is_named_without_the_way_to_it(frozen_run, tmp_path, digits):
    write_hub_folder(Run.finished(frozen_run), tmp_path / "out")
    for file in (tmp_path / "out").iterdir():
        assert str(digits.parents[1]).encode() not in file.read_bytes(), file.name
    assert package.load(tmp_path / "out").classes == ("0", "1", "2")


def test_a_fine_tuned_network_is_there_in_timms_own_form(finished, tmp_path):
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(0)
    own = timm.create_model("test_byobnet", num_classes=0).eval()
    shutil.copytree(finished, tmp_path / "run")
    state = {f"encoder.{name}": value for name, value in own.state_dict().items()}
    save_file(state, tmp_path / "run" / "model.safetensors")
    run = Run.finished(tmp_path / "run")  # as if it were one whose last blocks were trained
    fed = run.model["backbone"]["preprocess"] | {"height": 48, "width": 64, "crop": 0.9}
    run.model["backbone"] |= {"architecture": "test_byobnet", "preprocess": fed}
    run.model["frozen"] = False
    write_hub_folder(run, tmp_path / "out")
    body = timm.create_model(f"local-dir:{tmp_path / 'out' / 'timm'}", pretrained=True).eval()
    image = torch.from_numpy(np.random.default_rng(0).random((1, 3, 48, 64))).float()
    with torch.inference_mode():
        assert torch.equal(body(image), own(image))
    config = timm.data.resolve_model_data_config(body)
    assert tuple(config["input_size"]) == (3, 48, 64)
    assert (config["crop_pct"], config["crop_mode"]) == (0.9, "center")
    assert config["interpolation"] == fed["interpolation"]
    assert list(config["mean"]) == list(fed["mean"])
    assert "local-dir:timm" in (tmp_path / "out" / "README.md").read_text()
    check_hub_folder(tmp_path / "out")


def pushed(graft, hub, folder, *arguments, token=None, **environment):
    token = token or hub.token
    settings = {"HF_ENDPOINT": hub.address, "HF_TOKEN": token, "HF_HUB_DISABLE_XET": "1"}
    return graft("push", folder, *arguments, **settings | environment)


def test_push_sends_the_bytes_of_the_folder_and_nothing_else(graft, hub, hub_folder):
    ended = pushed(graft, hub, hub_folder, "digits", "--private")
    assert ended.code == 0, ended.err
    assert ended.out.strip() == f"{hub.address}/me/digits/commit/1"
    assert "a word on the card" in ended.err
    assert hub.token not in ended.out + ended.err
    assert "private" in json.dumps(hub.repositories["me/digits"])
    expected = {
        file.relative_to(hub_folder).as_posix(): file.read_bytes()
        for file in hub_folder.rglob("*")
        if file.is_file()
    }
    assert hub.files == expected


@pytest.mark.parametrize(
    ("repository", "token", "said"),
    [
        ("digits", "hf_wrong", "does not accept the token"),
        ("others/digits", None, "may not write to others/digits"),
        ("no//name", None, "no name of a repository"),
    ],
)
def test_a_refusal_of_the_hub_is_one_line(graft, hub, hub_folder, repository, token, said):
    ended = pushed(graft, hub, hub_folder, repository, token=token)
    assert ended.code == 2
    assert said in ended.err
    assert ended.err.count("\n") == 1
    assert (token or hub.token) not in ended.err
    assert not hub.files


def test_a_hub_that_breaks_off_or_is_not_there_is_one_line(graft, hub, hub_folder):
    hub.broken = True
    ended = pushed(graft, hub, hub_folder, "digits")
    assert ended.code == 5
    assert "answered 507" in ended.err
    hub.server_close()
    ended = pushed(graft, hub, hub_folder, "digits", HF_ENDPOINT="http://127.0.0.1:9")
    assert ended.code == 5
    assert "cannot be reached" in ended.err
    assert ended.err.count("\n") == 1


@pytest.mark.slow  # huggingface_hub tries five times
def test_a_connection_that_is_cut_off_is_one_line(graft, hub, hub_folder):
    hub.cut = True
    ended = pushed(graft, hub, hub_folder, "digits")
    assert ended.code == 5
    assert "broke off" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("option", [["--offline"], ["--license", "mit"]])
def test_an_option_of_another_format_is_refused(graft_here, finished, option):
    ended = graft_here("export", finished, "--to", "onnx", *option)
    assert ended.code == 2
    assert "leave it out" in ended.err


def test_a_folder_that_is_no_hub_folder_is_refused(graft_here, hub_folder, finished, tmp_path):
    for folder, said in ((finished, "README.md is not in"), (tmp_path, "README.md is not in")):
        ended = graft_here("push", folder, "digits")
        assert (ended.code, said in ended.err) == (2, True)
    other = tmp_path / "copy"
    shutil.copytree(hub_folder, other)
    (other / "optimizer.pt").write_bytes(b"a pickle")
    ended = graft_here("push", other, "digits")
    assert ended.code == 2
    assert "optimizer.pt" in ended.err


def test_the_metadata_names_the_hub_repository_of_the_weights(finished):
    run = Run.finished(finished)
    assert card_data(run, "mit").base_model is None
    run.model["backbone"]["source"] = "timm/resnet18.a1_in1k"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert card_data(run, "mit").to_dict()["base_model"] == "timm/resnet18.a1_in1k"


@pytest.mark.slow
def test_an_export_with_onnx_is_pushed_and_runs_by_its_own_predict_py(
    graft, hub, finished, digits, tmp_path
):
    pytest.importorskip("onnxscript", reason="needs graft[onnx]")
    folder = tmp_path / "out"
    ended = graft("export", finished, "--to", "hub-folder", "--license", "mit", "--out", folder)
    assert ended.code == 0, ended.err
    assert "python predict.py IMAGE" in (folder / "README.md").read_text()
    image = digits / "1" / f"{min(int(f.stem) for f in (digits / '1').iterdir())}.png"
    command = [sys.executable, "predict.py", image]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    expected = package.load(finished, "float32").predict(image).probabilities
    assert answer["probabilities"] == pytest.approx(expected, abs=1e-3)
    ended = pushed(graft, hub, folder, "digits")
    assert ended.code == 0, ended.err
    assert hub.files["model.onnx"] == (folder / "model.onnx").read_bytes()
    assert set(hub.files) == set(check_hub_folder(folder))
