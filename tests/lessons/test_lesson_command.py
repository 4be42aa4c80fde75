import json
import os
import subprocess
import sys

import pytest

from graft.lessons.catalog import lessons, notebooks_folder

FIRST = "01-images-are-numbers.ipynb"


def test_the_list_names_every_notebook_with_what_it_teaches(graft_here):
    ended = graft_here("lesson")
    files = sorted(notebooks_folder().glob("*.ipynb"))
    assert ended.code == 0
    assert len(files) == len(lessons()) == len(json.loads(graft_here("lesson", "--json").out))
    for lesson in lessons():
        about = json.loads(lesson.file.read_text())["metadata"]["graft"]
        assert f"{lesson.number:>2}  {lesson.title} ({about['minutes']} min)" in ended.out
        assert about["teaches"] in ended.out
        assert about["teaches"].endswith(".")
        assert f"Needs: {about['needs']}." in ended.out


def test_a_lesson_is_copied_as_it_is(graft_here, tmp_path):
    ended = graft_here("lesson", "1", "--out", tmp_path / "new" / "folder", "--no-open")
    copy = tmp_path / "new" / "folder" / FIRST
    assert copy.read_bytes() == (notebooks_folder() / FIRST).read_bytes()
    assert ended.out.startswith(f"written: {copy}\n")
    for way in ("jupyter lab", "code ", "Upload notebook", sys.executable):
        assert way in ended.out
    again = graft_here("lesson", "1", "--out", copy.parent, "--no-open")
    assert again.out.startswith(f"there already: {copy}\n")


def test_a_changed_copy_is_never_overwritten(graft_here, tmp_path):
    (tmp_path / FIRST).write_text("my work")
    ended = graft_here("lesson", "1", "--out", tmp_path, "--no-open")
    assert (tmp_path / FIRST).read_text() == "my work"
    assert ended.code == 0
    first = ended.out.splitlines()[0]
    assert first == f"kept your changed copy: {tmp_path / FIRST}; --out FOLDER makes a fresh one"
    told = json.loads(graft_here("lesson", "1", "--out", tmp_path, "--json").out)
    assert (told["state"], told["path"]) == ("kept", str(tmp_path / FIRST))


def test_a_lesson_that_there_is_not_is_refused_in_one_line(graft_here):
    ended = graft_here("lesson", "99")
    assert ended.code == 2
    assert ended.err == (
        f"graft: there is no lesson 99; the lessons are 1 to {len(lessons())} (graft lesson)\n"
    )


def other_python(folder, arguments):
    """`graft ARGUMENTS` by a Python in `folder`, as far as graft can tell."""
    program = (
        "import sys; sys.executable, sys.argv = sys.argv[1], ['graft', *sys.argv[2:]]; "
        "from graft.cli.main import run; run()"
    )
    words = [sys.executable, "-c", program, str(folder / "python"), *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, env=dict(os.environ))


def test_jupyter_takes_over_where_it_is_installed_beside_this_python(tmp_path):
    if os.name == "nt":
        pytest.skip("the stand-in for Jupyter is a shell script")
    jupyter = tmp_path / "bin" / "jupyter-lab"
    jupyter.parent.mkdir()
    jupyter.write_text('#!/bin/sh\necho "opened $1"\n')
    jupyter.chmod(0o755)
    ended = other_python(jupyter.parent, ["lesson", "1", "--out", tmp_path, "--open"])
    assert ended.stdout.splitlines() == [
        f"written: {tmp_path / FIRST}",
        f"opened {tmp_path / FIRST}",
    ]
    quiet = other_python(jupyter.parent, ["lesson", "1", "--out", tmp_path])
    assert "opened" not in quiet.stdout, "nobody sits before a pipe"
    assert "jupyter lab" in quiet.stdout


def test_without_jupyter_a_lesson_cannot_be_opened(tmp_path):
    ended = other_python(tmp_path, ["lesson", "1", "--out", tmp_path, "--open"])
    assert ended.returncode == 4
    assert "pip install jupyterlab" in ended.stderr
    assert not (tmp_path / FIRST).exists()


def test_the_list_needs_neither_torch_nor_numpy():
    program = (
        "import sys; from graft.lessons.catalog import lessons; lessons(); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert {"torch", "numpy", "matplotlib"}.isdisjoint(done.stdout.split())
    assert "graft.lessons.catalog" in done.stdout.split()
