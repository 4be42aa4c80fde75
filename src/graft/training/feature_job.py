"""All shards of `graft features`, or one of them: here one after the other, or on a cluster."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from graft.cluster import Cluster, Outcome, raise_if_failed, run_shards
from graft.config import TrainConfig, configs_of
from graft.data.feature_folder import FolderStatus, folder_status, remove_leftovers
from graft.data.shard import Shard
from graft.errors import DataError, UsageError
from graft.features.cache import STALE
from graft.training.feature_shards import FeatureWork, ShardDone, features_of_shard, unfinished
from graft.utils.progress import Progress

SILENT = Progress()


def extract_features(
    source: str | Path,
    out: str | Path,
    *,
    shard: Shard | str | None = None,
    shards: int = 1,
    cluster: Cluster | str | None = None,
    progress: Progress = SILENT,
    **settings: Any,
) -> FolderStatus:
    """Compute the features of a source into the folder `out`, one file a shard; what is there is
    skipped. `graft.train(out)` then trains a classifier without the images; see docs/cluster.md.

    `shard`, such as "3/100", is computed alone; else all `shards`, one after the other or as tasks
    of a Ray `cluster` ("auto", "local", "HOST:PORT" or a graft.cluster.Cluster). `settings` are
    those of TrainConfig and SplitConfig that say how images become features: model, image_size,
    resize, pixels, backend, views, augment, flip, label_by, follow_links; seed, val_fraction and
    group_by, which say of which images there are several views. Returns which shards are there.

    Raises UsageError for impossible settings or an `out` of another job, ModelError for a missing
    model or Ray, DataError for a source that cannot be read and, after all others are done, for
    shards that failed.
    """
    config, split_config = configs_of(settings, TrainConfig)
    folder, one = Path(out), Shard.parse(shard) if isinstance(shard, str) else shard
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out takes a folder, and {folder} is a file")
    if one and cluster:
        raise UsageError("--cluster runs all shards; leave --shard out, or --cluster")
    count = one.count if one else shards
    work = FeatureWork(str(source), folder, count, config, split_config)
    if one:
        progress.say(features_of_shard(work, one, progress).said(one))
        return folder_status(folder)
    left = unfinished(work)
    if len(left) < count:
        progress.say(f"{count - len(left):,} of {count:,} shards are there already")
    if cluster:
        tasks = Cluster(cluster) if isinstance(cluster, str) else cluster
        ended = run_shards(partial(features_of_shard, work), left, tasks, progress)
    else:
        ended = _one_by_one(partial(features_of_shard, work, progress=progress), left, progress)
    raise_if_failed(ended)
    remove_leftovers(folder, time.time() - STALE)
    return folder_status(folder)


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
