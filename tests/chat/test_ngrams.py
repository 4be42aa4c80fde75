"""The wording of questions: what is counted of it, what is learned from it, where it is kept."""

import numpy as np
import pytest

from graft.chat import ngrams
from graft.chat.understanding import _Fitted

EXAMPLES = {
    "hello there": "greeting",
    "hello again": "greeting",
    "how large is it": "size",
    "how very large": "size",
    "why is it so": "reason",
    "why so": "reason",
}


@pytest.fixture
def learned():
    """What the examples teach."""
    return ngrams.learned(list(EXAMPLES.values()), [(each, each) for each in EXAMPLES])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache folder of the test's own."""
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_sentence_is_counted_by_its_runs_of_words_and_pieces_of_words():
    found = ngrams.features(("how big", "how size"))
    assert {"how", "size", "how size", "^how", "^how size", "how size$"} <= set(found)
    assert {"- bi", "-big", "-ig "} <= set(found)
    assert {"~size", "~ze "} <= set(found)
    assert not any("big" in each for each in found if each.startswith("~"))


def test_a_misspelled_word_shares_most_pieces_with_the_right_one():
    right, wrong = (set(ngrams.features((each, each))) for each in ("convolution", "convoluton"))
    assert len(right & wrong) / len(right | wrong) > 0.5


def test_new_sentences_get_the_label_of_the_examples_they_are_like(learned):
    assert learned.labels == ["greeting", "reason", "size"]
    for text, label in (("well hello", "greeting"), ("how lareg is that", "size")):
        assert learned.labels[learned.scores(text, text).argmax()] == label


def test_what_was_kept_scores_as_what_was_learned(learned, folder):
    assert ngrams.kept() is None
    ngrams.keep(learned)
    again = ngrams.kept()
    assert again.labels == learned.labels
    for text in ("hello why", "how large", "nothing of the kind", ""):
        np.testing.assert_array_equal(learned.scores(text, text), again.scores(text, text))


def test_damaged_weights_are_learned_again(learned, folder):
    ngrams.keep(learned)
    (file,) = (folder / "chat").iterdir()
    whole = file.read_bytes()
    for damaged in (b"", b"no archive", whole[: len(whole) // 2]):
        file.write_bytes(damaged)
        assert ngrams.kept() is None
    assert "help" in _Fitted("tfidf").intents
    assert "help" in ngrams.kept().labels


def test_a_cache_that_cannot_be_written_costs_no_answer(learned, folder):
    folder.write_text("this is no folder", encoding="utf-8")
    ngrams.keep(learned)
    assert ngrams.kept() is None
