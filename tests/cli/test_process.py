"""What surrounds a process: closed and full streams, other encodings, signals, a full disk."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

GRAFT = str(Path(sys.executable).parent / "graft")
SMALL = ["--model", "base_cnn", "--image-size", "16", "--epochs", "2", "--views", "1"]


def shell(line, *arguments, **environment):
    """A line of sh in which "$@" is `graft ARGUMENTS`."""
    done = subprocess.run(
        ["sh", "-c", line, "sh", GRAFT, *map(str, arguments)],
        capture_output=True,
        env=os.environ | environment,
        timeout=120,
    )
    return done.returncode, *(text.decode(errors="replace") for text in (done.stdout, done.stderr))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_answer_that_cannot_be_written_is_an_error(digits):
    code, _, err = shell('"$@" > /dev/full', "check", digits)
    assert (code, err.count("graft: "), "No space left on device" in err) == (1, 1, True), err
    code, _, err = shell('"$@" >&-', "check", digits)
    assert code == 1
    assert "stdout: it is closed" in err
    assert "Traceback" not in err


def test_whoever_reads_the_answer_may_leave(digits):
    code, out, err = shell('"$@" --json | head -c 20', "check", digits)
    assert (code, len(out)) == (0, 20)
    assert "Traceback" not in err


def test_a_closed_stderr_leaves_stdout_clean(digits):
    code, out, _ = shell('"$@" 2>&-', "check", digits, "--json")
    assert (code, json.loads(out)["images"]) == (0, 120)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_names_are_printed_whatever_the_encoding_of_stdout(tmp_path, make_digits, encoding):
    root = make_digits(tmp_path / "images", "01", each=10)
    (root / "0").rename(root / "Käse 猫")
    code, _, err = shell('"$@"', "check", root, PYTHONIOENCODING=encoding)
    assert (code, "Traceback" in err) == (0, False), err
    done = subprocess.run(
        [GRAFT, "check", str(root), "--json"],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": encoding},
        timeout=120,
    )
    assert json.loads(done.stdout.decode(encoding))["classes"] == {"1": 10, "Käse 猫": 10}


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]
)
def test_a_signal_ends_a_training_with_one_line_and_it_resumes(tmp_path, digits, number, code):
    out = tmp_path / "run"
    command = [GRAFT, "train", str(digits), *SMALL, "--epochs", "2000", "--out", str(out)]
    told = []
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            told.append(line)
            if line.startswith("reading"):
                process.send_signal(number)
    assert process.returncode == code, told
    assert "Traceback" not in "".join(told)
    assert "--resume" in told[-1]
    assert not list(out.glob(".*.partial"))


@pytest.fixture
def small_disk(make_small_disk):
    return make_small_disk(3)


@pytest.mark.parametrize("what", ["cache", "run", "page"])
def test_a_full_disk_is_one_line_and_nothing_is_half_written(
    small_disk, tmp_path, digits, graft, finished, what
):
    (small_disk / "mine.txt").write_text("mine")
    fill = small_disk / "filled"
    with fill.open("wb") as stream:
        stream.write(bytes(os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_bsize))
    train = ["train", digits, *SMALL, "--out"]
    if what == "cache":
        ended = graft(*train, tmp_path / "run", GRAFT_CACHE=str(small_disk / "cache"))
    elif what == "run":
        ended = graft(*train, small_disk / "run")
    else:
        image = next((digits / "1").iterdir())
        ended = graft("predict", finished, image, "--html", small_disk / "page.html")
    # Of the cache it is known before that it has no room, which is wrong usage.
    assert ended.code == (2 if what == "cache" else 1), ended.err
    errors = [line for line in ended.err.splitlines() if line.startswith("graft:")]
    assert len(errors) == 1
    if what == "cache":
        assert "too much for the 0 GB that the disk has left" in errors[0]
    else:
        assert "No space left on device" in errors[0]
        assert str(small_disk) in errors[0], "it says where"
    assert "Traceback" not in ended.err
    left = {file.name: file.stat().st_size for file in small_disk.rglob("*") if file.is_file()}
    assert (small_disk / "mine.txt").read_text() == "mine"
    assert set(left) <= {"mine.txt", "filled", ".graft-run", ".lock"}, left
    fill.unlink()
    if what == "run":
        assert graft(*train, small_disk / "run", "--resume").code == 0
