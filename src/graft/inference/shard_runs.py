"""Predict or evaluate all shards of a source, or one of them: here, or as tasks of a cluster."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from graft.cluster import Cluster, Outcome, raise_if_failed, run_shards
from graft.data.shard import Shard
from graft.errors import DataError, UsageError
from graft.inference.evaluation_shards import evaluate_shard, evaluation_job
from graft.inference.policy import Policy
from graft.inference.prediction_shards import predict_shard, prediction_job
from graft.inference.shard_job import ShardJob
from graft.utils.progress import Progress

SILENT = Progress()
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
    one, count = _asked(shard, shards, cluster)
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
    one, count = _asked(shard, shards, cluster)
    job = evaluation_job(*said[:2], Path(out), count)
    return _run(job, partial(evaluate_shard, *said, backend), one, cluster, progress)


def _asked(
    shard: Shard | str | None, shards: int, cluster: Cluster | str | None
) -> tuple[Shard | None, int]:
    one = Shard.parse(shard) if isinstance(shard, str) else shard
    if one is not None and cluster:
        raise UsageError("--cluster runs all shards; leave --shard out, or --cluster")
    return one, one.count if one else shards


def _run(
    job: ShardJob,
    work: Callable[..., Counts],
    one: Shard | None,
    cluster: Cluster | str | None,
    progress: Progress,
) -> list[Path]:
    wanted = [one] if one else [Shard(n, job.count) for n in range(1, job.count + 1)]
    left = [shard for shard in wanted if not job.is_done(shard)]
    if len(left) < len(wanted):
        progress.say(f"{len(wanted) - len(left):,} of {len(wanted):,} shards are there already")
    if cluster and left:
        tasks = Cluster(cluster) if isinstance(cluster, str) else cluster
        outcome = run_shards(work, left, tasks, progress)
    else:
        outcome = _one_by_one(partial(work, progress=progress), left, progress)
    raise_if_failed(outcome)
    return [job.file(shard) for shard in wanted]


def _one_by_one(
    work: Callable[[Shard], Counts], shards: list[Shard], progress: Progress
) -> Outcome[Counts]:
    outcome: Outcome[Counts] = Outcome()
    for shard in shards:
        try:
            outcome.done[shard] = found = work(shard)
            failed = f", {found['failed']:,} of them unusable" if found["failed"] else ""
            progress.say(f"shard {shard}: {found['images']:,} images{failed}")
        except DataError as error:
            outcome.failed[shard] = str(error)
            progress.say(f"shard {shard}: {error}")
    return outcome
