"""What a question gets: an answer with its evidence, or that it cannot be answered."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from graft.report import numbers


class CannotAnswerError(Exception):
    """Why a question that was understood has no answer here; its text is said to the user."""


@dataclass(frozen=True)
class Answer:
    """What is said to a question, and the evidence that it was said from.

    `intent` names what was asked, None where the question has no answer. Every number of `text` is
    in `evidence`, whose "how" says where it comes from. `shown` are images to look at, each with
    a caption.
    """

    intent: str | None
    text: str
    evidence: dict[str, Any]
    shown: tuple[tuple[str, Image.Image], ...] = field(default=(), repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """{"intent", "text", "evidence"}, as `graft chat --json` prints it."""
        return {"intent": self.intent, "text": self.text, "evidence": self.evidence}


def answer(
    sentences: Sequence[str],
    how: str,
    evidence: dict[str, Any],
    shown: Sequence[tuple[str, Image.Image]] = (),
) -> Answer:
    """An answer of sentences, the last of which says how it is known; empty ones are left out.

    Whoever calls the intent's function fills in its name.
    """
    text = " ".join(filter(None, [*sentences, how])).replace(" \n", "\n")
    return Answer("", text.replace(numbers.NBSP, " "), {**evidence, "how": how}, tuple(shown))


def percent(value: float | None) -> str:
    """`0.9426` as `94.3 %`."""
    said = numbers.percent(value).replace(numbers.NBSP, " ")
    return said.replace("> ", "over ").replace("< ", "under ")


def span(low: float | None, high: float | None) -> str:
    """An interval of fractions, `92.0 to 95.9 %`."""
    return numbers.span(low, high).replace(numbers.NBSP, " ")


def counted(value: int, noun: str, plural: str | None = None) -> str:
    """`1 image`, `2 images`."""
    return numbers.counted(value, noun, plural).replace(numbers.NBSP, " ")


def joined(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))
