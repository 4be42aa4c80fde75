"""Runs that end at any moment, by any signal or on a full disk: nothing of the user's changes,
nothing is half-written, and resuming gives the run that was never cut off.
"""

import csv
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors import safe_open

from graft.runs.folder import FILES, UNFINISHED

GRAFT = str(Path(sys.executable).parent / "graft")
SMALL = ["--model", "base_cnn", "--image-size", "16", "--epochs", "4", "--views", "1"]
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
# What the shells say of these; Python itself ends by the signal while it starts.
CODES = {0, *(-number for number in SIGNALS), *(128 + number for number in SIGNALS)}
SHORT_AND_LONG = [3, pytest.param(50, marks=pytest.mark.slow)]


def digests(folder):
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def check_whole(folder):
    """Each file of a run or cache that bears its final name can be read to its end."""
    for file in (file for file in folder.rglob("*") if file.is_file()):
        if file.name.startswith(".") and file.suffix != ".safetensors":
            continue
        if file.suffix == ".safetensors" and not file.name.startswith(".tmp"):
            with safe_open(file, "np") as opened:
                for name in opened.keys():  # noqa: SIM118
                    opened.get_tensor(name)
        elif file.suffix == ".json":
            json.loads(file.read_text())
        elif file.suffix == ".csv":
            lengths = {len(row) for row in csv.reader(file.open(newline=""))}
            assert len(lengths) == 1, file
        elif file.suffix == ".html":
            assert file.read_text().rstrip().endswith("</html>"), file


def check_run(folder):
    if folder.exists():
        names = {file.name for file in folder.iterdir()}
        assert not [n for n in names if n not in FILES and not UNFINISHED.fullmatch(n)], names
        check_whole(folder)


@pytest.fixture
def mine(tmp_path, digits):
    """A folder of the user's: images, a table beside them, notes."""
    folder = tmp_path / "mine"
    shutil.copytree(digits, folder / "images")
    images = sorted((folder / "images").rglob("*.png"))
    rows = [f"{file.relative_to(folder)},{file.parent.name}" for file in images]
    (folder / "dataset.csv").write_text("\n".join(["image,label", *rows]) + "\n")
    (folder / "report.html").write_text("<p>mine</p>")
    return folder


@pytest.mark.parametrize("pairs", SHORT_AND_LONG)
def test_runs_killed_in_pairs_on_one_cache_lose_nothing(tmp_path, mine, pairs):
    before, chance = digests(mine), random.Random(pairs)
    environment = os.environ | {"GRAFT_CACHE": str(tmp_path / "cache")}
    environment |= {"GRAFT_CHECKPOINT_SECONDS": "0"}

    def begun(out, *more):
        command = [GRAFT, "train", str(mine / "dataset.csv"), *SMALL, "--out", str(out), *more]
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    started = time.monotonic()
    whole = begun(tmp_path / "whole")
    assert whole.communicate()[1].count("Traceback") == whole.returncode == 0
    usual = time.monotonic() - started
    ends = []
    for number in range(pairs):
        folders = [tmp_path / f"{name}-{number // 5}" for name in "ab"]
        both = [begun(folder, "--resume") for folder in folders]
        for process in chance.sample(both, 2):
            time.sleep(chance.uniform(0, 0.8 * usual))
            process.send_signal(chance.choice(SIGNALS))
        for process in both:
            _, told = process.communicate(timeout=120)
            ends.append(process.returncode)
            if "holds a finished run" not in told:  # it was faster than the kill, the last time
                assert process.returncode in CODES, told
        for folder in folders:
            check_run(folder)
        assert digests(mine) == before
    assert len(set(ends)) > 1, "some were killed"
    check_whole(tmp_path / "cache")
    for folder in sorted(tmp_path.glob("[ab]-*")):
        if not (folder / "report.html").exists():
            last = begun(folder, "--resume")
            told = last.communicate()[1]
            assert last.returncode == 0, told
        for name in ("model.safetensors", "predictions.csv", "dataset.csv"):
            assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
        assert not list(folder.glob(".*"))
    assert digests(mine) == before


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MB of its own."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("times", [4, pytest.param(50, marks=pytest.mark.slow)])
def test_a_disk_that_is_full_at_some_moment_loses_nothing(
    small_disk, mine, graft_here, monkeypatch, times
):
    chance, fill = random.Random(times), small_disk / "filled"
    own = shutil.copytree(mine, small_disk / "mine")
    before = digests(own)
    monkeypatch.setenv("GRAFT_CACHE", str(small_disk / "cache"))
    monkeypatch.setenv("GRAFT_CHECKPOINT_SECONDS", "0")
    train = ["train", own / "dataset.csv", *SMALL, "--out", small_disk / "run", "--resume"]
    codes = []
    for number in range(times):
        for name in ("run", "cache")[number % 2 :]:  # with features in the cache, and without
            shutil.rmtree(small_disk / name, ignore_errors=True)
        disk = os.statvfs(small_disk)
        room = chance.randrange(0, 2**20, 4096)
        fill.write_bytes(bytes(max(0, disk.f_bavail * disk.f_bsize - room)))
        ended = graft_here(*train)
        codes.append(ended.code)
        if ended.code:
            errors = [line for line in ended.err.splitlines() if line.startswith("graft:")]
            said = {1: "No space left on device", 2: "that the disk has left"}[ended.code]
            assert [said in error for error in errors] == [True], ended.err
        check_run(small_disk / "run")
        check_whole(small_disk / "cache")
        assert not list(small_disk.rglob(".*.partial"))
        assert digests(own) == before
        fill.unlink()
        again = graft_here(*train)
        assert again.code == 0 or "holds a finished run" in again.err, again.err
        shutil.rmtree(small_disk / "run")
    assert 1 in codes
    if times > 10:
        assert 0 in codes
