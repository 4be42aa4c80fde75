"""The wording of a question: its words, runs of words and pieces of words, and a linear support
vector machine on them that says which intent they belong to.
"""

import contextlib
import hashlib
import zipfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.utils.cache_folder import cache_folder
from graft.utils.files import replacing

Floats = NDArray[np.float64]

# How strictly the examples are kept to, and in how many of them a piece must be to count. Chosen on
# tests/chat/dev_questions.csv and by 4-fold cross-validation on the examples, those of like words
# in one fold: 1 gets 81.0 % right, 3 gets 82.2, 10 gets 82.3.
STRICTNESS, LEAST_EXAMPLES = 3.0, 2
PIECES = (2, 3, 4)
# What the weights depend on; if any of it changes, they are fitted again.
SOURCES = (
    "examples.csv",
    "more_examples.csv",
    "synonyms.csv",
    "understanding.py",
    "wording.py",
    "ngrams.py",
)


class Wordings:
    """Examples (N sentences in plain words, the same with one word for all synonyms, and their
    labels), learned: TF-IDF of `features` and a linear support vector machine.
    """

    def __init__(
        self, vectorizer: Any, labels: Sequence[str], weights: NDArray[np.float32]
    ) -> None:
        self.vectorizer, self.labels, self.weights = vectorizer, list(labels), weights

    def scores(self, said: str, concepts: str) -> Floats:
        """(K,) how well a question fits each of `labels`: 0 not at all, 1 like an example."""
        row = self.vectorizer.transform([(said, concepts)])
        margins = row @ self.weights[:-1] + self.weights[-1]
        return np.asarray((margins[0] + 1) / 2, dtype=np.float64)


def features(sentence: tuple[str, str]) -> list[str]:
    """What is counted of a sentence, in plain words and with synonyms as one word: one, two and
    three words, two with any word between, the first and the last ones, and pieces of 2 to 4
    letters of each word, which misspelled words share with the right ones.
    """
    said, concepts = sentence
    words = concepts.split()
    runs = [" ".join(words[i : i + n]) for n in (1, 2, 3) for i in range(len(words) - n + 1)]
    skips = [f"{a} * {b}" for a, b in zip(words, words[2:], strict=False)]
    ends = ["^" + " ".join(words[:1]), "^" + " ".join(words[:2]), " ".join(words[-2:]) + "$"]
    return [*runs, *skips, *ends, *_pieces(concepts, "~"), *_pieces(said, "-")]


def _pieces(sentence: str, mark: str) -> list[str]:
    padded = [f" {word} " for word in sentence.split()]
    return [
        mark + word[i : i + size]
        for word in padded
        for size in PIECES
        for i in range(len(word) - size + 1)
    ]


def learned(labels: Sequence[str], sentences: Sequence[tuple[str, str]]) -> Wordings:
    """What examples teach."""
    from sklearn.svm import LinearSVC

    vectorizer = _vectorizer(None)
    counts = vectorizer.fit_transform(sentences)
    machine = LinearSVC(C=STRICTNESS, tol=0.01, random_state=0).fit(counts, labels)
    weights = np.vstack([machine.coef_.T, machine.intercept_]).astype(np.float32)
    return Wordings(vectorizer, machine.classes_.tolist(), weights)


def kept() -> Wordings | None:
    """What was learned before from the same examples, if it is in the cache."""
    try:
        with _file().open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            vectorizer = _vectorizer(stored["features"].tolist())
            vectorizer.idf_ = stored["idf"]
            return Wordings(vectorizer, stored["labels"].tolist(), stored["weights"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def keep(found: Wordings) -> None:
    """Puts what was learned into the cache."""
    names = found.vectorizer.get_feature_names_out().astype(str)
    # A cache that cannot be written costs the next chat some seconds, and no answer.
    with contextlib.suppress(OSError), replacing(_file()) as beside, beside.open("wb") as stream:
        np.savez(
            stream,
            features=names,
            idf=found.vectorizer.idf_,
            labels=np.array(found.labels),
            weights=found.weights,
        )


def _vectorizer(vocabulary: list[str] | None) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        analyzer=features,
        sublinear_tf=True,
        min_df=LEAST_EXAMPLES,
        vocabulary=vocabulary,
        dtype=np.float64,
    )


def _file() -> Path:
    import sklearn

    digest = hashlib.sha256(sklearn.__version__.encode())
    for name in SOURCES:
        digest.update(files("graft.chat").joinpath(name).read_bytes())
    return cache_folder() / "chat" / f"{digest.hexdigest()[:16]}.npz"
