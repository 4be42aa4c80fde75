"""Every text that a page or a script uses exists, and every one that exists is used."""

import json
import re

import pytest

from graft.app.run_list import FAILED, FINISHED, RUNNING, STOPPED
from graft.app.step_page import PAGES, STEPS, TEXTS, read_texts

TEMPLATE = re.compile(r"\{\{ (t|shell)\.(\w+)")
SCRIPT = re.compile(r"""\bt\(\s*(?:\w[\w.]*(?:\(.*?\))? \? )?"(\w+)"(?:\s*:\s*"(\w+)")?""")
SHARED = ("shell.js", "windowed_grid.js", "run_choice.js", "webcam.js")


def used(step):
    """The keys that the page and the scripts of a step use."""
    found = set()
    page = PAGES / f"{step}_page.html"
    for file in (page, PAGES / "shell.html", *sorted(PAGES.glob(f"{step}_*.html"))):
        if file.exists():
            found |= {key for of, key in TEMPLATE.findall(file.read_text()) if of == "t"}
    if step == "train":  # t(`state_${run.state}`)
        found |= {f"state_{state}" for state in (RUNNING, STOPPED, FAILED, FINISHED)}
    for file in PAGES.glob(f"{step}_*.js"):
        found |= {key for pair in SCRIPT.findall(file.read_text()) for key in pair if key}
    return found


def used_by_all():
    found = {
        key
        for f in PAGES.glob("*.html")
        for of, key in TEMPLATE.findall(f.read_text())
        if of == "shell"
    }
    for name in SHARED:
        found |= {key for pair in SCRIPT.findall((PAGES / name).read_text()) for key in pair if key}
    return found | {f"step_{step}" for step in STEPS}


@pytest.mark.parametrize("step", STEPS)
def test_a_step_has_the_texts_that_it_uses_and_no_others(step):
    texts = read_texts()
    own, shared = set(texts[step]), set(texts["shell"])
    assert used(step) - own - shared == set()
    assert own - used(step) == set()
    assert own & shared == set(), "a text of the step would hide one of all pages"


def test_what_all_pages_share_has_its_texts():
    assert used_by_all() - set(read_texts()["shell"]) == set()


def test_plural_forms_are_those_of_the_language():
    for file in (TEXTS / "en").glob("*.json"):
        for key, value in json.loads(file.read_text()).items():
            if isinstance(value, dict):
                assert set(value) == {"one", "other"}, key
            else:
                assert "{count}" not in value, f"{key} has a count and one form"


def test_no_text_has_the_name_of_a_dicts_method():
    # Templates would show the method instead.
    names = {key for texts in read_texts().values() for key in texts}
    assert {name for name in names if hasattr(dict, name)} == set()
