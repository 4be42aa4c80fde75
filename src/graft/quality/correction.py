"""A decision about an image or a class, what is possible, and which decisions hold together."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

DECISIONS = {
    "relabel": "the label was wrong; `new` is right",
    "keep_out": "no image to learn or to test on; left out",
    "keep": "looked at, and the label is right",
    "move": "moved to another class, which may be a new one",
    "delete": "taken out of its class; left out",
    "rename": "the class `old` is called `new`; about no single image, so without sha256",
    "undo": "the last decision on this image, or the last rename, is taken back",
}
TO_CLASS, OUT = ("relabel", "move"), ("keep_out", "delete")
# The two places where decisions are made: steps Images and Check of graft app.
SORTING, REVIEWING = ("move", "delete", "rename"), ("relabel", "keep", "keep_out")


@dataclass(frozen=True, slots=True)
class Correction:
    """A line of the journal; see quality/corrections.py. `when` is filled in by `append`."""

    decision: str
    sha256: str
    path: str
    old: str
    new: str
    when: str = ""

    @property
    def undone(self) -> "Correction":
        """The line that takes this one back."""
        return Correction("undo", self.sha256, self.path, self.new, self.old)


def fault_of(one: Correction) -> str:
    """What is wrong with a decision by itself; "" if nothing is."""
    if one.decision not in DECISIONS:
        return f"decision is one of {', '.join(DECISIONS)}, not {one.decision!r}"
    if any("\0" in text or text != text.encode(errors="replace").decode() for text in (
        one.path, one.old, one.new
    )):  # fmt: skip
        return "path, old and new are text without zeros or halves of surrogate pairs"
    about_class = one.decision == "rename" or (one.decision == "undo" and not one.sha256)
    if about_class != (not one.sha256) or (one.sha256 and not _is_digest(one.sha256)):
        return f"sha256 is 64 hexadecimal digits, empty for a rename, not {one.sha256!r}"
    changed = one.decision in (*TO_CLASS, "rename")
    # An image that lies in no class may be moved into one, or deleted.
    from_class = one.old or one.decision in ("move", "delete")
    if changed and not (from_class and one.new and one.old != one.new):
        return f"{one.decision} needs two classes, old and new, not {one.old!r} and {one.new!r}"
    if one.decision in OUT and (one.new or not from_class):
        return f"{one.decision} has a class in old and nothing in new"
    if one.decision == "keep" and (one.old != one.new or not one.old):
        return f"keep has the same class in old and new, not {one.old!r} and {one.new!r}"
    try:
        when = datetime.fromisoformat(one.when)
    except ValueError:
        when = None
    if when is None or when.tzinfo is None:
        return f"when is a time such as 2026-11-30T16:05:00+00:00, not {one.when!r}"
    return ""


def _is_digest(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")


class ContradictionError(Exception):
    """The number of a line, and what it contradicts."""


def standing_of(
    lines: Sequence[Correction], numbers: Sequence[int]
) -> tuple[list[Correction], list[int]]:
    """The decisions that hold, with their numbers; ContradictionError for one that cannot follow
    those before it.
    """
    kept: dict[int, Correction] = {}
    places: dict[str, list[int]] = {}  # by sha256, "" for renames
    for place, one in enumerate(lines):
        mine = places.setdefault(one.sha256, [])
        if one.decision == "undo":
            last = kept.get(mine[-1]) if mine else None
            if last is None or (one.old, one.new) != (last.new, last.old):
                raise ContradictionError(numbers[place], "there is no such decision to take back")
            del kept[mine.pop()]
        else:
            kept[place] = one
            mine.append(place)
    now: dict[str, str] = {}
    for place, one in kept.items():
        if one.decision == "rename":
            now = {sha: one.new if label == one.old else label for sha, label in now.items()}
            continue
        label = now.setdefault(one.sha256, one.old)
        if label != one.old:
            is_now = f"the label is {label!r}" if label else "the image is left out"
            raise ContradictionError(
                numbers[place],
                f"{one.path}: it says that the label was {one.old!r}, but by an earlier decision "
                f"{is_now}; take one of the two back",
            )
        now[one.sha256] = one.new
    return list(kept.values()), [numbers[place] for place in kept]
