"""The images of a source, whether they have labels or not: what is to be predicted."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from graft.data.file_listing import find_images, is_image_name, walk
from graft.data.label_table import PARQUET, rows_of
from graft.data.remote_address import is_remote, local_path, public_address
from graft.data.remote_fetch import fetched, folder_of, local_place
from graft.data.remote_source import (
    braced_files,
    is_braced,
    remote_files,
    shard_files,
)
from graft.data.remote_store import RemoteFile, Store
from graft.data.shard import Shard
from graft.data.shard_files import (
    NOT_THERE,
    ShardFile,
    holds_shards,
    is_shard_file,
    tar_folder,
)
from graft.data.tar_shards import holds_samples, is_tar_shard, read_index
from graft.errors import DataError
from graft.utils.progress import SILENT, Progress

Named = tuple[str, Path]


def is_of_many(path: str | Path) -> bool:
    """Whether a path given for prediction stands for images that lie elsewhere or in shards."""
    if is_remote(path):
        return True
    place = local_path(path)
    if place.is_dir():
        return holds_shards(file.name for file in walk(place))
    return is_tar_shard(place.name) and place.is_file() and holds_samples(place)


def images_of(
    source: str | Path, cache: Path, shard: Shard | None = None, progress: Progress = SILENT
) -> Iterator[Named]:
    """Each image of a file, folder, tar or Parquet shards, here or elsewhere: what to call it, and
    where its bytes are. What lies elsewhere is fetched a few ahead, below `cache`.

    A shard or an image that cannot be had comes with the path of no file and the reason in its
    name. With a `shard`, its images alone, as `load_dataset` divides them.

    Raises what `load_dataset` raises for a source that is not there.
    """
    shown = public_address(source).rstrip("/")
    if is_remote(source):
        yield from _elsewhere(str(source), shown, cache, shard, progress)
        return
    path = local_path(source)
    if path.is_dir():
        files = [(file.relative_to(path).parts, file) for file in walk(path)]
        if holds_shards(names[-1] for names, _ in files):
            many = [ShardFile(names, file) for names, file in files if is_shard_file(names[-1])]
            taken = [file for file in many if shard is None or shard.takes(file.name)]
            yield from _of_shards(taken, shown, cache)
            return
        for file in find_images(path):
            if shard is None or shard.takes(file.relative_to(path).as_posix()):
                yield str(file), file
    elif is_tar_shard(path.name) and holds_samples(path):
        yield from _of_shards([ShardFile((path.name,), path)], str(path.parent), cache)
    else:
        yield shown, path


def _elsewhere(
    address: str, shown: str, cache: Path, shard: Shard | None, progress: Progress
) -> Iterator[Named]:
    if is_braced(address):
        store, files = braced_files(address)
    else:
        store = Store(address)
        if store.kind() == "file":
            shown, _, name = shown.rpartition("/")
            files = [RemoteFile(name, store.root)]
        else:
            files = remote_files(store, shard, progress)
    if holds_shards(file.name for file in files):
        many = [file for file in files if is_shard_file(file.name)]
        taken = [file for file in many if shard is None or shard.takes(file.name)]
        yield from _of_shards(shard_files(store, taken, cache, SILENT), store.shown, cache)
        return
    images = [
        file
        for file in files
        if is_image_name(file.name) and (shard is None or shard.takes(file.name))
    ]
    folder = folder_of(store.shown, cache)
    for found in fetched(store, images, folder):
        place = found.local or local_place(folder, found.file)
        yield f"{shown}/{found.file.name}", place


def _of_shards(files: Iterable[ShardFile], shown: str, cache: Path) -> Iterator[Named]:
    for file in files:
        above = f"{shown}/{file.name}" if shown else file.name
        nothing = cache / NOT_THERE
        try:
            if file.path is None:
                yield f"{above} ({NOT_THERE})", nothing
            elif file.names[-1].lower().endswith(PARQUET):
                yield from _of_parquet(file.path, above, cache)
            else:
                folder = tar_folder(file.path, cache)
                index = read_index(folder)
                yield from ((f"{above}/{i.name}", folder / i.file) for i in index.images)
                if index.problem:
                    yield f"{above} ({index.problem})", nothing
        except DataError as error:
            yield f"{above} ({str(error).removeprefix(f'{file.path}: ')})", nothing


def _of_parquet(path: Path, above: str, cache: Path) -> Iterator[Named]:
    rows, _ = rows_of(path, cache, labeled=False)
    stem = above[: -len(PARQUET)]
    for row in list(rows):
        image = row.texts["image"].strip()
        if image:
            yield f"{stem}/{image}", row.file or path.parent / image
