"""The options of commands whose work can be divided into shards: --out, --shard, --shards."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from graft.cli.answers import print_json, print_line
from graft.cli.feature_commands import cluster_options
from graft.cli.options import files
from graft.errors import UsageError

# What predict_shards and evaluate_shards are given: out, shard or shards, cluster.
InShards = dict[str, Any]


def shard_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --out, --shard, --shards and those of a cluster, which the command gets as `in_shards`:
    None where none of them is given.
    """

    @functools.wraps(command)
    def with_shards(
        *args: Any,
        out: str | None,
        shard: str | None,
        shards: int | None,
        cluster: Any,
        **options: Any,
    ) -> Any:
        if not out:
            if shard or shards or cluster:
                raise UsageError("--shard, --shards and --cluster need --out FOLDER")
            return command(*args, in_shards=None, **options)
        if shard and shards:
            raise UsageError("--shard I/N says how many there are; leave --shards out")
        asked = {"out": out, "shard": shard, "shards": shards or 1, "cluster": cluster}
        return command(*args, in_shards=asked, **options)

    decorated: Any = cluster_options(with_shards)
    for option in (
        click.option(
            "--shards", type=click.IntRange(1), help="Do all of so many shards.  [default: 1]"
        ),
        click.option("--shard", help="Do this shard alone, such as 3/100."),
        click.option(
            "--out", shell_complete=files, help="The folder for Parquet files, one for each shard."
        ),
    ):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


def show_shards(written: Sequence[Path], as_json: bool) -> None:
    """Say which files there are now."""
    if as_json:
        print_json({"files": [str(file) for file in written]})
        return
    for file in written[:1]:
        more = f" and {len(written) - 1:,} more" if len(written) > 1 else ""
        print_line(f"written: {file}{more}")
