"""Run folders edited at random: never a traceback, a connection or 2 GB of memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EDITOR = Path(__file__).with_name("edit_runs.py")
MOST_MEMORY = 2 * 2**30

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs pipes and devices")


def edited(run, source, count, *more):
    done = subprocess.run(
        [sys.executable, EDITOR, run, source, str(count), *more],
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["edits"] >= count
    # Were all refused, or none, the edits would be no test.
    assert min(found["refused"], found["read"]) > count / 2
    assert found["connections"] == []
    assert found["peak"] < MOST_MEMORY
    return found


def test_a_run_edited_at_random_is_read_or_refused_in_a_line(finished, digits):
    edited(finished, digits, 60)


@pytest.mark.slow
def test_500_random_edits_and_every_way_to_read_them(finished, digits):
    edited(finished, digits, 500, "whole")
