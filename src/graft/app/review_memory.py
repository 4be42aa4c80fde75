"""What step Check has to know after a restart: the accuracy that was last measured, by which
decisions and images, and the pass over test images that was begun.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from graft.app.json_routes import Record
from graft.utils.files import write_json

FILE = "review.json"


def read_memory(home: Path) -> Record:
    """`effect`, with the `digest` it was measured at, or None, and `test`, the images of the pass;
    as when nothing was done where there is none, or one that cannot be read: all is computed anew.
    """
    try:
        found = json.loads((home / FILE).read_text(encoding="utf-8"))
        return {"effect": found["effect"], "test": list(found["test"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {"effect": None, "test": []}


def write_memory(home: Path, effect: Record | None, test: list[Record]) -> None:
    """Keep both in the project folder."""
    write_json(home / FILE, {"effect": effect, "test": test})


def digest_of(images: Iterable[tuple[str, str]], decided: Mapping[str, str]) -> str:
    """Changes with the images (sha256, label), or what was decided about them."""
    told = json.dumps([sorted(images), sorted(decided.items())])
    return hashlib.sha256(told.encode()).hexdigest()


def next_pass(test: list[Record], fresh: list[Record], decided: Mapping[str, str]) -> list[Record]:
    """The test images to look at. A pass that is begun stays as it is, so that nothing moves; once
    all of it are decided about, those of a `fresh` list that it had not are added.
    """
    begun = [one for one in test if one["sha256"] in decided]
    if not begun:
        return fresh
    if len(begun) < len(test):
        return test
    had = {one["sha256"] for one in test}
    return [*test, *(one for one in fresh if one["sha256"] not in had)]
