"""Brace notation for many files, shard-{000..099}.tar, as shells and WebDataset write it."""

import re
from collections.abc import Sequence
from itertools import product

from graft.errors import UsageError

MOST_NAMES = 1_000_000
_BRACES = re.compile(r"\{([^{}]*(?:,|\.\.)[^{}]*)\}")
_RANGE = re.compile(r"(\d{1,9})\.\.(\d{1,9})", re.ASCII)


def has_braces(text: str) -> bool:
    """Whether a text names several files by a range or by alternatives in braces."""
    return any(_alternatives(inner) for inner in _BRACES.findall(text))


def expanded(text: str) -> list[str]:
    """The names that a text with ranges ({000..099}) and alternatives ({train,val}) stands for, in
    order; the text alone if it has none. Braces that hold neither stay as they are.

    Raises UsageError for more than MOST_NAMES.
    """
    pieces: list[list[str] | range | str] = []
    widths: list[int] = []
    count, end = 1, 0
    for found in _BRACES.finditer(text):
        inner = _alternatives(found[1])
        if not inner:
            continue
        pieces += [text[end : found.start()], inner]
        widths.append(_width(found[1]))
        count, end = count * len(inner), found.end()
        if count > MOST_NAMES:
            raise UsageError(f"{text}: stands for more than {MOST_NAMES:,} names")
    fixed, varied = [*pieces[::2], text[end:]], pieces[1::2]
    columns = [
        [f"{n:0{width}d}" if isinstance(n, int) else n for n in inner]
        for inner, width in zip(varied, widths, strict=True)
    ]
    return [_joined(fixed, chosen) for chosen in product(*columns)]


def _joined(fixed: Sequence[object], chosen: tuple[str, ...]) -> str:
    return "".join(f"{before}{name}" for before, name in zip(fixed, (*chosen, ""), strict=True))


def _alternatives(inner: str) -> list[str] | range:
    """What stands between two braces, each for itself; empty if that is no brace notation."""
    if found := _RANGE.fullmatch(inner):
        first, last = int(found[1]), int(found[2])
        return range(first, last + 1) if first <= last else range(first, last - 1, -1)
    return inner.split(",") if "," in inner else []


def _width(inner: str) -> int:
    """How many digits a range has at least: those of its longer end, if one begins with a zero."""
    ends = inner.split("..")
    padded = _RANGE.fullmatch(inner) and any(len(end) > 1 and end[0] == "0" for end in ends)
    return max(map(len, ends)) if padded else 1
