"""Each lesson is run top to bottom in a kernel without network, then answered, wrong and right."""

import json
import re
import time
import tomllib

import nbformat
import pytest
from learner import BLANK, HERE, NOTEBOOKS, Learner, filled

from graft.lessons.catalog import INSTALL, lessons
from graft.lessons.checks import OPEN, RIGHT, WRONG

LESSONS = {lesson.file.stem: lesson for lesson in lessons()}
# Seconds of a processor that a lesson may take: on two free cores it takes no longer than that.
AT_MOST = 180
# The others take longer than ten seconds, or too long together: `make notebooks` runs them.
QUICK = ("01", "03")

each = pytest.mark.parametrize("name", LESSONS)
each_run = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name.startswith(QUICK) else pytest.mark.slow)
        for name in LESSONS
    ],
)


def answers(name):
    """The questions of a lesson, each with `right` and `wrong` answers, as Python text."""
    return tomllib.loads((HERE / "answers" / f"{name}.toml").read_text())


def asked(name):
    cells = nbformat.read(LESSONS[name].file, as_version=4).cells
    text = "\n".join(cell.source for cell in cells if BLANK.search(cell.source))
    return re.findall(r'check\.\w+\(\s*"([^"]+)"', text)


@each_run
def test_a_lesson_runs_from_top_to_bottom_and_tells_right_answers_from_wrong(
    name, offline, tmp_path, record_property
):
    learner = Learner(LESSONS[name].file, tmp_path)
    with learner.client.setup_kernel():
        began = time.perf_counter()
        learner.read()
        seconds, busy = time.perf_counter() - began, learner.processor_seconds()
        record_property("seconds", round(seconds, 1))
        print(f"\n{name}: {seconds:.0f} s, {busy:.0f} s of a processor")
        assert busy < AT_MOST
        for question, known in answers(name).items():
            assert learner.said(learner.question(question)).startswith(f"{question}: {OPEN}")
            for wrong in known["wrong"]:
                said = learner.answer(question, wrong)
                assert said.startswith(f"{question}: {WRONG}"), (wrong, said)
            said = learner.answer(question, known["right"])
            assert said.startswith(f"{question}: {RIGHT}"), said
        total = len(answers(name))
        assert (
            learner.run(len(learner.notebook.cells) - 1) == f"{total} of {total}: right. Well done."
        )


@each
def test_a_lesson_asks_three_to_six_questions_whose_answers_are_known(name):
    assert 3 <= len(asked(name)) <= 6
    assert sorted(asked(name)) == sorted(answers(name))
    assert all(known["wrong"] for known in answers(name).values())


@each
def test_a_lesson_is_stored_without_outputs_and_as_jupyter_writes_it(name):
    text = LESSONS[name].file.read_text()
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    assert nbformat.writes(notebook) == text.rstrip("\n")
    assert set(notebook.metadata) == {"graft", "kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert not cell.get("execution_count")


@each
def test_a_lesson_begins_with_its_title_its_badge_and_what_it_takes(name):
    lesson = LESSONS[name]
    cells = nbformat.read(lesson.file, as_version=4).cells
    first, rest = cells[0].source, "\n".join(cell.source for cell in cells[1:])
    badge = "https://colab.research.google.com/assets/colab-badge.svg"
    assert first.startswith(f"# {lesson.number} · {lesson.title}\n")
    assert f"[![Open in Colab]({badge})]({lesson.colab})" in first
    assert f"{lesson.minutes} minutes" in first
    assert f"%pip install -q {INSTALL}" in rest
    assert cells[-1].source.strip() == "check.tally()"


@each
def test_the_page_for_teachers_tells_what_the_notebook_tells(name):
    lesson, page = LESSONS[name], (NOTEBOOKS.parent / "docs" / "lessons.md").read_text()
    rows = [row.split(" | ") for row in page.splitlines() if row.startswith(f"| {lesson.number} |")]
    about, questions = rows
    assert about[1:5] == [lesson.title, lesson.teaches, lesson.needs, f"{lesson.minutes} min"]
    assert questions[2].removesuffix(" |").split(" · ") == asked(name)


@each
def test_the_text_of_a_lesson_links_to_nothing_that_is_not_there(name):
    cells = nbformat.read(LESSONS[name].file, as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        assert target.startswith("https://") or (NOTEBOOKS / target).exists(), target


def test_the_lessons_are_numbered_from_one_without_a_gap():
    assert [lesson.number for lesson in lessons()] == list(range(1, len(lessons()) + 1))


def test_the_network_is_cut_and_an_error_in_a_lesson_is_seen(offline, tmp_path):
    from nbclient.exceptions import CellExecutionError

    notebook = nbformat.v4.new_notebook()
    code = "import socket; socket.create_connection(('192.0.2.1', 80), 1)"
    notebook.cells = [nbformat.v4.new_code_cell(code)]
    file = tmp_path / "away.ipynb"
    file.write_text(json.dumps(notebook))
    with pytest.raises(CellExecutionError, match="the network is cut"):
        Learner(file, tmp_path).client.execute()


def test_an_answer_takes_the_place_of_its_none():
    assert filled("my_a = None  # your turn: how many?\ncheck", "3 * 3") == "my_a = 3 * 3\ncheck"
    source = "def my_f(x):\n    return None  # your turn\n"
    assert filled(source, "y = x\nreturn y") == "def my_f(x):\n    y = x\n    return y\n"
    assert filled(source, "x + 1") == "def my_f(x):\n    return x + 1\n"
