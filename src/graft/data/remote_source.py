"""Folders, shards and single files of a store elsewhere: listed, then fetched as far as needed."""

import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from urllib.parse import urljoin

from graft.choices import LabelBy
from graft.data.brace_notation import expanded, has_braces
from graft.data.class_folders import class_folders
from graft.data.dataset import Dataset, Example
from graft.data.fetched import note_at_hand
from graft.data.label_table import table
from graft.data.remote_address import is_remote, public_address, scheme_of
from graft.data.remote_errors import not_there
from graft.data.remote_fetch import check_room, fetched, folder_of, local_place
from graft.data.remote_store import RemoteFile, Store
from graft.data.shard import Shard
from graft.data.shard_files import (
    CLASS_LISTS,
    ShardFile,
    gaps,
    holds_shards,
    is_shard_file,
    read_class_names,
    shards,
)
from graft.data.tar_shards import is_tar_shard, unpack_samples
from graft.utils.progress import Progress

# Files of many images that are fetched at one time, each of perhaps a gigabyte.
SHARDS_AT_ONCE = 3


def remote_files(store: Store, shard: Shard | None, progress: Progress) -> list[RemoteFile]:
    """The files below a store's folder: all, or those of a shard and what is needed to place them
    (see `Store.listed`).
    """

    def keep(name: str) -> bool:
        always = is_shard_file(name) or name in CLASS_LISTS
        return always or shard is None or shard.takes(name)

    progress.start(f"listing {store.shown}", None)
    found = store.listed(keep, progress.advance)
    progress.finish()
    return found


def braced_files(address: str) -> tuple[Store, list[RemoteFile]]:
    """The store and the files that an address in brace notation stands for."""
    before = address.partition("{")[0].rpartition("/")[0]
    store = Store(before)
    names = [name[len(before) + 1 :] for name in expanded(address)]
    return store, [store.file(name) for name in names]


def is_braced(address: str) -> bool:
    """Whether an address stands for several files."""
    return has_braces(public_address(address))


def remote_folder(
    address: str, cache: Path, label_by: LabelBy | None, shard: Shard | None, progress: Progress
) -> Dataset:
    """The data set of a folder elsewhere, or of the files that braces stand for; what it needs is
    fetched below `cache`. With a `shard`, that shard's images alone.
    """
    if is_braced(address):
        store, files = braced_files(address)
        return remote_shards(public_address(address), store, files, cache, shard, progress)
    store = Store(address)
    files = remote_files(store, shard, progress)
    if holds_shards(file.name for file in files):
        return remote_shards(store.shown, store, files, cache, shard, progress)
    folder = folder_of(store.shown, cache)
    by_place = {local_place(folder, file): file for file in files}
    named = [(tuple(file.name.split("/")), place) for place, file in by_place.items()]
    found = class_folders(named, store.shown, label_by)
    if shard is not None:
        taken = [e for e in found.examples if shard.takes(by_place[e.file].name)]
        found = replace(found, examples=tuple(taken))
    needed = Fetching(cache, progress)
    needed.add(store, {e.file: by_place[e.file] for e in found.examples})
    found = needed.of(found)
    if shard is None:
        note_at_hand(store.shown, found.examples, cache)
    return found


def remote_shards(
    source: str,
    store: Store,
    files: Sequence[RemoteFile],
    cache: Path,
    shard: Shard | None,
    progress: Progress,
) -> Dataset:
    """The data set of Parquet shards or of tars elsewhere; each is fetched when its turn comes, and
    of a tar its images alone are kept.
    """
    many = [file for file in files if is_shard_file(file.name)]
    taken = [file for file in many if shard is None or shard.takes(file.name)]
    names: list[str] = []
    lists = [f for f in files if f.name in CLASS_LISTS and any(map(_is_tar, many))]
    folder = folder_of(store.shown, cache)
    for found in fetched(store, lists[:1], folder):
        names = read_class_names(found.local) if found.local else []

    read: list[Path] = []

    def each() -> Iterator[ShardFile]:
        for one in shard_files(store, taken, cache, progress):
            read.extend([one.path] if one.path and one.path.is_file() else [])
            yield one
        for name in gaps(file.name for file in many):
            if shard is None or shard.takes(name):
                yield ShardFile(tuple(name.split("/")), None)

    dataset = shards(each(), source, cache, names)
    if shard is None:
        note_at_hand(source, dataset.examples, cache)
    else:  # their rows are read, and a worker's disk is for its images
        for table_file in read:
            table_file.unlink(missing_ok=True)
    return dataset


def shard_files(
    store: Store, files: Sequence[RemoteFile], cache: Path, progress: Progress
) -> Iterator[ShardFile]:
    """Files of many images, fetched one after another, a few ahead; tars as unpacked folders."""
    folder = folder_of(store.shown, cache)
    check_room(store.shown, files, folder)
    progress.start(f"fetching shards of {store.shown}", len(files))
    tars = [file for file in files if _is_tar(file)]
    tables = [file for file in files if not _is_tar(file)]
    unpacked = fetched(store, tars, folder, unpack_samples, SHARDS_AT_ONCE)
    whole = fetched(store, tables, folder, None, SHARDS_AT_ONCE)
    for done, found in enumerate(chain(unpacked, whole), 1):
        progress.advance(done)
        yield ShardFile(tuple(found.file.name.split("/")), found.local)
    progress.finish()


def one_file(address: str, cache: Path, progress: Progress) -> Path:
    """A single file elsewhere, such as an archive, fetched below `cache`."""
    store = Store(address)
    folder = folder_of(store.shown, cache)
    progress.start(f"fetching {store.shown}", 1)
    name = store.shown.rpartition("/")[2]
    file = replace(store.file(""), name=name)
    found = next(fetched(store, [file], folder))
    progress.advance(1)
    progress.finish()
    if found.local is None:
        raise not_there(store.shown)
    return found.local


@dataclass
class Fetching:
    """Image files that are to be fetched, of one store or of several: by the places that they have
    in the listing.
    """

    cache: Path
    progress: Progress
    wanted: list[tuple[Store, dict[Path, RemoteFile]]] = field(default_factory=list)

    def add(self, store: Store, files: Mapping[Path, RemoteFile]) -> None:
        """Also fetch these files of a store."""
        self.wanted.append((store, dict(files)))

    def of(self, dataset: Dataset) -> Dataset:
        """Fetch, and return the data set with the files where they lie; those that are not in their
        store are left out as missing.
        """
        local = self._fetched()
        examples: list[Example] = []
        missing = list(dataset.left_out.get("missing", ()))
        lost = Counter(dict(dataset.lost))
        for example in dataset.examples:
            place = local.get(example.file, example.file)
            if place is None:
                missing.append(example.path)
                lost[example.label] += 1
            else:
                examples.append(replace(example, file=place))
        left_out = {**dataset.left_out, **({"missing": tuple(missing)} if missing else {})}
        return replace(dataset, examples=tuple(examples), left_out=left_out, lost=lost)

    def _fetched(self) -> dict[Path, Path | None]:
        local: dict[Path, Path | None] = {}
        for store, files in self.wanted:
            folder = folder_of(store.shown, self.cache)
            check_room(store.shown, files.values(), folder)
            self.progress.start(f"fetching from {store.shown}", len(files))
            each = zip(files, fetched(store, files.values(), folder), strict=True)
            for done, (place, found) in enumerate(each, 1):
                local[place] = found.local
                self.progress.advance(done)
            self.progress.finish()
        return local


class Cells:
    """The cells of a table whose images lie elsewhere: addresses, and what is relative to the
    folder of a table that lies elsewhere itself.
    """

    def __init__(self, cache: Path, store: Store | None = None):
        self.cache, self.store = cache, store
        self.stores: dict[str, Store] = {}
        self.files: dict[str, dict[Path, RemoteFile]] = {}

    def place(self, image: str) -> tuple[str, Path] | None:
        """What to call the image of a cell, and its place; None for one of this machine."""
        if scheme_of(image) and is_remote(image):
            return public_address(image), self._absolute(image)
        if self.store is None:
            return None
        store = self.stores.setdefault("", self.store)
        file = _beside(store, image)
        shown = image.partition("?")[0] if store.web else image
        return shown, self._noted("", store, file)

    def dataset(self, dataset: Dataset, shard: Shard | None, progress: Progress) -> Dataset:
        """The data set of a table with its images fetched; of a `shard`, that shard's alone."""
        if shard is not None:
            taken = tuple(e for e in dataset.examples if shard.takes(e.path))
            dataset = replace(dataset, examples=taken)
        used = {example.file for example in dataset.examples}
        needed = Fetching(self.cache, progress)
        for key, files in self.files.items():
            wanted = {place: file for place, file in files.items() if place in used}
            if wanted:
                needed.add(self.stores[key], wanted)
        return needed.of(dataset) if needed.wanted else dataset

    def _absolute(self, address: str) -> Path:
        """One store for each server or bucket; signed queries stay with their own file."""
        scheme, rest = address.split("://", 1)
        host, _, path = rest.partition("/")
        key = f"{scheme}://{host}"
        if key not in self.stores:
            self.stores[key] = Store(key)
        store = self.stores[key]
        name = path.partition("?")[0].partition("#")[0] if store.web else path
        return self._noted(key, store, RemoteFile(name, f"{store.root}/{path}"))

    def _noted(self, key: str, store: Store, file: RemoteFile) -> Path:
        place = local_place(folder_of(store.shown, self.cache), file)
        self.files.setdefault(key, {})[place] = file
        return place


def remote_table(
    address: str, source: str, cache: Path, shard: Shard | None, progress: Progress
) -> Dataset:
    """The data set of a table elsewhere; its images are relative to its folder, or addresses."""
    local = one_file(address, cache, progress)
    above, _, query = address.partition("?")
    folder = above.rpartition("/")[0] + (f"?{query}" if query else "")
    cells = Cells(cache, Store(folder))
    found = cells.dataset(table(local, source, cache, elsewhere=cells.place), shard, progress)
    if shard is None:
        note_at_hand(source, found.examples, cache)
    return found


def _beside(store: Store, image: str) -> RemoteFile:
    """The file that a table in the folder of a store names."""
    if store.web:
        plain, question, query = image.partition("?")
        path = urljoin(f"{store.root}/", store.file(plain).path.removeprefix(f"{store.root}/"))
        return RemoteFile(plain, path + question + query)
    path = posixpath.normpath(posixpath.join(store.root, image))
    bucket = store.root.lstrip("/").partition("/")[0]
    inside = path.lstrip("/").startswith(f"{bucket}/") and not image.startswith("/")
    # What leads out of the bucket is not there.
    return RemoteFile(image, path if inside else f"{store.root}/{image.strip('/')}/.")


def _is_tar(file: RemoteFile) -> bool:
    return is_tar_shard(file.name)
