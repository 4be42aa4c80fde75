"""The classes of a project that were made without images, kept in classes.json, and how each
change of them is taken back.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from graft.utils.files import write_json

FILE = "classes.json"
KEPT = 100  # changes that can be taken back


def read_classes(home: Path) -> list[str]:
    """Their names, in the order in which they were made."""
    return list(_read(home)["names"])


def write_classes(home: Path, names: Sequence[str], when: str) -> None:
    """Keep these names instead of those before, by a change of this moment (ISO 8601, UTC)."""
    found = _read(home)
    if list(names) != found["names"]:
        before = [*found["before"], {"when": when, "names": found["names"]}]
        write_json(home / FILE, {"names": list(names), "before": before[-KEPT:]})


def last_change(home: Path) -> str:
    """The moment of the last change that was not taken back; "" if there is none."""
    before = _read(home)["before"]
    return str(before[-1]["when"]) if before else ""


def names_before(home: Path) -> list[str]:
    """The names before the last change."""
    return list(_read(home)["before"][-1]["names"])


def take_back_change(home: Path) -> None:
    """Have the names again that were there before the last change."""
    *before, last = _read(home)["before"]
    write_json(home / FILE, {"names": last["names"], "before": before})


def _read(home: Path) -> dict[str, Any]:
    file = home / FILE
    if not file.exists():
        return {"names": [], "before": []}
    found = json.loads(file.read_text(encoding="utf-8"))
    # Older versions kept the names alone.
    return dict(found) if isinstance(found, dict) else {"names": found, "before": []}
