"""How pages write numbers. None and NaN, where nothing was measured, are an en dash."""

import json
import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

NOTHING = "–"
NBSP = "\u00a0"  # keeps a number and its unit on one line


def measured(value: float | None) -> float | None:
    """The number, or None where nothing was measured."""
    return value if value is not None and math.isfinite(value) else None


def percent(value: float | None) -> str:
    """`0.9426` as `94.3 %`. Never rounds up to 100 or down to 0."""
    if (fraction := measured(value)) is None:
        return NOTHING
    if 0 < fraction < 0.0005:
        return f"<{NBSP}0.1{NBSP}%"
    if 0.9995 <= fraction < 1:
        return f">{NBSP}99.9{NBSP}%"
    return f"{_hundredths(fraction)}{NBSP}%"


def _hundredths(fraction: float) -> str:
    # An interval's end may miss 1 by its last bit, which is no reason to write 100.0.
    return f"{100 * fraction:.0f}" if round(fraction, 9) in (0, 1) else f"{100 * fraction:.1f}"


def points(value: float | None) -> str:
    """A difference of two fractions, `2.1 percentage points`."""
    difference = measured(value)
    return NOTHING if difference is None else f"{_hundredths(difference)} percentage points"


def span(low: float | None, high: float | None) -> str:
    """An interval of fractions, `92.0 to 95.9 %`."""
    first, last = measured(low), measured(high)
    if first is None or last is None:
        return NOTHING
    return f"{_hundredths(first)} to {_hundredths(last)}{NBSP}%"


def whole(value: int) -> str:
    """`12345` as `12,345`."""
    return f"{value:,}"


def counted(value: int, noun: str, plural: str | None = None) -> str:
    """`1 image`, `2 images`."""
    return f"{whole(value)}{NBSP}{noun if value == 1 else plural or noun + 's'}"


def decimal(value: float | None) -> str:
    """A loss or a rate, to about three figures."""
    if (number := measured(value)) is None:
        return NOTHING
    return f"{number:.3f}" if number == 0 or 0.01 <= abs(number) < 1000 else f"{number:.2g}"


def duration(value: float | None) -> str:
    """`0.42 s`, `42.3 s`, `2 min 5 s`, `1 h 12 min`."""
    if (seconds := measured(value)) is None:
        return NOTHING
    if seconds < 10:
        return f"{seconds:.2f}{NBSP}s"
    if seconds < 99.95:
        return f"{seconds:.1f}{NBSP}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{NBSP}min {rest}{NBSP}s"
    return f"{minutes // 60}{NBSP}h {minutes % 60}{NBSP}min"


def moment(text: str) -> str:
    """An ISO time as people write it; anything else as it is."""
    try:
        return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M %Z}".strip()
    except ValueError:
        return text


def quoted(name: str) -> str:
    """A name within a sentence, in quotes; a long one is cut."""
    return f"“{name if len(name) <= 60 else name[:59] + '…'}”"


def listed(items: Iterable[str], most: int = 5) -> str:
    """`a`, `a and b`, `a, b and c`, `a, b and 7 more`."""
    names = [quoted(item) for item in items]
    if len(names) > most:
        names = [*names[: most - 1], f"{whole(len(names) - most + 1)} more"]
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def flat(record: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """A JSON object as rows of a table: `{"a": {"b": 1}}` is `("a · b", "1")`."""
    rows: list[tuple[str, str]] = []
    for key, value in record.items():
        name = before + key.replace("_", " ")
        if isinstance(value, Mapping):
            rows += flat(value, name + " · ")
        else:
            rows.append((name, _plain(value)))
    return rows


def _plain(value: Any) -> str:
    match value:
        case None | "" | []:
            return NOTHING
        case bool():
            return "yes" if value else "no"
        case int():
            return str(value)
        case float():
            return f"{value:.6g}"
        case str():
            text = value
        case list() if not any(isinstance(item, list | dict) for item in value):
            text = ", ".join(_plain(item) for item in value)
        case _:
            text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 240 else text[:239] + "…"
