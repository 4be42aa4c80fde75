"""A run killed at any moment and resumed is the run that was not killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from graft.runs.run import free_folder

GRAFT = str(Path(sys.executable).parent / "graft")
SETTINGS = {
    "pixels": ["--model", "base_cnn", "--image-size", "16", "--epochs", "5", "--ema", "0.9"],
    "fine-tune": ["--model", "SOURCE", "--unfreeze", "1", "--epochs", "4", "--mixup", "0.2"],
}


def environment():
    # A checkpoint after every step, so that a kill finds every kind of them.
    return os.environ | {"GRAFT_CHECKPOINT_SECONDS": "0"}


def killed_after(command, wait):
    """Run until `wait()` says so, then SIGKILL; whether it was still running."""
    process = subprocess.Popen(
        command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    while process.poll() is None and not wait():
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    _, errors = process.communicate()
    assert process.returncode in (-signal.SIGKILL, 0), errors.decode()
    return process.returncode != 0


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_run_killed_at_several_moments_ends_with_the_same_weights(
    kind, make_digits, tmp_path, finished
):
    images = make_digits(tmp_path / "digits", each=60)
    settings = [str(finished) if s == "SOURCE" else s for s in SETTINGS[kind]]
    train = [GRAFT, "train", str(images), *settings, "--batch-size", "16", "--out"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run([*train, str(whole)], env=environment(), check=True, capture_output=True)
    history = broken / "history.jsonl"

    def lines():
        try:
            return history.read_text().count("\n")
        except FileNotFoundError:  # not there yet, or just begun again
            return 0

    checkpoints = []
    moments = [
        lambda: any(broken.glob(".*.safetensors")),
        lambda: lines() >= 2,
        lambda: lines() >= 4,
    ]
    kills = 0
    for number, moment in enumerate(moments):
        resume = ["--resume"] if number else []
        kills += killed_after([*train, str(broken), *resume], moment)
        checkpoints += [p.name for p in broken.glob(".*.safetensors")]
    assert kills >= 2, "the run was too short to be killed"
    assert checkpoints
    ended = subprocess.run(
        [*train, str(broken), "--resume"], env=environment(), capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    for name in ("model.safetensors", "predictions.csv", "dataset.csv"):
        assert (broken / name).read_bytes() == (whole / name).read_bytes(), name
    assert lines() == (whole / "history.jsonl").read_text().count("\n")
    assert not list(broken.glob(".*.safetensors"))


def test_a_checkpoint_of_other_settings_is_refused(make_digits, tmp_path, graft_here, monkeypatch):
    images = make_digits(tmp_path / "digits", each=20)
    out = tmp_path / "run"
    train = ["train", images, "--model", "base_cnn", "--image-size", "16", "--out", out]
    killed_after(
        [GRAFT, *map(str, train), "--epochs", "50"], lambda: any(out.glob(".*.safetensors"))
    )
    assert not (out / "metrics.json").exists()
    ended = graft_here(*train, "--epochs", "3", "--resume")
    assert ended.code == 2
    assert "was started with other settings" in ended.err


def test_a_run_killed_before_its_report_is_finished_by_resuming_it(
    make_digits, tmp_path, graft_here
):
    out = tmp_path / "run"
    train = ["train", make_digits(tmp_path / "digits", each=20), "--model", "base_cnn"]
    train += ["--image-size", "16", "--epochs", "2", "--out", out]
    assert graft_here(*train).code == 0
    assert graft_here(*train, "--resume").code == 2  # it is whole
    (out / "report.html").unlink()
    for name in (".fit.safetensors", "..fit.safetensors.123-abc.partial"):
        (out / name).write_bytes(b"what a kill leaves")
    before = (out / "model.safetensors").stat().st_mtime_ns
    other = graft_here(*train, "--resume", "--seed", "7")
    assert other.code == 2
    assert "another seed" in other.err
    assert not (out / "report.html").exists()
    ended = graft_here(*train, "--resume", "--json")
    assert ended.code == 0, ended.err
    assert (out / "report.html").is_file()
    assert (out / "model.safetensors").stat().st_mtime_ns == before
    assert not [p.name for p in out.iterdir() if p.name.startswith(".")]


def test_without_out_a_run_that_lacks_its_report_is_gone_on_with(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "runs" / "photos-base_cnn"
    run.mkdir(parents=True)
    (run / "metrics.json").touch()
    assert free_folder("photos", "base_cnn", resume=True).name == "photos-base_cnn"
    assert free_folder("photos", "base_cnn").name == "photos-base_cnn-2"
    (run / "report.html").touch()
    assert free_folder("photos", "base_cnn", resume=True).name == "photos-base_cnn-2"
