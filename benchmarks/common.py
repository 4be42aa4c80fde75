"""What the benchmarks share: images, weights, fresh caches, timed processes.

By default they use named datasets, which graft downloads once, and the default network, whose
weights come with graft. `--data FOLDER` (a folder with flowers/, cats_dogs/, cifar10/,
imagenet_samples/) and `--weights MODEL` (such as local-dir:FOLDER) of `python -m benchmarks` use
what is on the disk. `--small` runs on embedded digits, with a backbone trained on them; it needs
neither.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from graft.choices import DEFAULT_MODEL

# From `python -m benchmarks` to the benchmarks, which are processes of their own.
DATA, MODEL, SMALL = "GRAFT_BENCH_DATA", "GRAFT_BENCH_WEIGHTS", "GRAFT_BENCH_SMALL"
WEIGHTS = os.environ.get(MODEL, DEFAULT_MODEL)
IS_SMALL = bool(os.environ.get(SMALL))
GRAFT = [str(Path(sys.executable).with_name("graft"))]
# What graft calls the datasets; imagenet_samples is in none of its sources.
NAMED = {"flowers": "flowers", "cats_dogs": "cats_vs_dogs", "cifar10": "cifar10"}


def images(name: str) -> Path:
    """The folder of `flowers`, `cats_dogs`, `cifar10`, `imagenet_samples` or `digits`.

    Exits with what is missing. With `--small` flowers are digits; every line says so.
    """
    from graft.data.named_datasets import materialize
    from graft.errors import GraftError
    from graft.utils.cache_folder import sources_folder

    if IS_SMALL and name == "flowers":
        name = "digits"
    if (root := os.environ.get(DATA)) and name != "digits":
        folder = Path(root) / name
        if not folder.is_dir():
            sys.exit(f"{folder}: no such folder; --data takes a folder that has {name}/")
        return folder
    if name not in (*NAMED, "digits"):
        sys.exit(f"{name} cannot be downloaded; give a folder that has {name}/ with --data")
    try:
        return materialize(NAMED.get(name, name), sources_folder() / "datasets")
    except GraftError as error:
        sys.exit(f"{name}: {error}")


def photos(name: str) -> list[Path]:
    """The image files of a dataset, sorted by path."""
    from graft.data.sources import find_images

    return sorted(find_images(images(name)))


@contextmanager
def workplace() -> Iterator[Path]:
    """An empty folder that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="graft-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def timed(command: list[str], cache: Path) -> tuple[float, str]:
    """Seconds of a whole process from cold start, and its stdout."""
    environment = os.environ | {"GRAFT_CACHE": str(cache)}
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return seconds, done.stdout


def module(name: str, *arguments: object) -> list[str]:
    """The command that runs a module of this folder."""
    return [sys.executable, "-m", f"benchmarks.{name}", *map(str, arguments)]


def median(values: list[float]) -> float:
    """The middle value."""
    return statistics.median(values)


def show(name: str, **figures: object) -> None:
    """One line of JSON a result."""
    small = {"small": "digits, a backbone trained on digits"} if IS_SMALL else {}
    print(json.dumps({"benchmark": name, **figures, **small}), flush=True)
