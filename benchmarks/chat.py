"""Does the chat understand? Questions that were written apart from its examples, on both methods.

tests/chat/paraphrases.csv: each question with its intent, none for those off topic. The thresholds
were chosen on the examples and on tests/chat/dev_questions.csv, not on these.
"""

import csv
import itertools
import sys
import time
from collections.abc import Iterator, Set
from pathlib import Path

from benchmarks.common import show
from graft.chat.understanding import Understanding, examples

QUESTIONS = Path(__file__).parents[1] / "tests" / "chat" / "paraphrases.csv"
EXAMPLES = ("examples.csv", "more_examples.csv")
# What {class} stands for, in turn: names that are not those of the examples.
NAMES = ("daisy", "golden retriever", "coffee mug", "sunflower", "pine cone", "oak", "cat")


def questions(file: Path = QUESTIONS, but: Set[str] = frozenset()) -> Iterator[tuple[str, str]]:
    """(intent, question) of each line, the classes filled in, without those whose letters are
    `but`.
    """
    names = itertools.cycle(NAMES)
    with file.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            text = row["question"]
            while "{class}" in text:
                text = text.replace("{class}", next(names), 1)
            if letters(row["question"]) not in but:
                yield row["intent"], text


def letters(text: str) -> str:
    """A question without case, spaces and punctuation."""
    return "".join(c for c in text.lower() if c.isalnum())


def measured(method: str, file: Path = QUESTIONS) -> dict[str, float]:
    """How many questions on topic get the right intent, another one or none, and how many off
    topic are answered; and the milliseconds a question takes.
    """
    understanding = Understanding(NAMES, method)
    # A question that happens to be an example as well would tell nothing.
    known = {letters(text) for name in EXAMPLES for _, text in examples(name)}
    asked = list(questions(file, known))
    among = sum(1 for _ in questions(file)) - len(asked)
    start = time.perf_counter()
    found = [understanding.intent(text) for _, text in asked]
    spent = (time.perf_counter() - start) / len(asked)
    on = [(want, got) for (want, _), got in zip(asked, found, strict=True) if want]
    off = [got for (want, _), got in zip(asked, found, strict=True) if not want]
    if "--wrong" in sys.argv:
        for (want, text), got in zip(asked, found, strict=True):
            if (want or None) != got:
                print(f"{want or 'off topic':18} {got!s:18} {text}", file=sys.stderr)
    return {
        "among_the_examples": among,
        "on_topic": len(on),
        "right_intent": sum(want == got for want, got in on) / len(on),
        "another_intent": sum(got is not None and want != got for want, got in on) / len(on),
        "not_understood": sum(got is None for _, got in on) / len(on),
        "off_topic": len(off),
        "answered_off_topic": sum(got is not None for got in off) / max(len(off), 1),
        "milliseconds": 1000 * spent,
    }


def main() -> None:
    for method in ("minilm", "tfidf"):
        show("chat", method=method, **measured(method))


if __name__ == "__main__":
    main()
