"""Predict or evaluate all shards of a source, or one of them: here, or as tasks of a cluster."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from graft.cluster import Cluster, one_or_all, run_left
from graft.data.shard import Shard
from graft.inference.evaluation_shards import evaluate_shard, evaluation_job
from graft.inference.policy import Policy
from graft.inference.prediction_shards import predict_shard, prediction_job
from graft.inference.shard_job import ShardJob
from graft.utils.progress import SILENT, Progress

Counts = dict[str, int]  # images, and of these failed


def predict_shards(
    run: str | Path,
    source: str | Path,
    out: str | Path,
    *,
    shard: Shard | str | None = None,
    shards: int = 1,
    policy: Policy | None = None,
    backend: str = "auto",
    cluster: Cluster | str | None = None,
    progress: Progress = SILENT,
) -> list[Path]:
    """Predict a source into the folder `out`, one predictions-I-of-N.parquet a shard, with the
    columns of `graft predict --csv`; what is there is skipped. Returns the shards' files.

    `shard`, such as "3/100", is predicted alone; else all `shards`, one after the other or as tasks
    of a Ray `cluster` ("auto", "local", "HOST:PORT" or a graft.cluster.Cluster).

    Raises UsageError for an `out` of another job, ModelError for a run without a model, DataError
    for a source that cannot be read and, after all others are done, for shards that failed.
    """
    said = str(run), str(source), str(out)
    asked = policy or Policy()
    one, count = one_or_all(shard, shards, cluster)
    job = prediction_job(*said[:2], Path(out), count, asked)
    work = partial(predict_shard, *said, asked, backend)
    return _run(job, work, one, cluster, progress)


def evaluate_shards(
    run: str | Path,
    source: str | Path,
    out: str | Path,
    *,
    shard: Shard | str | None = None,
    shards: int = 1,
    backend: str = "auto",
    cluster: Cluster | str | None = None,
    progress: Progress = SILENT,
) -> list[Path]:
    """Predict the labeled images of a source into the folder `out`, one evaluation-I-of-N.parquet a
    shard; what is there is skipped. `evaluate_from(run, out)` then gives the metrics.

    Arguments, result and errors as `predict_shards`.
    """
    said = str(run), str(source), str(out)
    one, count = one_or_all(shard, shards, cluster)
    job = evaluation_job(*said[:2], Path(out), count)
    return _run(job, partial(evaluate_shard, *said, backend), one, cluster, progress)


def _run(
    job: ShardJob,
    work: Callable[..., Counts],
    one: Shard | None,
    cluster: Cluster | str | None,
    progress: Progress,
) -> list[Path]:
    wanted = [one] if one else [Shard(n, job.count) for n in range(1, job.count + 1)]
    left = [shard for shard in wanted if not job.is_done(shard)]
    run_left(work, left, len(wanted), cluster, progress, _said)
    return [job.file(shard) for shard in wanted]


def _said(shard: Shard, found: Counts) -> str:
    failed = f", {found['failed']:,} of them unusable" if found["failed"] else ""
    return f"shard {shard}: {found['images']:,} images{failed}"
