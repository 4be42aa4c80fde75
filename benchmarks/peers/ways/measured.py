"""What each way calls to be measured: its clock, which stops meanwhile, and the test images.

It needs nothing but NumPy, because every peer has its own virtual environment.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

FOLDER, OUT = Path(sys.argv[1]), Path(sys.argv[2])  # train/, val/, test/ with a folder per class
SECONDS = float(sys.argv[3])  # how long it may train
EPOCHS = int(os.environ.get("PEER_EPOCHS", "5"))
CLASSES = sorted(folder.name for folder in (FOLDER / "train").iterdir())
TEST = sorted(file for file in (FOLDER / "test").rglob("*") if file.is_file())
LITE0_KERAS = os.environ.get("PEER_LITE0_KERAS", "")
_began = float(os.environ["PEER_BEGAN"])  # time.time() before the process was started
_paused = 0.0


def elapsed() -> float:
    """Seconds since the process was started, without those spent in `record`."""
    return time.time() - _began - _paused


def record(probabilities_of_test) -> None:
    """Keep what the classifier says of TEST now: a function that gives (N, K) in its order."""
    global _paused
    at, seconds = time.time(), elapsed()
    found = np.asarray(probabilities_of_test(), np.float32)
    if found.shape != (len(TEST), len(CLASSES)):
        sys.exit(f"expected {(len(TEST), len(CLASSES))} probabilities, got {found.shape}")
    number = len(list(OUT.glob("*.npy")))
    np.save(OUT / f"{number:03d}.npy", found)
    with (OUT / "records.jsonl").open("a") as lines:
        lines.write(json.dumps({"record": number, "seconds": seconds}) + "\n")
    _paused += time.time() - at
