"""The images of one shard of a source, for predict and evaluate."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from graft.data.dataset import Dataset
from graft.data.shard import Shard
from graft.data.sources import find_images, load_dataset
from graft.errors import UsageError
from graft.utils.cache_folder import sources_folder


def labeled_images(source: str, shard: Shard, listing: Mapping[str, Any]) -> Dataset:
    """The labeled images of a shard; `listing` as `load_dataset` takes it, which raises."""
    whole = load_dataset(source, sources_folder(), **listing)
    kept = whole.select(i for i, e in enumerate(whole.examples) if shard.takes(e.path))
    left_out = {
        kind: own
        for kind, paths in whole.left_out.items()
        if (own := tuple(path for path in paths if shard.takes(path)))
    }
    return Dataset(whole.source, kept.examples, left_out, {}, whole.remarks)


def unlabeled_images(source: str, shard: Shard) -> Iterator[tuple[str, Path]]:
    """The name and the file of each image of a shard, labeled or not, lazily.

    Raises UsageError for a source that does not exist.
    """
    root = Path(source)
    if root.is_dir():
        for file in find_images(root):
            if shard.takes(file.relative_to(root).as_posix()):
                yield str(file), file
    elif not root.exists():
        raise UsageError(f"{source}: no such file or folder")
    else:
        for example in load_dataset(source, sources_folder()).examples:
            if shard.takes(example.path):
                yield example.path, example.file
