"""All shards of `graft features`, or one of them: here one after the other, or on a cluster."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from graft.cluster import Cluster, Outcome, raise_if_failed, run_shards
from graft.config import SplitConfig, TrainConfig
from graft.data.feature_folder import FolderStatus, folder_status
from graft.data.feature_listing import not_in_folder, rows_of_folder
from graft.data.shard import Shard
from graft.data.sources import listing_of, load_dataset
from graft.errors import DataError, UsageError
from graft.training.feature_shards import FeatureWork, ShardDone, features_of_shard, unfinished
from graft.utils.cache_folder import sources_folder
from graft.utils.progress import Progress

SHOWN = 3


def compute_features(
    source: str,
    out: Path,
    shard: Shard | None,
    shards: int,
    config: TrainConfig,
    split_config: SplitConfig,
    cluster: Cluster | None,
    progress: Progress,
) -> FolderStatus:
    """Compute `shard`, or all `shards` of a source that are not done, and say which are there.

    A shard that fails is named and stops no other; DataError, naming the first, after all. Raises
    as `feature_shards.features_of_shard` and `cluster.run_shards`.
    """
    if out.is_file():
        raise UsageError(f"--out takes a folder, and {out} is a file")
    work = FeatureWork(source, out, shard.count if shard else shards, config, split_config)
    if shard is not None:
        if cluster:
            raise UsageError("--cluster runs all shards; leave --shard out, or --cluster")
        progress.say(features_of_shard(work, shard, progress).said(shard))
        return folder_status(out)
    left = unfinished(work)
    if len(left) < shards:
        progress.say(f"{shards - len(left):,} of {shards:,} shards are there already")
    if cluster:
        done = run_shards(partial(features_of_shard, work), left, cluster, progress)
    else:
        done = _one_by_one(partial(features_of_shard, work, progress=progress), left, progress)
    raise_if_failed(done)
    progress.say_all(
        f"shard {number}: unusable: {name}"
        for number, each in done.done.items()
        for name in each.named
    )
    return folder_status(out)


def _one_by_one(
    work: Callable[[Shard], ShardDone], shards: list[Shard], progress: Progress
) -> Outcome[ShardDone]:
    outcome: Outcome[ShardDone] = Outcome()
    for shard in shards:
        try:
            outcome.done[shard] = work(shard)
            progress.say(outcome.done[shard].said(shard))
        except DataError as error:
            outcome.failed[shard] = str(error)
            progress.say(f"shard {shard}: {error}")
    return outcome


def checked_status(folder: Path, source: str | None) -> FolderStatus:
    """The status of a folder; of a whole one the union of its shards is checked, too: that no
    image is in two of them and, given the source, that they have exactly its images.

    Raises DataError for what the check finds.
    """
    status = folder_status(folder)
    if not status.complete:
        return status
    rows = rows_of_folder(folder)
    if len(rows.digests) != status.images:
        raise DataError(
            f"{folder}: its shards have {len(rows.digests):,} images and count {status.images:,}"
        )
    if source is None:
        return status
    asked = listing_of({name: status.job.get(name) for name in ("label_by", "follow_links")})
    lacking, added = not_in_folder(load_dataset(source, sources_folder(), **asked), rows)
    if lacking or added:
        said = [
            f"{len(names):,} images of {what} (first: {', '.join(names[:SHOWN])})"
            for names, what in (
                (lacking, "the source are in no shard"),
                (added, "the shards are not in the source"),
            )
            if names
        ]
        raise DataError(
            f"{folder}: {' and '.join(said)}: the source changed since; remove the shards' files "
            "and run `graft features` again"
        )
    return status
