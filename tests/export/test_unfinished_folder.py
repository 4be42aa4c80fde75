"""What a killed export leaves is removed by the next one, unless somebody still writes in it."""

import subprocess
import sys

import pytest

from graft.export.unfinished_folder import unfinished
from graft.utils.progress import Progress

WRITES = """
import sys, time
from pathlib import Path
from graft.export.unfinished_folder import unfinished
from graft.utils.progress import Progress
with unfinished(Path(sys.argv[1]), Progress()) as folder:
    (folder / "model.onnx").write_bytes(b"half")
    print("writing", flush=True)
    time.sleep(600)
"""


class Heard(Progress):
    def __init__(self):
        self.said = []

    def say(self, message):
        self.said.append(message)


def writer(folder):
    """A process that writes in the unfinished folder of `folder`."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITES, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "writing\n"
    return process


def hidden(folder):
    return sorted(folder.parent.glob(".*"))


def fail_in(folder):
    with unfinished(folder, Progress()) as beside:
        assert beside.is_dir()
        assert not list(beside.iterdir())
        (beside / "index.html").write_text("half")
        raise KeyError


def test_the_folder_is_empty_and_gone_at_the_end_unless_it_got_its_name(tmp_path):
    folder = tmp_path / "new" / "page"
    with pytest.raises(KeyError):
        fail_in(folder)
    assert not list(folder.parent.iterdir())
    with unfinished(folder, Progress()) as beside:
        (beside / "index.html").write_text("whole")
        beside.rename(folder)
    assert [file.name for file in folder.parent.iterdir()] == ["page"]
    assert [file.name for file in folder.iterdir()] == ["index.html"]


def test_the_next_export_removes_what_a_killed_one_left_and_no_living_one(tmp_path):
    folder, heard = tmp_path / "page [1]", Heard()
    other = tmp_path / ".page [1] of mine.0123abcd.partial"
    other.mkdir()
    killed, lives = writer(folder), writer(folder)
    try:
        assert len(hidden(folder)) == 3
        with unfinished(folder, heard):
            assert not heard.said, "both live"
            assert len(hidden(folder)) == 4
        killed.kill()
        killed.wait()
        with unfinished(folder, heard):
            assert len(hidden(folder)) == 3
        assert len(heard.said) == 1
        assert ".partial, which an export left that was killed" in heard.said[0]
        assert len(hidden(folder)) == 2
        assert len(list(tmp_path.rglob("model.onnx"))) == 1, "of the one that lives"
    finally:
        for process in (killed, lives):
            process.kill()
            process.wait()
            process.stdout.close()
    with unfinished(folder, heard):
        pass
    assert hidden(folder) == [other]
    assert len(heard.said) == 2
