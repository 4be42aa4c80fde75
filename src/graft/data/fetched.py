"""What was fetched or unpacked for a source: removing it, and finding it without a network."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from graft.data.dataset import Example
from graft.data.remote_fetch import FETCHED, folder_of
from graft.data.tar_shards import INDEX
from graft.utils.files import write_text

_AT_HAND = ".at_hand.json"
# A longer list would take longer to write than it saves.
_MOST = 1_000_000


def remove_fetched(files: Iterable[Path], cache: Path) -> None:
    """Remove those of these image files that `load_dataset` fetched, or unpacked from a tar or a
    Parquet shard, below `cache`. Of a shard all images go at once; files of the user's, and those
    of an unpacked archive or a named data set, stay.
    """
    folders: set[Path] = set()
    for file in files:
        parts = file.relative_to(cache).parts if file.is_relative_to(cache) else ("",)
        if parts[0] not in (FETCHED, "unpacked"):
            continue
        if file.parent in folders:
            continue
        if file.suffix == ".img" or (file.parent / INDEX).is_file():
            folders.add(file.parent)
        elif parts[0] == FETCHED:
            file.unlink(missing_ok=True)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def note_at_hand(shown: str, examples: Iterable[Example], cache: Path) -> None:
    """Keep where the images of a remote source lie, for `at_hand`."""
    found = {
        example.path: str(example.file.relative_to(cache))
        for example in examples
        if example.file.is_relative_to(cache)
    }
    if len(found) <= _MOST:
        write_text(folder_of(shown, cache) / _AT_HAND, json.dumps(found))


def at_hand(shown: str, cache: Path) -> dict[str, Path]:
    """Where the images of a remote source lie, as far as they were fetched before; by path. No
    network is asked.
    """
    try:
        text = (folder_of(shown, cache) / _AT_HAND).read_text(encoding="utf-8")
        return {str(path): cache / file for path, file in json.loads(text).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
