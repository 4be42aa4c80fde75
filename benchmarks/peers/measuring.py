"""One peer's process: its clock, its memory, what it says of the test images."""

import json
import os
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from graft.evaluation.metrics import expected_calibration_error

THRESHOLDS = (0.90, 0.93, 0.95)
FOREVER = 3600.0  # a process that has not ended by then is ended


@dataclass(frozen=True)
class Peer:
    """A peer: its name, its environment's Python, its script, what it finds in its environment."""

    name: str
    python: str
    script: Path
    environment: dict[str, str]

    def run(self, folder: Path, out: Path, seconds: float, epochs: int = 0) -> tuple[int, int, str]:
        """Exit status, highest memory in bytes of all its processes, all that it printed."""
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        more = {"PEER_BEGAN": str(time.time()), "PEER_CACHE": str(out / "cache")}
        if epochs:
            more["PEER_EPOCHS"] = str(epochs)
        command = [self.python, str(self.script), str(folder), str(out), str(seconds)]
        with (out / "output.txt").open("w") as output:
            process = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=out,
                env=os.environ | self.environment | more,
            )
            highest = _watched(process)
        files = [out / "output.txt", *out.rglob("findings.json")]
        said = "\n".join(file.read_text(errors="replace") for file in files)
        return process.returncode, highest, said

    def output(self, folder: Path, out: Path, seconds: float, epochs: int) -> str:
        """All that it says of a folder: its output and, if it makes any, its list of findings."""
        return self.run(folder, out, seconds, epochs)[2]

    def lines(self) -> int:
        """Lines of code that a user writes: between the marks of its script, not empty ones."""
        count, counted = 0, False
        for line in self.script.read_text().splitlines():
            mark = line.strip()
            if mark.startswith("# user code"):
                counted = mark in ("# user code begins", "# user code goes on")
            elif counted and mark:
                count += 1
        return count


def measure(peer: Peer, folder: Path, place: Path, seconds: float) -> dict[str, Any]:
    """Accuracy, seconds to each of THRESHOLDS, calibration, memory, lines of a peer."""
    out = place / "out" / peer.name
    status, memory, _ = peer.run(folder, out, seconds)
    records = out / "records.jsonl"
    lines = records.read_text().splitlines() if records.exists() else []
    labels = true_labels(folder)
    curve = []
    for line in map(json.loads, lines):
        said = np.load(out / f"{line['record']:03d}.npy")
        right = float((said.argmax(1) == labels).mean())
        curve.append(
            {
                "seconds": line["seconds"],
                "accuracy": right,
                "ece": expected_calibration_error(said, labels),
            }
        )
    last = curve[-1] if curve else {"accuracy": None, "ece": None, "seconds": None}
    reached = {
        f"{level:.0%}": next((p["seconds"] for p in curve if p["accuracy"] >= level), None)
        for level in THRESHOLDS
    }
    return {
        "peer": peer.name,
        "exit": status,
        "n": len(labels),
        **last,
        "reached": reached,
        "curve": curve,
        "memory_mb": round(memory / 2**20),
        "lines": peer.lines(),
        "versions": versions(peer),
    }


def survived(peer: Peer, place: Path, kind: str) -> bool:
    """Whether it trains to its end on a folder with one broken file of this kind."""
    folder = place / f"broken-{kind.split()[0]}"
    return peer.run(folder, place / "out-broken" / peer.name, 120, epochs=1)[0] == 0


def true_labels(folder: Path) -> np.ndarray:
    """The class number of each test image, in the order of ways/measured.py."""
    classes = sorted(one.name for one in (folder / "train").iterdir())
    files = sorted(file for file in (folder / "test").rglob("*") if file.is_file())
    return np.array([classes.index(file.parent.name) for file in files])


def versions(peer: Peer) -> str:
    """The versions of the packages that matter, as its environment has them."""
    names = ("graft", "keras", "tensorflow-cpu", "fastai", "autogluon.multimodal", "ultralytics")
    asked = (
        "import importlib.metadata as m\n"
        "found = {d.metadata['Name'].lower(): d.version for d in m.distributions()}\n"
        f"for n in {(*names, 'torch', 'torchvision', 'timm')!r}:\n"
        "    if n in found: print(n, found[n])"
    )
    done = subprocess.run([peer.python, "-c", asked], capture_output=True, text=True)
    return ", ".join(done.stdout.splitlines())


def _watched(process: subprocess.Popen[Any]) -> int:
    """The highest sum of memory of a process and its children until it ends."""
    highest, deadline = 0, time.monotonic() + FOREVER
    watched = threading.Event()
    while process.poll() is None:
        total = 0
        try:
            one = psutil.Process(process.pid)
            for member in (one, *one.children(recursive=True)):
                total += member.memory_full_info().pss
        except psutil.Error:
            pass
        highest = max(highest, total)
        if time.monotonic() > deadline:
            process.kill()
        watched.wait(0.5)
    return highest
