"""Damaged files, archives and tables: named or refused, whatever their bytes; never a traceback,
never over 2 GB of memory, never a hang, and nothing of the user's is changed.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

WORKER = Path(__file__).with_name("fuzz_worker.py")


def ran(kind: str, folder: Path, seed: int, count: int) -> dict:
    command = [sys.executable, WORKER, kind, folder, str(seed), str(count)]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=900)
    # A crash ends with a negative number, a hang with 1. libtiff writes to stderr by itself.
    assert done.returncode == 0, f"seed {seed}: {done.stderr[-3000:]}"
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    found = json.loads(done.stdout)
    assert found["megabytes"] < 2000
    assert not found["changed"]
    return found


def of_images(folder: Path, seed: int, count: int) -> None:
    found = ran("images", folder, seed, count)
    bad = sum(found["kinds"].get(k, 0) for k in ("truncated", "unreadable", "oversized", "empty"))
    both = found["kinds"].get("two_labels", 0)
    assert found["usable"] + bad + both == count  # each file is used, or named
    assert 0.2 * count < bad < 0.95 * count


def of_sources(folder: Path, seed: int, count: int) -> None:
    found = ran("sources", folder, seed, count)
    assert found["ended"]["read"] + found["ended"]["refused"] == count
    assert found["ended"]["refused"] > 0.3 * count
    assert found["ended"]["more than a line"] == 0
    assert found["slowest"] < 20
    assert found["left"] == 0


def test_damaged_images_are_used_or_named(tmp_path: Path) -> None:
    of_images(tmp_path / "images", 0, 300)


def test_damaged_archives_and_tables_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
    of_sources(tmp_path / "sources", 0, 90)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
def test_ten_thousand_damaged_images_are_used_or_named(tmp_path: Path, seed: int) -> None:
    of_images(tmp_path / "images", seed, 1000)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
def test_a_thousand_damaged_archives_and_tables_are_read_or_refused(
    tmp_path: Path, seed: int
) -> None:
    of_sources(tmp_path / "sources", seed, 200)
