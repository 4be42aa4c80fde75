"""What a training says, as the page shows it: of the lines that graft really writes."""

import io
import re
from contextlib import redirect_stderr
from pathlib import Path

import pytest

from graft.app.training_stage import stage_of
from graft.features import table
from graft.training import recorder
from graft.utils.progress import _Plain


def said(name, total, done, over=False):
    """The last line of a progress."""
    progress, told = _Plain(), io.StringIO()
    with redirect_stderr(told):
        progress.start(name, total)
        progress.last = -100.0
        progress.advance(done, "epoch 3: val accuracy 98.4%, loss 0.234")
        if over:
            progress.finish()
    return told.getvalue().splitlines()[-1]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (said("reading, checking, encoding", 1200, 40), ("reading", 40, 1200)),
        (said("encoding the rest", None, 7), ("reading", 7, None)),
        (said("reading, checking, encoding", 1200, 1200, over=True), ("reading", None, None)),
        (said("fitting", 2600, 1040), ("learning", 1040, 2600)),
        (said("fine-tuning", 260, 40), ("learning", 40, 260)),
        (said("fitting the head", 260, 169, over=True), ("reading", None, None)),
        (said("fitting", 260, 169, over=True), ("finishing", None, None)),
        ("graft: terminated; what was encoded is in the cache", ("starting", None, None)),
    ],
)
def test_the_last_line_that_counts_is_the_stage(line, expected):
    before = ["fitting: 3 of 9", "fitting: 9 done in 1.0 s", "graft: terminated; resume"]
    lines = [*before, "a note: with 2 of 3 words", line, "backend: openvino 2026.4 on CPU"]
    assert tuple(stage_of(lines).values()) == expected
    assert stage_of([])["stage"] == "starting"


def test_what_is_encoded_after_the_learning_belongs_to_its_end():
    lines = [said("fitting", 260, 169, over=True), said("encoding test", 40, 3)]
    assert stage_of(lines)["stage"] == "finishing"


def test_the_names_are_those_that_trainings_use():
    source = Path(table.__file__).read_text(encoding="utf-8")
    names = re.findall(r'"((?:reading|encoding|checking)[^"]*)"', source)
    assert names
    for name in (*names, *recorder.NAMES.values()):
        assert stage_of([f"{name}: 1 of 2"])["stage"] in ("reading", "learning"), name
