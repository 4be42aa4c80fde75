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

from graft.runs.folder import FILES, OPTIONAL, UNFINISHED

GRAFT = str(Path(sys.executable).parent / "graft")
SMALL = ["--model", "base_cnn", "--image-size", "16", "--epochs", "4", "--views", "1"]
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
# What the shells say of these; a process that was not yet asked to catch one ends by it.
CODES = {0, *(-number for number in SIGNALS), *(128 + number for number in SIGNALS)}
# Starts `graft ARGUMENTS` in processes that need not import PyTorch first: for a line of JSON with
# arguments and a file for stderr it says the process's ID, for an ID its exit code when it ends.
STARTER = """
import json, os, signal, sys
import graft.api, graft.report.run_page
from graft.cli.main import process
for line in sys.stdin:
    asked = json.loads(line)
    if isinstance(asked, int):
        print(os.waitstatus_to_exitcode(os.waitpid(asked, 0)[1]), flush=True)
        continue
    child = os.fork()
    if not child:
        try:
            os.dup2(os.open(asked[0], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.argv = ["graft", *asked[1:]]
            process()
        except KeyboardInterrupt:
            os._exit(130)
        finally:
            import traceback
            traceback.print_exc()
            os._exit(99)
    print(child, flush=True)
"""
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
            with file.open(newline="") as stream:
                assert len({len(row) for row in csv.reader(stream)}) == 1, file
        elif file.suffix == ".html":
            assert file.read_text().rstrip().endswith("</html>"), file


def check_run(folder):
    if folder.exists():
        names = {file.name for file in folder.iterdir()}
        assert not [
            n for n in names if n not in FILES + OPTIONAL and not UNFINISHED.fullmatch(n)
        ], names
        check_whole(folder)


@pytest.fixture
def mine(tmp_path, make_digits):
    """A folder of the user's: images, a table beside them, notes."""
    folder = tmp_path / "mine"
    make_digits(folder / "images", each=20)
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
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}

    def asked(question):
        starter.stdin.write(json.dumps(question) + "\n")
        starter.stdin.flush()
        return int(starter.stdout.readline())

    def begun(out):
        train = ["train", mine / "dataset.csv", *SMALL, "--resume", "--out", out]
        return asked([*map(str, (f"{out}.log", *train))])

    def ended(process, out):
        code, told = asked(process), Path(f"{out}.log").read_text()
        assert "Traceback" not in told, told
        return code, told

    with subprocess.Popen([sys.executable, "-c", STARTER], env=environment, **pipes) as starter:
        started = time.monotonic()
        assert ended(begun(tmp_path / "whole"), tmp_path / "whole")[0] == 0
        usual, ends = time.monotonic() - started, []
        for number in range(pairs):
            folders = [tmp_path / f"{name}-{number // 3}" for name in "ab"]
            both = [begun(folder) for folder in folders]
            for process in chance.sample(both, 2):
                time.sleep(chance.uniform(0, 0.8 * usual))
                os.kill(process, chance.choice(SIGNALS))
            for process, folder in zip(both, folders, strict=True):
                code, told = ended(process, folder)
                ends.append(code)
                assert code in CODES or "holds a finished run" in told, told
                check_run(folder)
            assert digests(mine) == before
        assert len(set(ends)) > 1, "some were killed"
        check_whole(tmp_path / "cache")
        for folder in (tmp_path / f"{name}-{n}" for n in range((pairs + 2) // 3) for name in "ab"):
            if not (folder / "report.html").exists():
                code, told = ended(begun(folder), folder)
                assert code == 0, told
            for name in ("model.safetensors", "predictions.csv", "dataset.csv"):
                assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
            assert not list(folder.glob(".*"))
        starter.stdin.close()
    assert digests(mine) == before
    Path(tmp_path / "ends.json").write_text(json.dumps(ends))


@pytest.fixture
def small_disk(make_small_disk):
    return make_small_disk(24)


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
    empty = os.statvfs(small_disk).f_bavail
    assert graft_here(*train).code == 0
    disk = os.statvfs(small_disk)
    needed = (empty - disk.f_bavail) * disk.f_bsize
    codes = []
    for number in range(times):
        for name in ("run", "cache")[: 1 + number % 2]:  # with features in the cache, and without
            shutil.rmtree(small_disk / name)
        disk = os.statvfs(small_disk)
        room = chance.randrange(0, 2 * needed, disk.f_bsize)
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
        if ended.code:
            again = graft_here(*train)
            assert again.code == 0, again.err
    assert 1 in codes
    assert digests(own) == before
