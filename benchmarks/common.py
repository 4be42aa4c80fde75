"""What the benchmarks share: real images, fresh caches, timed processes."""

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

SHARED = Path(__file__).resolve().parents[2] / "shared"
WEIGHTS = f"local-dir:{SHARED / 'weights' / 'mobilenetv2_100.imagenet'}"
GRAFT = [str(Path(sys.executable).with_name("graft"))]


def images(name: str) -> Path:
    """The folder of `flowers` or `cats_dogs`, unpacked once below the system's temporary folder."""
    if not SHARED.is_dir():
        sys.exit(f"the benchmarks need real images and weights in {SHARED}")
    root = Path(tempfile.gettempdir()) / "graft-benchmarks"
    script = SHARED / "data" / "unpack"
    subprocess.run([sys.executable, script, root, name], check=True, stdout=subprocess.DEVNULL)
    return root / name


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
    print(json.dumps({"benchmark": name, **figures}), flush=True)
