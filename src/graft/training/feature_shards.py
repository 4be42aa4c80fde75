"""`graft features`: the features of a source, a shard at a time, one file each.

A shard's values are those that `graft train` would compute and keep in its cache, to the bit: they
are computed into the cache and copied from there. A worker needs to know nothing of the others:
which images a shard has depends on the source's list alone, and which views an image has on its own
bytes (data/split.expected_split). A file that is there is done; the cache has what was encoded.
"""

import functools
import json
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.config import ResolvedConfig, SplitConfig, TrainConfig
from graft.data.dataset import Dataset
from graft.data.feature_file import FORMAT, Rows, write_file
from graft.data.feature_folder import (
    claim_folder,
    done_head,
    folder_status,
    is_feature_folder,
    source_name,
)
from graft.data.feature_listing import orders_of
from graft.data.fetched import remove_fetched
from graft.data.file_listing import walk
from graft.data.fingerprint import FINGERPRINT, FINGERPRINT_FORMAT
from graft.data.groups import grouped
from graft.data.shard import Shard
from graft.data.shard_files import holds_shards
from graft.data.sources import listing_of, load_dataset, part_of
from graft.errors import DataError, UsageError
from graft.features.backends import LazyBackend, backend_of
from graft.features.blocks import blocks_of
from graft.features.cache import trim
from graft.features.cached_encoder import PIXELS_FORMAT, CachedEncoder
from graft.features.metadata import camera_of
from graft.features.table import FeatureTable, expected_views, extract
from graft.models.backbone import Backbone
from graft.training.defaults import network, resolve
from graft.training.plan import frozen_encoder
from graft.utils.cache_folder import cache_folder, cache_in_use, cache_limit, sources_folder
from graft.utils.mapped_tensors import Blocks
from graft.utils.progress import SILENT, Progress

# The settings of a job that say how an image becomes features; those that say which views of it
# there are, and which images have them, which matter where there are several.
FED = ("model", "image_size", "resize", "pixels", "backend")
VIEWED = ("augment", "flip", "seed", "val_fraction", "group_by")
# Problems that are named on the way; a shard's file has all of them.
NAMED = 3


@dataclass(frozen=True)
class FeatureWork:
    """What all shards of a job have in common. It can be sent to another process."""

    source: str
    out: Path
    shards: int
    config: TrainConfig
    split_config: SplitConfig
    launch: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True)
class ShardDone:
    """What became of a shard: its images, how many of them cannot be decoded (the first of them
    named), whether its file was there already, and the seconds that it took.
    """

    images: int
    problems: int
    named: tuple[str, ...] = ()
    skipped: bool = False
    seconds: float = 0.0

    def said(self, shard: Shard) -> str:
        """A line for people."""
        if self.skipped:
            return f"shard {shard}: there already, {self.images:,} images"
        bad = f", {self.problems:,} of them unusable" if self.problems else ""
        first = f" (first: {self.named[0]})" if self.named else ""
        return f"shard {shard}: {self.images:,} images{bad}{first} in {self.seconds:.1f} s"


@dataclass
class Prepared:
    """A job with its network, which is compiled once for all shards of a process."""

    work: FeatureWork
    config: ResolvedConfig
    backbone: Backbone
    backend: LazyBackend
    encoder: CachedEncoder
    whole: Dataset | None = None

    def job(self) -> dict[str, Any]:
        """What determines the values; see data/feature_folder.py."""
        work, several = self.work, self.encoder.views > 1
        settings = {**self.config.to_json(), **work.split_config.to_json()}
        described = {
            "format": FORMAT,
            "source": source_name(work.source),
            "shards": work.shards,
            "encoder": self.backbone.digest,
            "features": self.backbone.features,
            "engine": self.encoder.engine,
            "preprocess": self.backbone.preprocess.to_json(),
            "pixels_format": PIXELS_FORMAT,
            "fingerprint_format": FINGERPRINT_FORMAT,
            "views": self.encoder.views,
            "label_by": settings["label_by"],
            "follow_links": settings["follow_links"],
            **{name: settings[name] for name in FED},
            **{name: settings[name] if several else None for name in VIEWED},
        }
        return dict(json.loads(json.dumps(described)))

    def listed(self, shard: Shard, progress: Progress) -> tuple[Dataset, tuple[str, ...]]:
        """The images of a shard, and the orders that the listing is in.

        A folder of images is listed once for all shards of this process; of other sources only
        what the shard takes is fetched and unpacked.
        """
        source, folder = self.work.source, Path(self.work.source)
        asked = listing_of(self.work.split_config.to_json())
        if self.whole is None and folder.is_dir() and not holds_shards(_names(folder)):
            self.whole = load_dataset(source, sources_folder(), **asked)
        if self.whole is None:
            part = load_dataset(source, sources_folder(), shard=shard, progress=progress, **asked)
            return part, orders_of(part.examples)
        if not self.whole.examples:
            raise DataError(f"{source}: no image; expected SOURCE/CLASS/image.jpg")
        return part_of(self.whole, shard), orders_of(self.whole.examples)


def _names(folder: Path) -> Iterator[str]:
    return (file.name for file in walk(folder))


def prepare(work: FeatureWork) -> Prepared:
    """The network of a job, not compiled yet.

    Raises UsageError for a network that has no frozen features, ModelError for a missing one.
    """
    backbone = network(work.config, cache_folder())
    if backbone.weights is None:
        raise UsageError(
            f"{work.config.model} is trained from pixels and has no features yet; expected a "
            "pretrained --model (graft models), or the folder of a run"
        )
    if work.config.unfreeze != "none":
        raise UsageError("graft features computes what stays frozen; leave --unfreeze out")
    config = resolve(work.config, backbone)
    backend = backend_of(backbone, config.backend)
    return Prepared(work, config, backbone, backend, frozen_encoder(config, backbone, backend))


prepared_here = functools.lru_cache(maxsize=1)(prepare)  # for the shards of one process


@cache_in_use()
def features_of_shard(work: FeatureWork, shard: Shard, progress: Progress = SILENT) -> ShardDone:
    """Compute and write the file of a shard, unless it is there and whole.

    An image that cannot be decoded is named in the file and stops nothing. What was fetched or
    unpacked for the shard is removed: a worker's disk holds one shard at a time. Raises DataError
    where no file of the shard can be read at all, as from a disk that is not there, UsageError
    where `work.out` is of another job.
    """
    began, made = time.perf_counter(), prepared_here(work)
    if head := done_head(work.out, shard, made.job()):
        return ShardDone(head.images, head.problems, skipped=True)
    if not any(map(len, made.encoder.stores)):
        made.encoder.name_engine(made.backend())  # the name of what really runs
    job = made.job()
    claim_folder(work.out, job)
    dataset, order = made.listed(shard, progress)
    _refuse_missing(dataset, shard)
    split_config = work.split_config
    table = extract(grouped(dataset, split_config.group_by), made.encoder, split_config, progress)
    _refuse_unread(table, shard)
    rows = _rows(table, dataset, order)
    views = [_view(table, made.encoder, split_config, view) for view in range(made.encoder.views)]
    write_file(work.out, shard, job, rows, views)
    remove_fetched((example.file for example in dataset.examples), sources_folder())
    trim(cache_folder(), cache_limit())
    named = tuple(f"{dataset.examples[n].path} {told}" for n, told in table.problems.items())
    seconds = time.perf_counter() - began
    return ShardDone(len(table), len(table.problems), named[:NAMED], seconds=seconds)


def unfinished(work: FeatureWork) -> list[Shard]:
    """The shards that are not done, without compiling anything.

    Raises UsageError where `work.out` is of another job; one that differs in nothing but the engine
    may be that of workers on other machines, which say so themselves.
    """
    if not is_feature_folder(work.out):
        return [Shard(number, work.shards) for number in range(1, work.shards + 1)]
    status = folder_status(work.out)
    claim_folder(work.out, prepare(work).job() | {"engine": status.job.get("engine")})
    return status.unfinished


def _refuse_missing(dataset: Dataset, shard: Shard) -> None:
    missing = dataset.left_out.get("missing", ())
    if missing and not dataset.examples:
        raise DataError(
            f"shard {shard}: none of its {len(missing):,} images is there (first: {missing[0]}); "
            "nothing was written"
        )


def _refuse_unread(table: FeatureTable, shard: Shard) -> None:
    # Images that nobody can decode are a result; a disk that cannot be read is none.
    unread = [
        n for n, p in table.problems.items() if p.kind == "unreadable" and not table.digest(n)
    ]
    if unread and len(unread) == len(table):
        first = unread[0]
        raise DataError(
            f"shard {shard}: none of its {len(table):,} files can be read (first: "
            f"{table.dataset.examples[first].file} {table.problems[first]}); nothing was written"
        )


def _rows(table: FeatureTable, dataset: Dataset, order: Sequence[str]) -> Rows:
    return Rows(
        dataset.examples,
        table.digests,
        table.problems,
        _fingerprints(table),
        _cameras(table),
        order,
        dataset.left_out,
        dataset.lost,
        dataset.remarks,
    )


def _cameras(table: FeatureTable) -> dict[int, str]:
    """The name of each camera, of which a fingerprint has the number, from one of its images."""
    names: dict[int, str] = {}
    readable = np.array(table.readable(), np.int64)
    for block in blocks_of(len(readable), (FINGERPRINT.itemsize,)):
        cameras = table.fingerprints(readable[block])["camera"]
        for number in set(cameras.tolist()) - {0, *names}:
            first = readable[block][int(np.flatnonzero(cameras == number)[0])]
            names[number] = camera_of(table.dataset.examples[first].file) or ""
    return names


def _fingerprints(table: FeatureTable) -> Blocks:
    count, width = len(table), FINGERPRINT.itemsize

    def blocks() -> Iterator[NDArray[np.uint8]]:
        for rows in blocks_of(count, (width,)):
            block = np.zeros((len(rows), width), np.uint8)
            if good := [n for n in rows.tolist() if n not in table.problems]:
                found = table.fingerprints(good).view(np.uint8)
                block[np.array(good) - rows[0]] = found.reshape(len(good), width)
            yield block

    return Blocks((count, width), np.uint8, blocks())


def _view(
    table: FeatureTable, encoder: CachedEncoder, config: SplitConfig, view: int
) -> tuple[NDArray[np.int64], Blocks]:
    """The rows that have a view, and their features."""
    examples = table.dataset.examples
    chosen = [
        n
        for n in table.readable()
        if view in expected_views(encoder.views, config, examples[n], table.digest(n))
    ]
    found = table.activations(chosen, view)
    blocks = (found[block] for block in blocks_of(len(chosen), found.shape))
    shape = (len(chosen), *found.shape)
    return np.array(chosen, np.int64), Blocks(shape, np.float16, blocks)
