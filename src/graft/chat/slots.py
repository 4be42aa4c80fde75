"""What a question names: images, classes, changes of an image, a term, a number."""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from graft.chat.about_learning import terms
from graft.chat.subject import Asked
from graft.chat.wording import plain

ORDINALS = (
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
)
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
IMAGE = r"(?:image|photo|picture|pic|one|file|flower)"
# What people say for each change that graft.explanation.what_if knows; "brighter" it does not.
CHANGES = {
    "crop to the middle": r"\b(crop\w*|zoom\w*|cut\w*|trim\w*|border|closer|middle)\b",
    "turn left": r"\b(turn\w*|rotat\w*|tilt\w*|sideways|spin|90)\b",
    "upside down": r"upside.?down|on its head|\b180\b|\bheadstand\b",
    "mirror": r"\b(mirror\w*|flip\w*|reflect\w*)\b",
    "gray": r"\b(gr[ae]y\w*|black and white|colou?rless|monochrome|desaturat\w*)\b"
    r"|\b(no|without|remov\w*|take\w*|fewer|less|lose\w*) (the |its |any |all )*colou?rs?\b",
    "darken": r"\b(dark\w*|dim\w*|night|less light|shade|shadow|underexpos\w*)\b",
    "blur": r"\b(blur\w*|unsharp|out of focus|fuzzy|soften\w*|shak\w+)\b",
    "brighten": r"\b(bright\w*|more light|lighter|overexpos\w*)\b",
}
COVER = (
    r"\b(cover\w*|hid\w*|mask\w*|without|block\w*|missing|remov\w*|take away|taken away|half|"
    r"side|gone|cut|occlu\w*|top|bottom|upper|lower)\b"
)
SIDES = {
    "cover the left half": r"\bleft\b",
    "cover the right half": r"\bright (?:half|side|part)\b|\bright\b(?= ?$| is| was| hid| gone)",
    "cover the top half": r"\b(top|upper)\b",
    "cover the bottom half": r"\b(bottom|lower)\b",
}


def asked_in(text: str, classes: Sequence[str], images: Sequence[Path]) -> Asked:
    """What a question names, of these classes and images."""
    said = plain(text)
    named = images_in(text, said, images)
    # "image 2" says which image, not how many of anything.
    number = None if named and re.search(IMAGE, said) else number_in(said)
    return Asked(
        images=named,
        classes=tuple(name for name, _ in classes_in(said, classes)),
        changes=changes_in(said),
        term=term_in(said),
        number=number,
    )


def classes_in(said: str, classes: Sequence[str]) -> list[tuple[str, tuple[int, int]]]:
    """The classes that are named, each with its place, in the order of the text."""
    found: list[tuple[str, tuple[int, int]]] = []
    taken: list[tuple[int, int]] = []
    # The longest name first: "pine cone" is not "cone".
    for name in sorted(classes, key=len, reverse=True):
        for match in re.finditer(_pattern(name), said):
            # "filter 3" and "image 3" name no class "3".
            before = said[: match.start()].split()[-1:]
            counts = before and before[0] in _COUNTED and name.isdigit()
            if counts or any(a < match.end() and match.start() < b for a, b in taken):
                continue
            taken.append(match.span())
            found.append((name, match.span()))
    found.sort(key=lambda each: each[1])
    return [each for i, each in enumerate(found) if each[0] not in {n for n, _ in found[:i]}]


_COUNTED = {
    "filter",
    "kernel",
    "image",
    "photo",
    "picture",
    "channel",
    "layer",
    "top",
    "number",
    "first",
    "last",
    "epoch",
}


def changes_in(said: str) -> tuple[str, ...]:
    """The changes of an image that are named."""
    found = [name for name, words in CHANGES.items() if re.search(words, said)]
    covered = []
    if re.search(COVER, said):
        covered = [name for name, words in SIDES.items() if re.search(words, said)]
    if covered:
        found = [name for name in found if name != "crop to the middle"]
    if "upside down" in found:
        found = [name for name in found if name not in ("turn left", "mirror")]
    return tuple(found + covered)


def term_in(said: str) -> str | None:
    """The longest term that is named, by its slug; of two equally long, the first named."""
    known = _slugs()
    found = [
        (len(match[0].split()), -match.start(), match[0])
        for match in re.finditer(_any_term(), said)
    ]
    return known[max(found)[2]] if found else None


@cache
def _slugs() -> dict[str, str]:
    """The slug of each name of each term."""
    return {name: slug for slug, names in terms().items() for name in names}


@cache
def _any_term() -> re.Pattern[str]:
    """The name of any term as a whole word, the longest that fits."""
    names = sorted(_slugs(), key=len, reverse=True)
    return re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, names))})(?![\w-])")


def number_in(said: str) -> int | None:
    """The number that is named, as digits or as a word; None without one."""
    if match := re.search(r"(?<![\w.])(\d{1,4})(?![\w.%])", said):
        return int(match[1])
    words = said.split()
    for names in (ORDINALS, NUMBERS):
        for word in words:
            if word in names and word != "one":
                return names.index(word) + 1
    return None


def images_in(text: str, said: str, images: Sequence[Path]) -> tuple[int, ...]:
    """The places, from 0, of the images that are named by file, by number or as first, second."""
    found: list[tuple[int, int]] = []
    lowered = text.lower()
    for place, image in enumerate(images):
        for name in {image.name.lower(), image.stem.lower()}:
            match = re.search(rf"(?<!\w){re.escape(name)}(?!\w)", lowered)
            if match and len(name) > 1:
                found.append((match.start(), place))
                break
    for place, word in enumerate(ORDINALS):
        if match := re.search(rf"\b{word}(?: {IMAGE}\b|$)|\b{word}(?= (?:and|to|more|or)\b)", said):
            found.append((match.start(), place))
    for match in re.finditer(rf"\b{IMAGE}s? (?:number |no |nr )?(\d+|{'|'.join(NUMBERS)})\b", said):
        word = match[1]
        found.append((match.start(), _number(word) - 1))
    if not found and (
        match := re.search(r"\b(?:the )?(other|last|next)(?: one| image| photo|$)", said)
    ):
        last = len(images) - 1
        found.append((match.start(), 1 if match[1] == "other" and last > 0 else max(last, 0)))
    return tuple(dict.fromkeys(place for _, place in sorted(found) if place >= 0))


def _number(word: str) -> int:
    return int(word) if word.isdigit() else NUMBERS.index(word) + 1


def _pattern(name: str) -> str:
    """A class's name as people write it: any case, "_" and "-" as spaces, one or several."""
    words = re.sub(r"[_\W]+", " ", name.lower()).strip()
    ending = f"{re.escape(words)}(?:s|es|'s)?"
    if words.endswith("y"):
        ending = f"(?:{ending}|{re.escape(words[:-1])}ies)"
    if words.endswith("f"):
        ending = f"(?:{ending}|{re.escape(words[:-1])}ves)"
    if words.endswith("s") and len(words) > 3:
        ending = f"(?:{ending}|{re.escape(words[:-1])})"
    return rf"(?<![\w-]){ending}(?![\w-])"


def masked(said: str, classes: Sequence[str], stand_ins: Iterable[str]) -> str:
    """The question with its classes replaced, the first by the first stand-in and so on."""
    names = list(stand_ins)
    named = classes_in(said, classes)
    known = {name: names[min(i, len(names) - 1)] for i, (name, _) in enumerate(named)}
    for name in sorted(known, key=len, reverse=True):
        said = re.sub(_pattern(name), known[name], said)
    return said
