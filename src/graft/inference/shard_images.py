"""The images of one shard of a source that are to be predicted, whether they have labels or not."""

from collections.abc import Iterator
from pathlib import Path

from graft.data.remote_address import is_remote, local_path
from graft.data.shard import Shard
from graft.data.sources import TABLE_SUFFIXES, load_dataset
from graft.data.unlabeled import images_of
from graft.errors import UsageError
from graft.utils.cache_folder import sources_folder
from graft.utils.progress import Progress


def images_of_shard(source: str, shard: Shard, progress: Progress) -> Iterator[tuple[str, Path]]:
    """The name and the file of each image of a shard, lazily: of what `graft predict` takes, or of
    a table.

    Raises UsageError for a source that does not exist, and what `images_of` raises.
    """
    place = None if is_remote(source) else local_path(source)
    if place is not None and not place.exists():
        raise UsageError(f"{source}: no such file or folder")
    if place is not None and place.suffix.lower() in TABLE_SUFFIXES:
        dataset = load_dataset(source, sources_folder(), shard=shard, progress=progress)
        yield from ((example.path, example.file) for example in dataset.examples)
    else:
        yield from images_of(source, sources_folder(), shard, progress)
