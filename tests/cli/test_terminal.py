"""What is printed: names cannot steer the terminal, and each answer is one line."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft.utils.progress import on_stderr
from graft.utils.terminal import json_line, one_line

HOSTILE = "\x1b[2Jab\ncd\x9b31m\u202e\u2028e'f\udcff"


@given(st.text() | st.text("\x1b\n\r\x07\x7f\x9b\u202e\ufeff\udcff\\ab"))
def test_any_text_becomes_one_line_without_controls(text):
    shown = one_line(text)
    assert shown.splitlines() in ([shown], [])
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", shown)
    if text.isprintable():
        assert shown == text
    line = json_line(json.dumps({"name": text}, ensure_ascii=False))
    assert line.splitlines() == [line]
    line.encode()


@given(st.text())
def test_json_says_the_same_when_it_is_escaped(text):
    assert json.loads(json_line(json.dumps(text, ensure_ascii=False))) == text


@pytest.fixture(scope="module")
def hostile(tmp_path_factory, make_digits):
    """A source whose classes and files have names that steer a terminal and break lines."""
    root = make_digits(tmp_path_factory.mktemp("hostile") / "images")
    (root / "0").rename(root / "zero\x1b[31m\nfake: 100 %")
    for file in list((root / "1").iterdir())[:30]:
        file.rename(file.with_name(f"{file.stem}\x1b]0;owned\x07\n{file.name}"))
    (root / "1" / "void\x1b[2J\n.png").write_bytes(b"")
    return root


def printed(ended):
    text = ended.out + ended.err
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", text), repr(text)
    return ended


@pytest.fixture(scope="module")
def hostile_run(hostile, graft_here, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "hostile"
    train = ["train", hostile, "--model", "base_cnn", "--image-size", "16", "--epochs", "2"]
    ended = printed(graft_here(*train, "--views", "1", "--out", out))
    assert ended.code == 0, ended.err
    assert r"zero\x1b[31m" in ended.out
    return out


def test_check_escapes_names(hostile, graft_here):
    ended = printed(graft_here("check", hostile))
    assert r"zero\x1b[31m\nfake: 100 %" in ended.out
    assert r"1/void\x1b[2J\n.png" in ended.out
    assert json.loads(printed(graft_here("check", hostile, "--json")).out)["images"] == 121


@pytest.mark.parametrize("verb", ["predict", "explain"])
def test_answers_are_a_line_an_image(hostile, hostile_run, graft_here, verb):
    files = sorted((hostile / "1").iterdir())[:3]
    image = next(file for file in files if "\n" in file.name and not file.name.startswith("void"))
    void = hostile / "1" / "void\x1b[2J\n.png"
    ended = printed(graft_here(verb, hostile_run, image, void))
    assert ended.code == 3
    assert ended.out.count("\n") == (1 if verb == "predict" else ended.out.count("\n    ") + 1)
    assert sum("void" in line for line in ended.err.splitlines()) == 1
    assert printed(graft_here(verb, hostile_run, image, "--json")).out.count("\n") == 1


def test_errors_are_one_line_whatever_they_name(graft_here, tmp_path):
    ended = printed(graft_here("check", tmp_path / "a\x1b[31m\nb"))
    assert (ended.code, ended.err.count("\n")) == (2, 1)


def test_progress_is_one_line_whatever_it_names(capsys):
    on_stderr().say(HOSTILE)
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert "\x1b" not in shown


@pytest.mark.parametrize(
    ("arguments", "code", "kind", "words"),
    [
        (["train", "nowhere"], 2, "UsageError", "no such folder"),
        (["train", "digits", "--model", "nonsense"], 4, "ModelError", "nonsense"),
        (["train", "digits", "--epochs", "x"], 2, "UsageError", "--epochs"),
        (["predict", "nowhere", "x.png"], 4, "ModelError", "model.json"),
    ],
)
def test_a_failure_is_an_object_for_whoever_asked_for_json(
    graft_here, arguments, code, kind, words
):
    ended = graft_here(*arguments, "--json")
    error = json.loads(ended.out)["error"]
    assert (ended.code, error["exit_code"], error["kind"]) == (code, code, kind)
    assert words in error["message"]
    assert error["message"] in ended.err
    assert ended.err.count("\n") == 1
