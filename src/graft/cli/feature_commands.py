"""The command that computes features in shards, here or on a cluster: features."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from graft.cli.answers import print_json, print_line
from graft.cli.options import JSON, SettingsCommand, files, given, on_stderr_progress
from graft.errors import UsageError

if TYPE_CHECKING:
    from graft.cluster import Cluster
    from graft.data.feature_folder import FolderStatus

SHOWN = 20


def cluster_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --cluster, --task-cpus, --task-gpus and --retries, which the command gets as `cluster`:
    a Cluster, or None where none is asked for.
    """

    @functools.wraps(command)
    def with_cluster(
        *args: Any,
        cluster: str | None,
        task_cpus: float,
        task_gpus: float,
        retries: int,
        **options: Any,
    ) -> Any:
        found = None
        if cluster:
            from graft import cluster as on_ray

            found = on_ray.Cluster(cluster, task_cpus, task_gpus, retries)
        elif asked := given({"task_cpus": 0, "task_gpus": 0, "retries": 0}):
            name = next(iter(asked)).replace("_", "-")
            raise UsageError(f"--{name} is for the tasks of --cluster; give that, too")
        return command(*args, cluster=found, **options)

    amount = click.FloatRange(0, 10_000)
    for option in (
        click.option(
            "--retries",
            default=3,
            show_default=True,
            type=click.IntRange(0, 1000),
            help="How often a shard whose process died is begun again.",
        ),
        click.option(
            "--task-gpus", default=0.0, show_default=True, type=amount, help="GPUs for a shard."
        ),
        click.option(
            "--task-cpus", default=1.0, show_default=True, type=amount, help="Cores for a shard."
        ),
        click.option(
            "--cluster",
            metavar="[auto|local|ADDRESS]",
            help="Run the shards as tasks of Ray: on the cluster at ADDRESS, the one this machine "
            "belongs to or else a new one (auto), or a new one on this machine (local).",
        ),
    ):
        with_cluster = option(with_cluster)
    return with_cluster


# The settings that say how an image becomes features, and which views of which images there are.
SETTINGS = (
    *("model", "image_size", "resize", "pixels", "backend", "label_by", "follow_links"),
    *("views", "augment", "flip", "group_by", "val_fraction", "seed"),
)


@click.command(cls=SettingsCommand, settings=SETTINGS)
@click.argument("source", required=False, shell_complete=files)
@click.option("--out", shell_complete=files, help="The folder of the shards' files.")
@click.option("--shard", help="Compute this shard alone, such as 3/100.")
@click.option(
    "--shards", type=click.IntRange(1), help="Compute all of so many shards.  [default: 1]"
)
@click.option(
    "--status",
    shell_complete=files,
    help="Say which shards this folder has; with SOURCE, whether it has all of its images.",
)
@cluster_options
@JSON
def features(
    source: str | None,
    out: str | None,
    shard: str | None,
    shards: int | None,
    status: str | None,
    cluster: "Cluster | None",
    as_json: bool,
    **settings: Any,
) -> None:
    """Compute the features of SOURCE, in shards that any number of machines can share.

    Each shard gives one file in the folder --out; one that is there is skipped. Give each worker
    its --shard I/N (SLURM arrays, Kubernetes, GNU parallel), or all shards to a --cluster. Then
    graft train FOLDER trains a classifier without the images.
    """
    if status:
        if out or shard or shards or cluster:
            raise UsageError(
                "--status only looks; leave --out, --shard, --shards and --cluster out"
            )
        from graft.data.feature_check import checked_status

        _show(checked_status(Path(status), source), as_json)
        return
    if not source or not out:
        raise UsageError("expected SOURCE and --out FOLDER, or --status FOLDER")
    from graft.training.feature_job import extract_features

    found = extract_features(
        source,
        out,
        shard=shard,
        shards=shards or 1,
        cluster=cluster,
        progress=on_stderr_progress(),
        **given(settings),
    )
    _show(found, as_json)


def _show(status: "FolderStatus", as_json: bool) -> None:
    if as_json:
        print_json(status.to_json())
        return
    unusable = f", {status.problems:,} of them unusable" if status.problems else ""
    print_line(
        f"{status.folder}: {len(status.done):,} of {status.count:,} shards, "
        f"{status.images:,} images{unusable}; features of {status.job['model']} by "
        f"{status.job['engine']}"
    )
    for number, why in list(status.broken.items())[:SHOWN]:
        print_line(f"broken: {number}/{status.count}: {why}")
    if missing := status.missing:
        rest = len(missing) - SHOWN
        more = f" and {rest:,} more (all with --json)" if rest > 0 else ""
        print_line(f"missing: {', '.join(map(str, missing[:SHOWN]))}{more}")
    if status.complete:
        print_line(f"complete: graft train {status.folder}")


COMMANDS = (features,)
