"""The shards of a job on a Ray cluster: one remote task a shard, retried, a bounded number at once.

Ray starts processes, retries those that die and finds GPUs; nothing else of it is used. What a
task makes is a file that it writes itself, and what it returns is a few numbers: nothing goes
through Ray's object store, which spills to disk when it is used carelessly. Ray reports nothing to
its maker: its usage statistics are off.

`run_shards` is general. Its work is any function of a Shard that can be pickled: a function of a
module, or functools.partial of one with settings.
"""

import contextlib
import importlib.util
import logging
import math
import os
import socket
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from graft.data.shard import Shard
from graft.errors import DataError, GraftError, ModelError, UsageError
from graft.utils.progress import Progress

Summary = TypeVar("Summary")

# Tasks in flight for each that can run: the next one is there when a worker gets free.
AHEAD = 2
# How often the driver looks up from waiting, so that Ctrl-C is answered at once.
LOOK_SECONDS = 0.5
CONNECT_SECONDS = 10
# Ray gives its own processes half a minute to start, which on a busy machine is not always enough.
STARTS = 3
AUTO, LOCAL = "auto", "local"


@dataclass(frozen=True)
class Cluster:
    """Where tasks run and what each of them is given.

    `address`: "auto", "local" or HOST:PORT. `cpus` and `gpus` are what Ray sets aside for a task,
    fractions allowed; `retries` is how often a task is begun again whose process died.
    """

    address: str = AUTO
    cpus: float = 1.0
    gpus: float = 0.0
    retries: int = 3


@dataclass
class Outcome(Generic[Summary]):
    """What became of the shards: what each that is done returned, why the others are not."""

    done: dict[Shard, Summary] = field(default_factory=dict)
    failed: dict[Shard, str] = field(default_factory=dict)


def one_or_all(
    shard: Shard | str | None, shards: int, cluster: Cluster | str | None
) -> tuple[Shard | None, int]:
    """The shard that is asked for, None for all, and how many shards there are in all.

    Raises UsageError for what is no shard, and for one that is to run on a cluster.
    """
    one = Shard.parse(shard) if isinstance(shard, str) else shard
    if one is not None and cluster:
        raise UsageError("--cluster runs all shards; leave --shard out, or --cluster")
    return one, one.count if one else shards


def run_left(
    work: Callable[..., Summary],
    left: Sequence[Shard],
    count: int,
    cluster: Cluster | str | None,
    progress: Progress,
    said: Callable[[Shard, Summary], str],
) -> None:
    """`work` for the shards that are left of `count`: as tasks of a cluster, or else here, one
    after the other, with the argument `progress` and a line that `said` makes for each.

    Raises DataError once all others are done where shards failed; else as `run_shards`.
    """
    if len(left) < count:
        progress.say(f"{count - len(left):,} of {count:,} shards are there already")
    if cluster:
        tasks = Cluster(cluster) if isinstance(cluster, str) else cluster
        raise_if_failed(run_shards(work, left, tasks, progress))
        return
    outcome: Outcome[Summary] = Outcome()
    for shard in left:
        try:
            outcome.done[shard] = work(shard, progress=progress)
            progress.say(said(shard, outcome.done[shard]))
        except DataError as error:
            outcome.failed[shard] = str(error)
            progress.say(f"shard {shard}: {error}")
    raise_if_failed(outcome)


def run_shards(
    work: Callable[[Shard], Summary],
    shards: Sequence[Shard],
    cluster: Cluster,
    progress: Progress,
    name: str = "shards",
) -> Outcome[Summary]:
    """`work(shard)` for each shard, as tasks of Ray; what each returned.

    A shard whose task fails, or whose process dies more than `cluster.retries` times, is in
    `failed` and stops no other. What every shard would fail by, a UsageError or a ModelError,
    stops all at once and is raised. Ctrl-C cancels what runs; a cluster that was started here ends
    with the call.

    Raises ModelError where Ray is not installed, UsageError for a cluster that does not answer or
    has no room for such a task.
    """
    outcome: Outcome[Summary] = Outcome()
    if not shards:
        return outcome
    with _connected(cluster.address, progress) as ray:
        at_once = _at_once(ray, cluster)
        task = ray.remote(
            num_cpus=cluster.cpus, num_gpus=cluster.gpus, max_retries=cluster.retries, max_calls=0
        )(_told)
        progress.start(name, len(shards))
        finished = _finished(ray, task, work, shards, AHEAD * at_once)
        with contextlib.closing(finished):
            for shard, result in finished:
                if isinstance(result, GraftError) and not isinstance(result, DataError):
                    raise result
                if isinstance(result, _Done):
                    outcome.done[shard] = result.summary
                else:
                    outcome.failed[shard] = str(result)
                    progress.say(f"shard {shard}: {result}")
                progress.advance(len(outcome.done) + len(outcome.failed))
        progress.finish()
    return outcome


def raise_if_failed(outcome: Outcome[Any]) -> None:
    """DataError, naming the first, if any shard failed."""
    if outcome.failed:
        shard, why = min(outcome.failed.items(), key=lambda item: item[0].number)
        raise DataError(
            f"{len(outcome.failed):,} of {len(outcome.failed) + len(outcome.done):,} shards failed "
            f"(first: {shard}: {why}); the same command goes on with those that are missing"
        )


@dataclass(frozen=True)
class _Done(Generic[Summary]):
    summary: Summary


def _told(work: Callable[[Shard], Any], shard: Shard) -> Any:
    # What is wrong with the input comes back as a value: Ray would wrap it and print it.
    try:
        return _Done(work(shard))
    except GraftError as error:
        return error


def _finished(
    ray: Any, task: Any, work: Callable[[Shard], Any], shards: Sequence[Shard], most: int
) -> Generator[tuple[Shard, Any], None, None]:
    """Each shard with its result or error as it ends; at most `most` are submitted at a time."""
    waiting, running = list(reversed(shards)), dict[Any, Shard]()
    try:
        while waiting or running:
            while waiting and len(running) < most:
                shard = waiting.pop()
                running[task.remote(work, shard)] = shard
            ended, _ = ray.wait(list(running), num_returns=1, timeout=LOOK_SECONDS)
            for reference in ended:
                shard = running.pop(reference)
                try:
                    yield shard, ray.get(reference)
                except ray.exceptions.RayTaskError as error:
                    yield shard, _first_line(error.cause)
                except ray.exceptions.RayError as error:
                    yield shard, _first_line(error)
    finally:
        for reference in running:
            with contextlib.suppress(Exception):  # the cluster may be gone
                ray.cancel(reference, force=True)


def _first_line(error: BaseException) -> str:
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0][:200]}" if said else type(error).__name__


@contextlib.contextmanager
def _connected(address: str, progress: Progress) -> Iterator[Any]:
    """Ray, connected to the cluster; disconnected after it, and ended if it was started here."""
    if importlib.util.find_spec("ray") is None:
        raise ModelError("--cluster needs ray, not installed; pip install 'graft[ray]'")
    # Before it is imported: what Ray asks of its environment it asks then.
    for setting, value in QUIET.items():
        os.environ.setdefault(setting, value)
    import ray

    quiet = {"logging_level": logging.CRITICAL, "log_to_driver": False, "configure_logging": True}
    if ray.is_initialized():
        yield ray
        return
    # Ray prints that a process died; stdout is for answers.
    with contextlib.redirect_stdout(sys.stderr):
        place = _start(ray, address, quiet)
        progress.say(f"cluster: {place}, {_room(ray)}")
        try:
            yield ray
        finally:
            ray.shutdown()


QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_USAGE_STATS_PROMPT_ENABLED": "0",
    "RAY_SCHEDULER_EVENTS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TQDM": "0",
}


def _start(ray: Any, address: str, quiet: dict[str, Any]) -> str:
    """Connect, and say to what."""
    if address not in (AUTO, LOCAL):
        try:
            _reach(address)
            ray.init(address=address, **quiet)
        except (OSError, ValueError, RuntimeError) as error:
            raise UsageError(
                f"--cluster {address}: no Ray cluster answers there ({_first_line(error)}); "
                "expected HOST:PORT as `ray start --head` says it, auto or local"
            ) from error
        return address
    if address == AUTO:
        with contextlib.suppress(ConnectionError):
            ray.init(address="auto", **quiet)
            return "the one that this machine belongs to"
    _start_here(ray, quiet)
    return "a new one on this machine"


def _start_here(ray: Any, quiet: dict[str, Any]) -> None:
    # Tasks return a few numbers: the least store that Ray accepts is enough.
    least = 80 * 2**20
    for attempt in range(1, STARTS + 1):
        try:
            ray.init(address=LOCAL, include_dashboard=False, object_store_memory=least, **quiet)
            return
        except Exception as error:  # Ray raises plain ones where its processes are not up in time
            ray.shutdown()
            if attempt == STARTS:
                raise UsageError(
                    f"Ray could not be started on this machine ({_first_line(error)}); try again "
                    "when it is less busy, or leave --cluster out"
                ) from error


def _reach(address: str) -> None:
    """Raise OSError or ValueError where nobody listens: Ray would try for a quarter of an hour."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    with socket.create_connection((host, int(port)), CONNECT_SECONDS):
        pass


def _room(ray: Any) -> str:
    found = ray.cluster_resources()
    return f"{found.get('CPU', 0):g} CPUs, {found.get('GPU', 0):g} GPUs"


def _at_once(ray: Any, cluster: Cluster) -> int:
    """How many tasks can run at once; UsageError where not one fits into any machine."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]

    def fitting(resources: dict[str, float]) -> int:
        wanted = {"CPU": cluster.cpus, "GPU": cluster.gpus}
        fits = [resources.get(name, 0) / need for name, need in wanted.items() if need]
        return math.floor(min(fits, default=1))

    if found := sum(map(fitting, nodes)):
        return found
    raise UsageError(
        f"a task of {cluster.cpus:g} CPUs and {cluster.gpus:g} GPUs fits into no machine of the "
        f"cluster, which has {_room(ray)}; ask for less (--task-cpus, --task-gpus)"
    )
