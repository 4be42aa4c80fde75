"""How fast a run predicts."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from graft.inference.saved_model import load
from graft.runs.run import Run
from graft.utils.progress import Progress

# Images that prediction is timed on, after a first batch that also pays for compiling.
WARM, TIMED = 32, 512


def measure_speed(run: Run, files: Sequence[Path], progress: Progress) -> None:
    """Predict up to TIMED of the files, and keep how many a second in the run."""
    predictor = load(run.path)
    there = [file for file in files if file.is_file()]
    # Of every class; a small set is gone through as often as it takes for a time worth giving.
    there = [there[i] for i in np.random.default_rng(0).permutation(len(there))]
    timed = (there * -(-TIMED // max(1, len(there))))[:TIMED]
    predictor.exact()  # what computes close calls again: made once, whenever the first comes
    for _ in predictor.encoded_files(timed[:WARM]):
        pass
    start = time.perf_counter()
    count = sum(1 for _ in predictor.encoded_files(timed))
    seconds = time.perf_counter() - start
    backend = predictor.backend.name
    run.write_speed({"images_per_second": count / seconds, "images": count, "backend": backend})
    progress.say(f"prediction: {count / seconds:,.0f} images/s, {backend}")
