"""Fitting a head on cached features while PyTorch's threads wait by spinning, beside other work.

[ROUNDS]: medians (default 3) of `graft train` on flowers, everything cached, for several values of
GOMP_SPINCOUNT, with nothing else running and beside two processes that compute.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.common import GRAFT, WEIGHTS, images, median, show, timed, workplace

COUNTS = ("300000", "50000", "10000", "1000", "passive")  # the first is libgomp's own


@contextmanager
def beside(processes: int) -> Iterator[None]:
    """So many processes that compute without end."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def fit_seconds(place: Path, count: str) -> float:
    """The seconds that fitting the head takes of a whole `graft train`."""
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        os.environ.pop(name, None)
    name = "OMP_WAIT_POLICY" if count == "passive" else "GOMP_SPINCOUNT"
    os.environ[name] = count
    command = [*GRAFT, "train", str(images("flowers")), "--model", WEIGHTS, "--json"]
    number = len(list(place.glob("run-*")))
    _, printed = timed([*command, "--out", str(place / f"run-{number}")], place / "cache")
    return float(json.loads(printed)["seconds"]["fit"])


def main() -> None:
    rounds = int(sys.argv[1]) if sys.argv[1:] else 3
    with workplace() as place:
        fit_seconds(place, COUNTS[0])  # fills the cache
        for processes in (0, 2):
            with beside(processes):
                for count in COUNTS:
                    found = [fit_seconds(place, count) for _ in range(rounds)]
                    figures = {"fit_s": round(median(found), 2), "beside": processes}
                    show("waiting_threads", spin_count=count, **figures)


if __name__ == "__main__":
    main()
