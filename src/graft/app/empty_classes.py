"""The classes of a project that were made without images, kept in classes.json."""

import json
from collections.abc import Sequence
from pathlib import Path

from graft.utils.files import write_json

FILE = "classes.json"


def read_classes(home: Path) -> list[str]:
    """Their names, in the order in which they were made."""
    file = home / FILE
    return list(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else []


def write_classes(home: Path, names: Sequence[str]) -> None:
    """Keep these names instead of those before."""
    write_json(home / FILE, list(names))
