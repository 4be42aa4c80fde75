import numpy as np
import pytest
import torch

from graft.lessons.checks import OPEN, RIGHT, WRONG, Checks

HINT = "Think again."


@pytest.fixture
def check():
    return Checks()


def number(check, answer, **more):
    return check.number("weights", answer, 864, hint=HINT, **more)


@pytest.mark.parametrize(
    "answer", [864, 864.0, np.int64(864), np.array([864]), torch.tensor(864), 864 + 1e-9]
)
def test_a_right_number_is_right_in_every_form(check, answer):
    verdict = number(check, answer, because="3 × 3 × 3 × 32.")
    assert (verdict.state, verdict.text) == (RIGHT, "3 × 3 × 3 × 32.")


def test_a_wrong_number_gets_its_own_hint_or_the_common_one(check):
    mistakes = {896: "That is with the biases."}
    assert number(check, 896, mistakes=mistakes).text == "That is with the biases."
    verdict = number(check, 27, mistakes=mistakes)
    assert (verdict.state, verdict.text) == (WRONG, HINT)


@pytest.mark.parametrize(
    "answer", ["864", True, [1, 2], float("nan"), object(), [], {"a": 1}, np, len]
)
def test_what_is_no_number_is_named_and_raises_nothing(check, answer):
    verdict = number(check, answer)
    assert verdict.state == WRONG
    assert verdict.text.startswith("Expected a number, got ")
    assert "864." not in verdict.text


def test_a_number_may_be_as_far_off_as_is_said(check):
    assert number(check, 864.4, within=0.5).state == RIGHT
    assert number(check, 864.6, within=0.5).state == WRONG


def test_no_answer_is_neither_right_nor_wrong(check):
    none = [
        number(check, None),
        check.choice("a", None, "x", among="xy", hint=HINT),
        check.shape("b", None, (1, 2), hint=HINT),
        check.array("c", None, [1.0], hint=HINT),
        check.function("d", None, abs, lambda random: (1.0,), hint=HINT),
        check.function("e", lambda x: None, abs, lambda random: (1.0,), hint=HINT),
        check.that("f", None, lambda answer: "", hint=HINT),
    ]
    assert {verdict.state for verdict in none} == {OPEN}


@pytest.mark.parametrize(
    ("answer", "state", "text"),
    [
        ("b", RIGHT, ""),
        (" B ", RIGHT, ""),
        ("a", WRONG, HINT),
        ("c", WRONG, "Nearly."),
        ("d", WRONG, "Expected one of 'a', 'b', 'c', got 'd'."),
        (3, WRONG, "Expected one of 'a', 'b', 'c', got 3."),
    ],
)
def test_a_choice_is_one_of_the_words(check, answer, state, text):
    verdict = check.choice("which", answer, "b", among="abc", hint=HINT, mistakes={"c": "Nearly."})
    assert (verdict.state, verdict.text) == (state, text)


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ((8, 10, 10), RIGHT),
        ([8, 10, 10], RIGHT),
        (torch.Size((8, 10, 10)), RIGHT),
        ((8, 10, 11), WRONG),
        ((10, 10), WRONG),
        ((8, 10, 10.5), WRONG),
        ("8, 10, 10", WRONG),
        (8, WRONG),
    ],
)
def test_a_shape_is_whole_numbers_in_order(check, answer, state):
    verdict = check.shape("shape", answer, (8, 10, 10), hint=HINT)
    assert verdict.state == state
    assert "(8, 10, 10)" not in verdict.text or "such as" in verdict.text


def test_an_array_is_compared_number_by_number(check):
    right = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert check.array("a", [[1, 2], [3, 4]], right, hint=HINT).state == RIGHT
    wrong = check.array("a", [[1, 2], [3, 5]], right, hint=HINT)
    assert wrong.text == f"1 of 4 numbers differ, by 1 at most. {HINT}"
    flat = check.array("a", [1, 2, 3, 4], right, hint=HINT)
    assert flat.text == f"Expected the shape (2, 2), got (4,). {HINT}"
    assert check.array("a", [["x"]], right, hint=HINT).state == WRONG
    assert check.array("a", [[1, 2], [3]], right, hint=HINT).state == WRONG


def drawn(random):
    return random.normal(size=(4, 5)), 3


def test_a_function_must_agree_on_random_inputs(check):
    def ask(function):
        return check.function("f", function, lambda x, k: x.sum() * k, drawn, hint=HINT)

    assert ask(lambda x, k: k * x.mean() * x.size).state == RIGHT
    assert ask(lambda x, k: x.sum() * 2).text.startswith("With an array (4, 5), 3: 1 of 1 numbers")
    assert "your function raises ZeroDivisionError" in ask(lambda x, k: 1 / 0).text
    assert "your function raises TypeError" in ask(lambda x: x).text
    assert ask(lambda x, k: "text").state == WRONG
    assert ask(5).text == "Expected a function, got 5."


def test_a_function_that_changes_its_input_cannot_fool_the_reference(check):
    def cheat(x, k):
        x[:] = 0
        return 0.0

    assert check.function("f", cheat, lambda x, k: x.sum(), drawn, hint=HINT).state == WRONG


def test_an_open_question_tells_what_is_wrong_with_an_answer(check):
    def problem(kernel):
        return "" if sum(kernel) == 0 else "The numbers sum to something else than 0."

    assert check.that("kernel", [1, -1], problem, hint=HINT).state == RIGHT
    assert check.that("kernel", [1, 1], problem, hint=HINT).text.endswith(f"than 0. {HINT}")
    assert check.that("kernel", "text", problem, hint=HINT).text.startswith("'text' cannot be used")


def test_the_tally_counts_the_last_answer_to_each_question(check):
    assert number(check, 1).state == WRONG
    check.choice("which", None, "b", among="ab", hint=HINT)
    assert repr(check.tally()) == "0 of 2: right. To do: weights, which."
    number(check, 864)
    assert repr(check.tally()) == "1 of 2: right. To do: which."
    check.choice("which", "b", "b", among="ab", hint=HINT)
    assert repr(check.tally()) == "2 of 2: right. Well done."


def test_a_verdict_in_a_notebook_escapes_what_the_learner_wrote(check):
    page = check.choice("which", "<b>", "b", among="ab", hint=HINT)._repr_html_()
    assert "&lt;b&gt;" in page
    assert "<b>'" not in page
