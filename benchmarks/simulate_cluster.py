"""Shards on many workers, simulated: stragglers and failures against the formula of docs/scale.md.

[--workers 1000] [--shards 10000] [--minutes 20] [--spread 0.3] [--slow 0.02] [--fail 0.01]
[--rounds 20] [--seed 0]: each worker takes the next shard when it is free. A shard takes `minutes`
on average, log-normal with a relative `spread`; a share `slow` of the workers takes three times
as long; each worker fails `fail` times an hour, loses the shard under way, and is back after five
minutes. With one copy of the last shards started again on free workers, as Ray and MapReduce do
(Dean and Ghemawat 2004), and without.
"""

import argparse
import heapq
import math
from dataclasses import dataclass, fields

import numpy as np

from benchmarks.common import show

SLOWER, BACK = 3.0, 5.0  # times; minutes


@dataclass(frozen=True)
class Cluster:
    """What the options say; see the top."""

    workers: int
    shards: int
    minutes: float
    spread: float
    slow: float
    fail: float


def simulated(random: np.random.Generator, given: Cluster, copies: bool) -> tuple[float, int]:
    """Minutes until all shards are done, and how many shards were lost on the way."""
    sigma = math.sqrt(math.log(1 + given.spread**2))
    average = math.log(given.minutes) - sigma**2 / 2
    pace = np.where(random.random(given.workers) < given.slow, SLOWER, 1.0)
    waiting, done, lost = list(range(given.shards)), np.zeros(given.shards, bool), 0
    running: dict[int, int] = {}  # how many copies of a shard are under way
    free = [(0.0, worker) for worker in range(given.workers)]
    ends: list[tuple[float, int, int, bool]] = []  # when, worker, shard, whether it was lost
    now = 0.0
    while not done.all():
        while free and free[0][0] <= now:
            shard = _next(waiting, running, done, copies)
            if shard is None:
                break
            _, worker = heapq.heappop(free)
            takes = pace[worker] * random.lognormal(average, sigma)
            breaks = random.exponential(60 / given.fail) if given.fail else math.inf
            running[shard] = running.get(shard, 0) + 1
            heapq.heappush(ends, (now + min(takes, breaks), worker, shard, breaks < takes))
        times = [one[0][0] for one in (ends, free) if one]
        now = min(time for time in times if time > now)
        while ends and ends[0][0] <= now:
            _, worker, shard, broke = heapq.heappop(ends)
            running[shard] -= 1
            heapq.heappush(free, (now + BACK if broke else now, worker))
            if not broke:
                done[shard] = True
            elif not done[shard]:
                lost += 1
                if not running[shard]:
                    waiting.append(shard)
    return now, lost


def _next(
    waiting: list[int], running: dict[int, int], done: np.ndarray, copies: bool
) -> int | None:
    """A shard that waits; if none does, one that is under way once and may be started again."""
    if waiting:
        return waiting.pop()
    if not copies:
        return None
    return next((s for s, n in running.items() if n == 1 and not done[s]), None)


def formula(given: Cluster, copies: bool) -> float:
    """Minutes by the formula: work over speed, with what failures cost, and the last shard.

    A shard of m minutes on a worker that fails at rate f takes (e^(f m) - 1)(1/f + back) on
    average. When no shard waits any more, those under way end: at worst one that a slow worker
    has just begun, or with copies one that is begun again on another.
    """
    rate, minutes = given.fail / 60, given.minutes
    each = (math.exp(rate * minutes) - 1) * (1 / rate + BACK) if rate else minutes
    speed = given.workers * (1 - given.slow + given.slow / SLOWER)
    last = minutes * (1 + given.spread) * (SLOWER if given.slow and not copies else 1)
    return given.shards * each / speed + last


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--shards", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--spread", type=float, default=0.3)
    parser.add_argument("--slow", type=float, default=0.02)
    parser.add_argument("--fail", type=float, default=0.01)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    given = Cluster(**{field.name: getattr(asked, field.name) for field in fields(Cluster)})
    ideal = asked.shards * asked.minutes / asked.workers
    for copies in (False, True):
        expected = formula(given, copies)
        found = [
            simulated(np.random.default_rng([asked.seed, n]), given, copies)
            for n in range(asked.rounds)
        ]
        minutes = np.array([one[0] for one in found])
        show(
            "simulate_cluster",
            workers=asked.workers,
            shards=asked.shards,
            copies_of_the_last=copies,
            ideal_minutes=round(ideal, 1),
            formula_minutes=round(expected, 1),
            minutes=round(float(np.median(minutes)), 1),
            longest=round(float(minutes.max()), 1),
            ratio_to_formula=round(float(np.median(minutes)) / expected, 3),
            shards_lost=round(float(np.mean([one[1] for one in found])), 1),
        )


if __name__ == "__main__":
    main()
