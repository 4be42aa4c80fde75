"""A run killed at any moment and resumed is the run that was not killed."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from graft.errors import UsageError
from graft.runs.run import Run

GRAFT = str(Path(sys.executable).parent / "graft")
# What is trained, and the moments of the kill: the checkpoint or the history line that is awaited.
KINDS = {
    "pixels": ({"model": "base_cnn", "image_size": 16, "epochs": 4, "ema": 0.9}, ["fit", 2]),
    "fine-tune": ({"unfreeze": "1", "epochs": 3, "mixup": 0.2}, ["probe", "fine-tune"]),
}


@pytest.fixture(autouse=True)
def a_checkpoint_after_every_step(monkeypatch):
    monkeypatch.setenv("GRAFT_CHECKPOINT_SECONDS", "0")


def lines(run):
    try:
        return (run / "history.jsonl").read_text().count("\n")
    except FileNotFoundError:  # not there yet, or just begun again
        return 0


def killed_at(moment, images, out, settings, resume=False):
    """Run `graft train` until the moment, then SIGKILL; whether it was still running."""
    options = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    command = [GRAFT, "train", str(images), *options, "--out", str(out), *["--resume"] * resume]

    def come():
        if isinstance(moment, int):
            return lines(out) >= moment
        return (out / f".{moment}.safetensors").exists()

    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        while process.poll() is None and not come():
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
    assert process.returncode in (-signal.SIGKILL, 0), errors.decode()
    return process.returncode != 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_killed_at_several_moments_ends_with_the_same_weights(
    kind, digits, tmp_path, finished, fit
):
    settings, moments = KINDS[kind]
    settings = {"model": str(finished), "batch_size": 16} | settings
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    fit(digits, whole, **settings)
    for number, moment in enumerate(moments):
        assert killed_at(moment, digits, broken, settings, bool(number)), "too short to be killed"
        assert list(broken.glob(".*.safetensors"))
    fit(digits, broken, resume=True, **settings)
    for name in ("model.safetensors", "predictions.csv", "dataset.csv"):
        assert (broken / name).read_bytes() == (whole / name).read_bytes(), name
    assert lines(broken) == lines(whole)
    assert not list(broken.glob(".*"))


def test_a_checkpoint_of_other_settings_is_refused(digits, tmp_path, fit, monkeypatch):
    settings = {"model": "base_cnn", "image_size": 16, "epochs": 2}
    with monkeypatch.context() as patch:
        # As if killed: what follows the fit is never reached.
        patch.setattr("graft.training.recipe.predict_splits", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            fit(digits, tmp_path, **settings)
    assert Run(tmp_path).checkpoint("fit").exists()
    for other, said in (({"epochs": 3}, "epochs 2, not 3"), ({"seed": 5}, "seed 42, not 5")):
        with pytest.raises(UsageError, match=f"was started with .*{said}.*so it cannot resume"):
            fit(digits, tmp_path, resume=True, **settings | other)
    for damage in (without_metadata, cut_off, of_another_shape):
        kept = damage(Run(tmp_path).checkpoint("fit"))
        with pytest.raises(UsageError, match="the checkpoint is damaged") as refused:
            fit(digits, tmp_path, resume=True, **settings)
        assert "\n" not in str(refused.value)
        Run(tmp_path).checkpoint("fit").write_bytes(kept)


def without_metadata(file):
    before = file.read_bytes()
    save_file(load_file(file), file)
    return before


def cut_off(file):
    before = file.read_bytes()
    file.write_bytes(before[:-100])
    return before


def of_another_shape(file):
    before = file.read_bytes()
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    tensors = load_file(file)
    name = next(name for name in tensors if name.startswith("model/") and name.endswith("weight"))
    tensors[name] = tensors[name][:1].contiguous()
    save_file(tensors, file, metadata)
    return before


def test_a_run_killed_before_its_report_is_finished_by_resuming_it(
    finished, digits, tmp_path, graft_here
):
    out = shutil.copytree(finished, tmp_path / "run")
    train = ["train", digits, "--model", "base_cnn", "--image-size", "16", "--epochs", "2"]
    train += ["--views", "1", "--out", out]
    assert graft_here(*train, "--resume").code == 2  # it is whole
    (out / "report.html").unlink()
    for name in (".fit.safetensors", "..fit.safetensors.123-0abc1234.partial", ".tmpzlD9AQ"):
        (out / name).write_bytes(b"left by a kill")
    before = (out / "model.safetensors").stat().st_mtime_ns
    other = graft_here(*train, "--resume", "--seed", "7")
    assert (other.code, "another seed" in other.err) == (2, True)
    assert not (out / "report.html").exists()
    (out / ".graft-run").write_text("left by a kill")
    ended = graft_here(*train, "--resume", "--json")
    assert ended.code == 0, ended.err
    assert (out / "report.html").is_file()
    assert (out / "model.safetensors").stat().st_mtime_ns == before
    assert not list(out.glob(".*"))
