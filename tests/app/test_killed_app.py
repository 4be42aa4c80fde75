"""What is left of `graft app` when it is killed: nothing that it began but a training, which goes
on and is there again when the app is started anew.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from app_client import GRAFT, Client, served

import graft

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="needs /proc, which lists processes"
)

STARTER = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[2]], stdin=subprocess.PIPE)
print(child.pid, flush=True)
child.wait()
"""
CHILD = """
import sys, time
from pathlib import Path
from graft.utils.parent_watch import end_with_parent
end_with_parent()
half = Path(sys.argv[1])
import signal
signal.signal(signal.SIGTERM, lambda *_: (half.unlink(), sys.exit()))
half.write_text("half-written")
time.sleep(600)
"""


def is_alive(pid):
    """Whether a process runs; one that has ended and was not asked about does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.1)


def test_a_process_ends_with_the_one_that_started_it_in_its_own_order(tmp_path):
    half = tmp_path / "half"
    command = [sys.executable, "-c", STARTER, CHILD, str(half)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starter:
        child = int(starter.stdout.readline())
        wait_until(half.exists)
        assert is_alive(child)
        starter.kill()
    wait_until(lambda: not is_alive(child))
    assert not half.exists()


def children(pid):
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return {int(each) for file in found for each in file.read_text().split()}


def program(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")


@pytest.mark.slow
def test_a_killed_app_leaves_a_training_which_the_next_one_finds_and_nothing_else(
    digits, finished, tmp_path
):
    source = shutil.copytree(digits, tmp_path / "digits")
    with graft.Project(source) as project:
        runs = project.runs
    shutil.copytree(finished, runs / "first")
    command = [GRAFT, "app", str(source), "--no-browser", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as app:
        client = Client(app.stdout.readline().split()[0])
        client.wait_until_read()
        client.json("/api/use/serve", {"run": "first"})

        def state():
            return client.json("/api/use/state?run=first")

        wait_until(lambda: state()["serving"]["state"] == "on", 300)
        address = state()["serving"]["address"]
        settings = {"model": "base_cnn", "image_size": 16, "epochs": 100_000, "flip": False}
        client.json("/api/train/start", {"settings": settings})
        wait_until(lambda: client.json("/api/train/running").get("epochs"), 300)
        client.json("/api/use/export", {"run": "first", "to": "openvino"})
        begun = children(app.pid)
        training = {pid for pid in begun if b"train" in program(pid)}
        assert len(training) == 1
        assert len(begun - training) >= 2, "the server and the export"
        os.kill(app.pid, signal.SIGKILL)
    try:
        wait_until(lambda: not any(map(is_alive, begun - training)), 60)
        with pytest.raises(OSError, match="refused"):
            urllib.request.urlopen(f"{address}/healthz", timeout=10)
        left = [file.name for file in (runs.parent / "exports").iterdir()]
        assert sorted(left) == [".first-openvino.json", ".first-openvino.log"]
        assert is_alive(*training)
        with served(source) as again:
            client = Client(again)
            assert client.json("/api/train/running")["name"] == "1"
            client.json("/api/train/stop", {"name": "1"})
            wait_until(lambda: not is_alive(*training))
            assert client.json("/api/train/runs")["runs"][0]["state"] == "stopped"
    finally:
        for pid in training:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)
