"""All shards of `graft features`, or one of them: here one after the other, or on a cluster."""

import time
from functools import partial
from pathlib import Path
from typing import Any

from graft.cluster import Cluster, one_or_all, run_left
from graft.config import TrainConfig, configs_of
from graft.data.feature_folder import FolderStatus, folder_status, remove_leftovers
from graft.data.shard import Shard
from graft.errors import UsageError
from graft.features.cache import STALE
from graft.training.feature_shards import FeatureWork, features_of_shard, unfinished
from graft.utils.progress import SILENT, Progress


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
    one, count = one_or_all(shard, shards, cluster)
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out takes a folder, and {folder} is a file")
    work = FeatureWork(str(source), folder, count, config, split_config)
    if one:
        progress.say(features_of_shard(work, one, progress).said(one))
        return folder_status(folder)
    each = partial(features_of_shard, work)
    run_left(each, unfinished(work), count, cluster, progress, lambda one, done: done.said(one))
    remove_leftovers(folder, time.time() - STALE)
    return folder_status(folder)
