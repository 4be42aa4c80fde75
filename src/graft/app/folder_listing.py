"""The folders of this machine, for the page on which one is chosen."""

import os
from pathlib import Path
from typing import Any

from graft.data.file_listing import is_hidden, is_image_name
from graft.errors import UsageError

MOST_LOOKED_AT = 5000  # entries of a folder that are counted


def folders_below(path: str) -> dict[str, Any]:
    """The folders right below a path ("": the user's own folder), and how many images lie there.

    Raises UsageError for a folder that is not there or cannot be listed.
    """
    folder = Path(path).expanduser().absolute() if path else Path.home()
    try:
        with os.scandir(folder) as entries:
            some = [entry for entry, _ in zip(entries, range(MOST_LOOKED_AT), strict=False)]
    except OSError as error:
        raise UsageError(f"{folder}: cannot be opened: {error.strerror}") from error
    shown = [entry for entry in some if not is_hidden(entry.name)]
    return {
        "path": str(folder),
        "parent": str(folder.parent) if folder.parent != folder else "",
        "folders": sorted((e.name for e in shown if e.is_dir()), key=str.casefold),
        "images": sum(is_image_name(e.name) for e in shown if not e.is_dir()),
    }
