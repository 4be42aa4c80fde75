"""Training by real processes that torchrun starts: the run is that of one process."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from shared_fits import fits

from graft.errors import UsageError
from graft.models.runtime import Runtime
from graft.runs.run import Run
from graft.training.batch_part import Part
from graft.utils.torchrun import NEEDED, Place, place

HERE = Path(__file__).parent
CPU = Runtime(torch.device("cpu"), torch.float32)
COLUMNS = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "val_calibrated_loss")


def started(processes, *arguments, restarts=0, **environment):
    """torchrun with these processes, one thread each, in a session of its own."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={processes}", f"--max-restarts={restarts}"]
    known = {"OMP_NUM_THREADS": "1", "GRAFT_PRECISION": "float32"}
    return subprocess.Popen(
        [*command, *map(str, arguments)],
        env=os.environ | known | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def torchrun(processes, *arguments, **options):
    """The exit code of torchrun and what was written to stderr."""
    with started(processes, *arguments, **options) as launched:
        try:
            _, errors = launched.communicate(timeout=600)
        finally:
            if launched.poll() is None:
                os.killpg(launched.pid, signal.SIGKILL)
    return launched.returncode, errors


def said(errors):
    return [line for line in errors.splitlines() if line.startswith("graft:")]


def options_of(settings):
    return [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]


def table_of(run):
    return np.array([[line[name] for name in COLUMNS] for line in Run(run).history])


def assert_same_run(run, other, tolerance=1e-5):
    for name in ("dataset.csv", "findings.json"):
        assert (run / name).read_bytes() == (other / name).read_bytes(), name
    assert table_of(run) == pytest.approx(table_of(other), abs=tolerance)
    texts = [(folder / "predictions.csv").read_text() for folder in (run, other)]
    read = [list(csv.reader(text.splitlines())) for text in texts]
    assert [row[:3] for row in read[0]] == [row[:3] for row in read[1]]
    found = [np.array([row[3:] for row in rows[1:]], float) for rows in read]
    assert found[0] == pytest.approx(found[1], abs=10 * tolerance)
    assert Run(run).metrics["accuracy"] == Run(other).metrics["accuracy"]
    assert (run / "report.html").is_file()
    assert not list(run.glob(".*"))


@given(st.integers(0, 200), st.integers(1, 20))
def test_the_parts_of_a_batch_are_even_and_take_each_image_once(count, world):
    parts = [Runtime(CPU.device, CPU.dtype, rank, world).part(count) for rank in range(world)]
    assert [i for part in parts for i in range(count)[part]] == list(range(count))
    sizes = [part.stop - part.start for part in parts]
    assert max(sizes) - min(sizes) <= 1
    taken = [Part.of(Runtime(CPU.device, CPU.dtype, rank, world), count) for rank in range(world)]
    assert sum(part.count for part in taken) == count
    assert all(part.rows.stop > part.rows.start for part in taken), "also without a share"


def test_a_process_that_nobody_launched_with_others_is_alone(monkeypatch):
    for name in NEEDED:
        monkeypatch.delenv(name, raising=False)
    assert place() == Place()
    monkeypatch.setenv("WORLD_SIZE", "3")  # as some batch systems set it for purposes of their own
    assert place() == Place()
    for name, value in zip(NEEDED, ("127.0.0.1", "29500", "2", "3"), strict=True):
        monkeypatch.setenv(name, value)
    assert place() == Place(2, 3, 0, 3, 0)
    for name, value in (("RANK", "3"), ("RANK", "first"), ("WORLD_SIZE", "0")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            with pytest.raises(UsageError, match=rf"\${name}"):
                place()


def test_graft_imports_no_more_of_torch_distributed_than_torch_does():
    program = """
import sys, torch, timm
def parts(): return {name for name in sys.modules if name.startswith("torch.distributed")}
before = parts()
import graft.training.train_or_resume
print(sorted(parts() - before), torch.distributed.is_initialized())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[] False", done.stderr


@pytest.mark.parametrize("processes", [3, pytest.param(2, marks=pytest.mark.slow)])
def test_processes_that_share_batches_fit_what_one_process_fits(processes, tmp_path):
    """Dropout, mixup, CutMix, crops, BatchNorm, the moving average, a batch of fewer images than
    processes: in all of it the loss curve and the logits differ by rounding alone.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        expected = dict(fits(CPU))
    torch.set_num_threads(threads)
    out = tmp_path / "fits.json"
    code, errors = torchrun(processes, HERE / "shared_fits.py", out)
    assert code == 0, errors
    found = json.loads(out.read_text())
    for name, one in expected.items():
        curves = [[[e[c] for c in COLUMNS] for e in each["epochs"]] for each in (one, found[name])]
        same = curves[1] == pytest.approx(np.array(curves[0]), abs=1e-4)
        same = same and found[name]["logits"] == pytest.approx(np.array(one["logits"]), abs=1e-3)
        assert same == (name != "apart"), name


def test_two_processes_fine_tune_as_one_does(digits, finished, fit, tmp_path, monkeypatch):
    monkeypatch.setenv("GRAFT_PRECISION", "float32")
    settings = {"model": str(finished), "unfreeze": "1", "epochs": 2, "batch_size": 16}
    settings |= {"mixup": 0.2, "views": 2, "augment": "light"}
    # AdamW divides by the size of a gradient, so that rounding grows with small ones.
    settings |= {"optimizer": "sgd", "learning_rate": 0.02, "weight_decay": 1e-4}
    out = tmp_path / "two"
    code, errors = torchrun(
        2, "-m", "graft", "train", digits, *options_of(settings), "--out", out, "--json",
        GRAFT_CACHE=str(tmp_path / "cache"),
    )  # fmt: skip
    assert code == 0, errors
    assert errors.count("fine-tuning was") == 1, "rank 0 alone tells"
    assert Run(out).config["processes"] == 2
    assert not list((tmp_path / "cache").glob(".rank-*"))
    one = fit(digits, tmp_path / "one", **settings)
    assert one.config["processes"] == 1
    assert not torch.distributed.is_initialized()
    (one.path / "report.html").touch()
    assert_same_run(out, one.path, 1e-4)


def test_what_is_wrong_is_said_once_and_ends_all_processes(tmp_path, make_digits):
    source = make_digits(tmp_path / "source", "0")  # one class
    code, errors = torchrun(2, "-m", "graft", "train", source, "--out", tmp_path / "run")
    assert code == 1
    assert len(said(errors)) == 1, errors
    assert "two classes" in said(errors)[0] or "2 classes" in said(errors)[0]
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [["check", "x"], ["predict", "x", "y"], ["train", "x", "--budget", "1m"]]
)
def test_commands_for_one_process_say_so_once(words):
    code, errors = torchrun(2, "-m", "graft", *words)
    assert code == 1
    assert len(said(errors)) == 1, errors
    assert "works in one process, and torchrun started 2" in said(errors)[0]


def workers(launcher):
    """The process IDs of torchrun's children."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(words[1]) == launcher and words[0] != "Z":
            found.append(int(folder.name))
    return found


SCRATCH = {"model": "base_cnn", "image_size": 16, "epochs": 12, "views": 1, "batch_size": 16}
SCRATCH |= {"optimizer": "sgd", "learning_rate": 0.02, "weight_decay": 1e-4}


@pytest.mark.slow
def test_workers_killed_at_random_moments_are_started_again_and_end_with_the_same_run(
    digits, tmp_path
):
    train = ["-m", "graft", "train", digits, *options_of(SCRATCH)]
    whole, broken, chance = tmp_path / "whole", tmp_path / "broken", random.Random(5)
    code, errors = torchrun(3, *train, "--out", whole)
    assert code == 0, errors
    every = {"GRAFT_CHECKPOINT_SECONDS": "0"}
    killed = 0
    with started(3, *train, "--out", broken, restarts=8, **every) as launched:
        try:
            while launched.poll() is None and killed < 6:
                # Half of them once there is a checkpoint, the others at any moment.
                until = time.monotonic() + chance.uniform(0.5, 12)
                while launched.poll() is None and time.monotonic() < until:
                    if killed % 2 and (broken / ".fit.safetensors").exists():
                        break
                    time.sleep(0.01)
                if now := workers(launched.pid):
                    os.kill(chance.choice(now), signal.SIGKILL)
                    killed += 1
                    time.sleep(3)  # torchrun looks every second or so
            _, errors = launched.communicate(timeout=900)
        finally:
            if launched.poll() is None:
                os.killpg(launched.pid, signal.SIGKILL)
    assert launched.returncode == 0, errors
    assert killed >= 3
    assert_same_run(broken, whole, 1e-6)


@pytest.mark.slow
def test_a_run_resumes_with_another_number_of_processes_if_it_computes_the_same(
    digits, tmp_path, fit, monkeypatch
):
    monkeypatch.setenv("GRAFT_PRECISION", "float32")
    monkeypatch.setenv("GRAFT_CHECKPOINT_SECONDS", "0")
    whole = fit(digits, tmp_path / "whole", **SCRATCH)
    (whole.path / "report.html").touch()
    for sync in (True, False):
        settings, out = SCRATCH | {"sync_batch_norm": sync}, tmp_path / f"cut-{sync}"
        with monkeypatch.context() as patch:
            patch.setattr("graft.training.recipe.predict_splits", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                fit(digits, out, **settings)
        words = options_of(SCRATCH) + ["--no-sync-batch-norm"] * (not sync)
        code, errors = torchrun(2, "-m", "graft", "train", digits, *words, "--out", out, "--resume")
        if sync:
            assert code == 0, errors
            assert_same_run(out, whole.path, 1e-4)
        else:
            assert code == 1
            assert len(said(errors)) == 1, errors
            assert "was started with" in said(errors)[0]
            assert "processes 1, not 2" in said(errors)[0]
