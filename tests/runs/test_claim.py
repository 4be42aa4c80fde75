"""A run folder belongs to one training, and nothing of the user's is ever taken for a run."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

GRAFT = str(Path(sys.executable).parent / "graft")
SMALL = ["--model", "base_cnn", "--image-size", "16", "--epochs", "2", "--views", "1"]


def digests(folder):
    """The content of each file below a folder, by its path."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def at_once(tmp_path, *commands):
    """Run `graft ARGUMENTS` for each of the commands at the same time, in `tmp_path`."""
    begun = [
        subprocess.Popen(
            [GRAFT, *map(str, arguments)],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for arguments in commands
    ]
    return [(*process.communicate(timeout=300), process.returncode) for process in begun]


def test_two_trainings_at_once_without_out_have_two_folders(tmp_path, digits):
    train = ["train", digits, *SMALL, "--json"]
    ended = at_once(tmp_path, [*train, "--seed", "1"], [*train, "--seed", "2"])
    assert [code for *_, code in ended] == [0, 0], ended
    folders = sorted((tmp_path / "runs").iterdir())
    assert [folder.name for folder in folders] == ["digits-base_cnn", "digits-base_cnn-2"]
    seeds = [json.loads((f / "config.json").read_text())["seed"] for f in folders]
    assert sorted(seeds) == [1, 2], "each holds one run"
    for folder in folders:
        assert (folder / "report.html").is_file()


def test_of_two_trainings_into_one_folder_the_second_gets_one_line(tmp_path, digits, make_digits):
    other = make_digits(tmp_path / "other", "3456", each=30)
    first = ["train", digits, *SMALL, "--out", "run"]
    second = ["train", other, *SMALL, "--out", "run"]
    ended = at_once(tmp_path, first, second)
    (lost,) = [one for one in ended if one[2]]
    assert lost[2] == 2
    errors = [line for line in lost[1].splitlines() if line.startswith("graft:")]
    assert len(errors) == 1
    assert "run is being trained by another process" in errors[0]
    assert "Traceback" not in lost[1]
    classes = json.loads((tmp_path / "run" / "metrics.json").read_text())["classes"]
    assert classes in (["0", "1", "2"], ["3", "4", "5", "6"])
    listed = (tmp_path / "run" / "dataset.csv").read_text()
    assert {line.split(",")[1] for line in listed.splitlines()[1:]} == set(classes)


def test_a_training_keeps_its_folder_and_its_cache_until_it_ends(tmp_path, graft):
    out, cache = tmp_path / "run", tmp_path / "cache"
    train = ["train", "digits", *SMALL, "--out", out]
    command = [GRAFT, *map(str, train), "--epochs", "500"]
    environment = os.environ | {"GRAFT_CACHE": str(cache)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        until = time.monotonic() + 120
        while not (out / "history.jsonl").exists() and time.monotonic() < until:
            time.sleep(0.05)
        held = sorted(file for file in cache.rglob("*") if file.is_file())
        cleared = graft("cache", "--clear", GRAFT_CACHE=str(cache))
        assert (cleared.code, cleared.out, cleared.err.count("\n")) == (2, "", 1), cleared
        assert "in use" in cleared.err
        assert sorted(file for file in cache.rglob("*") if file.is_file()) == held
        second = graft(*train, GRAFT_CACHE=str(cache))
        assert second.code == 2, second.err
        assert (out / "history.jsonl").exists(), "the one that trains is left alone"
        assert process.poll() is None, "it trains on"
        process.send_signal(signal.SIGKILL)
    # What a killed training held is free.
    assert graft(*train, GRAFT_CACHE=str(cache)).code == 0
    assert not list(out.glob(".*")), "a finished run holds its files and nothing else"
    assert graft("cache", "--clear", GRAFT_CACHE=str(cache)).code == 0
    assert not list(cache.rglob("*.png"))


@pytest.fixture
def project(tmp_path, digits):
    """A folder of the user's whose files bear the names of a run's."""
    folder = tmp_path / "proj"
    images = shutil.copytree(digits, tmp_path / "images")
    rows = [f"{os.path.relpath(f, folder)},{f.parent.name}" for f in images.rglob("*.png")]
    folder.mkdir()
    (folder / "dataset.csv").write_text("\n".join(["image,label", *sorted(rows)]) + "\n")
    return folder


def test_a_table_that_is_named_like_a_runs_own_is_not_replaced(tmp_path, project, graft_here):
    before = digests(tmp_path)
    ended = graft_here("train", project / "dataset.csv", *SMALL, "--out", project)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1), ended.err
    assert "choose another --out" in ended.err
    assert digests(tmp_path) == before


def test_a_model_that_is_trained_from_is_not_overwritten(tmp_path, digits, graft_here, finished):
    import timm
    from safetensors.torch import save_file

    own = tmp_path / "weights"
    own.mkdir()
    network = timm.create_model("resnet10t", pretrained=False, num_classes=0)
    save_file(network.state_dict(), own / "model.safetensors")
    (own / "config.json").write_text(json.dumps({"architecture": "resnet10t", "num_classes": 0}))
    before = digests(own)
    ended = graft_here(
        "train", digits, "--model", f"local-dir:{own}", "--epochs", "1", "--out", own
    )
    assert (ended.code, ended.err.count("\n")) == (2, 1), ended.err
    assert digests(own) == before


@pytest.mark.parametrize("what", ["source", "model"])
def test_what_a_run_reads_cannot_lie_in_its_folder(tmp_path, project, graft_here, finished, what):
    """Not even in a folder that graft made, for a run that was cut off."""
    out = tmp_path / "begun"
    out.mkdir()
    (out / ".graft-run").write_text("as a killed run leaves it\n")
    if what == "source":
        shutil.copy(project / "dataset.csv", out / "dataset.csv")
        train = ["train", out / "dataset.csv", *SMALL]
    else:
        for name in ("model.json", "model.safetensors"):
            shutil.copy(finished / name, out / name)
        train = ["train", project / "dataset.csv", "--model", out, "--epochs", "1"]
    before = digests(out)
    ended = graft_here(*train, "--out", out)
    assert (ended.code, ended.err.count("\n")) == (2, 1), ended.err
    assert "which this run reads" in ended.err
    assert digests(out) == before


def test_a_demo_never_removes_runs_that_are_not_its_own(tmp_path, graft_here):
    mine = tmp_path / "runs" / "mine"
    mine.mkdir(parents=True)
    (mine / "metrics.json").write_text("{}")
    before = digests(tmp_path)
    ended = graft_here("demo", "--out", tmp_path)
    assert (ended.code, ended.err.count("\n")) == (2, 1), ended.err
    assert digests(tmp_path) == before


def test_a_training_that_is_refused_leaves_no_folder(tmp_path, digits, graft_here):
    ended = graft_here("train", digits, *SMALL, "--unfreeze", "1000000", "--out", tmp_path / "r")
    if ended.code == 0:
        pytest.fail("expected a refusal")
    assert not (tmp_path / "r").exists()
