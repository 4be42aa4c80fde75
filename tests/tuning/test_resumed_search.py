"""Searches that are killed, interrupted, resumed and shared: real processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from graft.tuning.space import space_text

GRAFT = str(Path(sys.executable).parent / "graft")
pytestmark = pytest.mark.slow


@pytest.fixture
def command(tmp_path, write_table, tiny):
    """The command of a search of the tiny space."""
    write_table(tmp_path / "table.csv")
    (tmp_path / "space.json").write_text(space_text(tiny))
    words = ["tune", "table.csv", "--space-file", "space.json", "--out", "run", "--budget", "20m"]
    return [GRAFT, *words, "--engine", "portfolio", "--resume", "--json"]


def started(command, folder):
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def trials(folder):
    return sorted((folder / "run" / "tune" / "trials").glob("*.safetensors"))


def wait_for_trials(process, folder, count):
    while len(trials(folder)) < count:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT])
def test_what_was_found_before_the_end_is_not_computed_again(command, tmp_path, tuned, by):
    process = started(command, tmp_path)
    wait_for_trials(process, tmp_path, 2)
    process.send_signal(by)
    _, said = process.communicate()
    assert process.returncode == (130 if by == signal.SIGINT else -signal.SIGKILL)
    if by == signal.SIGINT:
        assert "what was found is kept in run; --resume goes on from there" in said
    assert not (tmp_path / "run" / "metrics.json").exists()
    before = {file.name: file.stat().st_mtime_ns for file in trials(tmp_path)}
    process = started(command, tmp_path)
    out, said = process.communicate()
    assert process.returncode == 0, said
    after = {file.name: file.stat().st_mtime_ns for file in trials(tmp_path)}
    assert before.items() <= after.items()
    assert not list((tmp_path / "run" / "tune").glob(".*partial"))
    found = json.loads(out)
    assert found["winner_described"] == tuned.found["winner_described"]
    scores = {row["name"]: row["accuracy"] for row in tuned.found["trials"]}
    assert {row["name"]: row["accuracy"] for row in found["trials"]} == pytest.approx(scores)


def test_two_processes_share_a_search_and_one_of_them_fits_the_winner(command, tmp_path):
    first = started(command, tmp_path)
    wait_for_trials(first, tmp_path, 1)
    second = started(command, tmp_path)
    ended = [process.communicate() for process in (first, second)]
    assert first.returncode == second.returncode == 0, ended
    told = [line for _, said in ended for line in said.splitlines() if "; best so far" in line]
    assert len(told) == len(trials(tmp_path)), "a line a pass: none was computed twice"
    found = [json.loads(out) for out, _ in ended]
    assert sum("test" in one for one in found) == 1
    assert (tmp_path / "run" / "metrics.json").is_file()
    assert not (tmp_path / "run" / ".graft-run").exists()


def test_a_search_of_something_else_does_not_resume(command, tmp_path):
    process = started(command, tmp_path)
    wait_for_trials(process, tmp_path, 1)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    other = started([*command, "--seed", "7"], tmp_path)
    out, said = other.communicate()
    assert other.returncode == 2
    assert "begun with other settings" in said
    assert json.loads(out)["error"]["kind"] == "UsageError"
    # Without --resume it begins anew.
    anew = [word for word in command if word != "--resume"]
    again = started([*anew, "--seed", "7"], tmp_path)
    again.communicate()
    assert again.returncode == 0
