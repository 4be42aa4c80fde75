"""Questions at the end of a lesson, which a learner can fail.

check = Checks()
my_weights = None  # your turn: how many weights has the layer?
check.number("weights", my_weights, layer.weight.numel(), hint="One kernel looks at all channels.")

Each method takes the name of the question, the learner's answer and what is right, and gives a
Verdict, which a notebook shows: not answered yet (the answer is None), right, or a hint. It raises
nothing for any answer, and does not give the right one away. A cell has one question and ends in
its check; `check.tally()` stands in the last cell.
"""

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

OPEN, RIGHT, WRONG = "not answered yet", "right", "not right yet"
# Of the bar beside a verdict; the words have the page's own color, light or dark.
COLORS = {OPEN: "#8a9690", RIGHT: "#2f9e87", WRONG: "#d0703c"}
TRIES = 5
SHOWN = 60  # characters of an answer that is no answer


@dataclass(frozen=True)
class Verdict:
    """What a check says: `state` is OPEN, RIGHT or WRONG, `text` the hint or the reason."""

    name: str
    state: str
    text: str

    def __repr__(self) -> str:
        return f"{self.name}: {self.state}. {self.text}".strip()

    def _repr_html_(self) -> str:
        words = [html.escape(word) for word in (self.name, self.state, self.text)]
        return (
            f'<div style="border-left: 6px solid {COLORS[self.state]}; padding: .3em .8em">'
            f"<b>{words[0]}: {words[1]}.</b> {words[2]}</div>"
        )


class Checks:
    """The checks of one notebook, and how many of them are right so far.

    In all methods `hint` is what to think of after a wrong answer, and `because` says after a right
    one why it is right. `mistakes` gives answers that many give hints of their own.
    """

    def __init__(self) -> None:
        self.verdicts: dict[str, Verdict] = {}

    def number(
        self,
        name: str,
        answer: object,
        expected: float,
        *,
        hint: str,
        within: float = 1e-6,
        mistakes: Mapping[float, str] | None = None,
        because: str = "",
    ) -> Verdict:
        """A number that may differ from the expected one by `within`."""
        if answer is None:
            return self._open(name)
        value = _array(answer)
        if value is None or value.size != 1 or not np.isfinite(value).all():
            return self._wrong(name, f"Expected a number, got {_shown(answer)}.")
        found = float(value.reshape(-1)[0])
        if abs(found - float(expected)) <= within:
            return self._right(name, because)
        near = [text for wrong, text in (mistakes or {}).items() if abs(found - wrong) <= within]
        return self._wrong(name, near[0] if near else hint)

    def choice(
        self,
        name: str,
        answer: object,
        expected: str,
        *,
        among: Sequence[str],
        hint: str,
        mistakes: Mapping[str, str] | None = None,
        because: str = "",
    ) -> Verdict:
        """One of some words or letters; capitals and spaces around do not matter."""
        if answer is None:
            return self._open(name)
        chosen = str(answer).strip().lower()
        known = {word.lower(): word for word in among}
        if chosen not in known:
            listed = ", ".join(repr(word) for word in among)
            return self._wrong(name, f"Expected one of {listed}, got {_shown(answer)}.")
        if chosen == expected.lower():
            return self._right(name, because)
        return self._wrong(name, (mistakes or {}).get(known[chosen], hint))

    def shape(
        self,
        name: str,
        answer: object,
        expected: Sequence[int],
        *,
        hint: str,
        mistakes: Mapping[tuple[int, ...], str] | None = None,
        because: str = "",
    ) -> Verdict:
        """Whole numbers in order, such as a tensor's shape: (32, 111, 111)."""
        if answer is None:
            return self._open(name)
        value = _array(answer)
        if value is None or value.ndim != 1 or not (value == np.rint(value)).all():
            return self._wrong(
                name, f"Expected whole numbers such as (8, 10, 10), got {_shown(answer)}."
            )
        found, right = tuple(int(side) for side in value), tuple(int(side) for side in expected)
        if found == right:
            return self._right(name, because)
        if len(found) != len(right):
            return self._wrong(name, f"Expected {len(right)} numbers, got {len(found)}. {hint}")
        return self._wrong(name, (mistakes or {}).get(found, hint))

    def array(
        self,
        name: str,
        answer: object,
        expected: object,
        *,
        hint: str,
        within: float = 1e-4,
        because: str = "",
    ) -> Verdict:
        """Numbers in the shape of `expected`: lists, a NumPy array or a tensor."""
        if answer is None:
            return self._open(name)
        problem = _difference(answer, expected, within)
        return self._wrong(name, f"{problem} {hint}") if problem else self._right(name, because)

    def function(
        self,
        name: str,
        answer: object,
        reference: Callable[..., object],
        inputs: Callable[[np.random.Generator], tuple[Any, ...]],
        *,
        hint: str,
        within: float = 1e-4,
        because: str = "",
    ) -> Verdict:
        """A function that must agree with `reference` on random inputs.

        `inputs` draws the arguments of one call from a seeded generator, for both functions anew.
        A function that gives None is not written yet.
        """
        if answer is None:
            return self._open(name)
        if not callable(answer):
            return self._wrong(name, f"Expected a function, got {_shown(answer)}.")
        for seed in range(TRIES):
            arguments = inputs(np.random.default_rng(seed))
            described = ", ".join(_described(argument) for argument in arguments)
            try:
                found = answer(*arguments)
            except Exception as error:
                told = f"{type(error).__name__}: {str(error)[:200]}"
                return self._wrong(name, f"With {described} your function raises {told}. {hint}")
            if found is None:
                return self._open(name)
            expected = reference(*inputs(np.random.default_rng(seed)))
            if problem := _difference(found, expected, within):
                return self._wrong(name, f"With {described}: {problem} {hint}")
        return self._right(name, because)

    def that(
        self,
        name: str,
        answer: object,
        problem: Callable[[Any], str],
        *,
        hint: str,
        because: str = "",
    ) -> Verdict:
        """An answer of which there are many: `problem` gives what is wrong with it, or ""."""
        if answer is None:
            return self._open(name)
        try:
            found = problem(answer)
        except Exception:
            return self._wrong(name, f"{_shown(answer)} cannot be used as an answer. {hint}")
        return self._wrong(name, f"{found} {hint}") if found else self._right(name, because)

    def tally(self) -> Verdict:
        """How many of the questions asked so far are right, and which are not."""
        states = {name: verdict.state for name, verdict in self.verdicts.items()}
        right = sum(state == RIGHT for state in states.values())
        missing = [name for name, state in states.items() if state != RIGHT]
        text = f"{right} of {len(states)}"
        if not missing:
            return Verdict(text, RIGHT, "Well done.")
        return Verdict(text, RIGHT, f"To do: {', '.join(missing)}.")

    def _open(self, name: str) -> Verdict:
        return self._said(name, OPEN, "Put your answer in place of None, and run this cell again.")

    def _right(self, name: str, because: str) -> Verdict:
        return self._said(name, RIGHT, because)

    def _wrong(self, name: str, text: str) -> Verdict:
        return self._said(name, WRONG, text)

    def _said(self, name: str, state: str, text: str) -> Verdict:
        self.verdicts[name] = Verdict(name, state, text)
        return self.verdicts[name]


def _array(value: Any) -> NDArray[np.float64] | None:
    """The value as float64, None for what is no numbers: text, True, lists of unequal length."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    try:
        found = np.asarray(value)
    except (ValueError, TypeError):
        return None
    return found.astype(np.float64) if found.dtype.kind in "iuf" else None


def _difference(found: object, expected: object, within: float) -> str:
    """In what `found` differs from the expected numbers, in a sentence; "" for nothing."""
    value, right = _array(found), _array(expected)
    if right is None:
        raise TypeError(f"expected numbers to compare with, got {_shown(expected)}")
    if value is None:
        return f"Expected numbers, got {_shown(found)}."
    if value.shape != right.shape:
        return f"Expected the shape {right.shape}, got {value.shape}."
    if not np.isfinite(value).all():
        return "Some of your numbers are not finite."
    off = np.abs(value - right)
    if off.size and off.max() > within:
        count = int((off > within).sum())
        return f"{count} of {off.size} numbers differ, by {off.max():.3g} at most."
    return ""


def _shown(value: object) -> str:
    text = repr(value).replace("\n", " ")
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def _described(argument: Any) -> str:
    """An argument of a function: its shape, or itself."""
    shape = getattr(argument, "shape", ())
    return f"an array {tuple(shape)}" if len(shape) else _shown(argument)
