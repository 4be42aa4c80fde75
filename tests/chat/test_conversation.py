"""Talk as people talk: each question gets its answer, and every number of it has evidence."""

import json
import shutil

import pytest

import graft as package
from graft.chat.intents import INTENTS
from graft.chat.subject import Asked
from graft.errors import DataError, UsageError

# The issue's own questions, and what each asks for.
TALK = [
    ("What is it?", "what_is_it"),
    ("how sure?", "how_sure"),
    ("what else could it be?", "alternatives"),
    ("why?", "why"),
    ("where did you look?", "where_looked"),
    ("why not tulip?", "why_not"),
    ("what does it look like among your training images?", "nearest"),
    ("have you seen such an image?", "familiar"),
    ("what if I crop it?", "what_if"),
    ("and turn it?", "what_if"),
    ("and darker?", "what_if"),
    ("what if I cover the left half?", "what_if"),
    ("compare these two", "compare_images"),
    ("what do you confuse?", "confusions"),
    ("how good are you at tulips?", "class_quality"),
    ("and pine cones?", "class_quality"),
    ("how were you trained?", "how_trained"),
    ("on how many images?", "training_size"),
    ("how many parameters have you?", "parameters"),
    ("what is a convolution?", "term"),
    ("and pooling?", "term"),
    ("what is overfitting?", "term"),
    ("did you overfit?", "overfitting_check"),
    ("show filter 3", "show_filter"),
    ("what should I photograph next?", "photograph_next"),
    ("is anything wrong with my data?", "data_problems"),
    ("why 224?", "input_size"),
    ("can I trust you?", "trust"),
    ("show me your mistakes", "mistakes"),
    ("what network are you?", "architecture"),
    ("which classes do you know?", "classes"),
    ("how good are you?", "accuracy"),
    ("what can you do?", "help"),
    ("who painted this?", None),
    ("what color is it?", None),
    ("how many cats are in the image?", None),
]


def test_a_whole_conversation_gets_its_answers_each_number_with_evidence(talk, unfounded_numbers):
    for question, intent in TALK:
        answer = talk.ask(question)
        assert answer.intent == intent, question
        assert answer.text.endswith((".", "”")), question
        assert unfounded_numbers(answer) == [], (question, answer)
        json.dumps(answer.to_json(), allow_nan=False)
        assert "\u00a0" not in answer.text


def test_the_same_words_get_the_same_answers(flower_run, two_images):
    questions = [question for question, _ in TALK]
    first, second = (package.Chat(flower_run, two_images) for _ in range(2))
    said = [first.ask(question).to_json() for question in questions]
    assert said == [second.ask(question).to_json() for question in questions]


def test_every_intent_answers_on_a_run_with_a_frozen_backbone_too(
    frozen_run, digits, unfounded_numbers
):
    talk = package.Chat(frozen_run, [next((digits / name).iterdir()) for name in "01"])
    for name in INTENTS:
        answer = talk.answer(name, Asked(term="recall", classes=("1",) if "why" in name else ()))
        assert answer.intent == name
        if name not in ("help", "show_filter"):
            assert unfounded_numbers(answer) == [], answer


def test_a_follow_up_is_about_the_question_before(talk, two_images):
    talk.subject.focus = 0
    first = talk.ask("how sure are you?")
    second = talk.ask("and the second one?")
    assert [first.intent, second.intent] == ["how_sure", "how_sure"]
    assert first.evidence["image"] == str(two_images[0])
    assert second.evidence["image"] == str(two_images[1])
    assert talk.ask("why?").evidence["image"] == str(two_images[1]), "it stays the one talked about"
    assert talk.ask(f"what is {two_images[0].name}?").evidence["image"] == str(two_images[0])


def test_why_after_a_result_is_about_the_result(talk):
    assert talk.ask("how good are you at tulips?").intent == "class_quality"
    answer = talk.ask("why?")
    assert answer.intent == "confusions"
    assert answer.evidence["classes"] == ["tulip"]
    assert talk.ask("and roses?").evidence["classes"] == ["rose"]


def test_the_next_filter_follows_the_last(talk):
    assert talk.ask("show filter 7").evidence["filter"] == 7
    assert talk.ask("next filter").evidence["filter"] == 8
    assert talk.ask("and 3?").evidence["filter"] == 3


def test_what_cannot_be_answered_says_so_and_names_three_questions_that_can(flower_run):
    talk = package.Chat(flower_run)
    for question in ("What is the weather like?", "what is it?", "show filter 99", ""):
        answer = talk.ask(question)
        assert answer.intent is None
        offered = answer.evidence["could_ask"]
        assert len(offered) == 3
        for other in offered:
            assert f"“{other}”" in answer.text
            assert talk.ask(other).intent is not None, other
    assert "graft chat RUN IMAGE" in talk.ask("what is it?").text
    assert "filters 1 to 32" in talk.ask("show filter 99").text


def test_an_image_that_it_was_not_given_is_not_talked_about(talk):
    answer = talk.ask("what is image 7?")
    assert answer.intent is None
    assert "2 images" in answer.text


def test_a_file_that_is_no_image_gets_said(flower_run, tmp_path):
    (tmp_path / "a.jpg").write_text("no image")
    answer = package.Chat(flower_run, [tmp_path / "a.jpg"]).ask("what is it?")
    assert answer.intent is None
    assert "cannot read" in answer.text


def test_a_run_or_an_image_that_is_not_there_is_an_error(flower_run, tmp_path):
    with pytest.raises(DataError, match="expected a finished run"):
        package.Chat(tmp_path)
    with pytest.raises(UsageError, match=r"no_such\.jpg: no such image file"):
        package.Chat(flower_run, ["no_such.jpg"])


def test_a_run_without_its_training_features_says_that_it_cannot_compare(
    flower_run, two_images, tmp_path
):
    copy = tmp_path / "run"
    shutil.copytree(flower_run, copy)
    (copy / "neighbors.safetensors").unlink()
    talk = package.Chat(copy, two_images)
    assert talk.ask("what is it?").intent == "what_is_it"
    assert talk.ask("show similar training images").intent is None


def test_the_command_prints_one_object_a_question_and_keeps_the_context(
    flower_run, two_images, graft_here
):
    asked = ["--ask", "What is it?", "--ask", "and the second one?", "--ask", "how is the weather"]
    ended = graft_here("chat", flower_run, *two_images, *asked, "--json")
    assert ended.code == 0, ended.err
    found = [json.loads(line) for line in ended.out.splitlines()]
    assert [each["intent"] for each in found] == ["what_is_it", "what_is_it", None]
    assert all(set(each) == {"intent", "text", "evidence"} for each in found)
    assert [each["evidence"].get("image") for each in found[:2]] == [str(i) for i in two_images]


def test_the_command_reads_questions_from_a_pipe(flower_run):
    import os
    import subprocess
    import sys
    from pathlib import Path

    command = [Path(sys.executable).parent / "graft", "chat", flower_run, "--understand", "tfidf"]
    done = subprocess.run(
        command,
        input="How good are you?\n\nwhat is recall\n",
        capture_output=True,
        text=True,
        env=os.environ,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "test images" in done.stdout
    assert "Recall:" in done.stdout


def test_a_model_needs_an_address_and_an_address_a_model(flower_run, graft_here):
    ended = graft_here("chat", flower_run, "--llm", "http://localhost:1", "--ask", "hi")
    assert ended.code == 2
    assert "--llm-model" in ended.err
