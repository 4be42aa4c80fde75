"""A head on features that do not fit in memory: what shuffling by blocks costs, and its memory.

    python -m benchmarks block_shuffle [--rows 1000000] [--width 256] [--classes 20]

Synthetic features in files that are sorted by class, the worst case: rows that lie together are of
one class. Trained are a ridge regression by sums, and the head of `graft train` with full shuffling
(in memory), with blocks in a pool, and with blocks alone (each batch from one place).
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

FILES = 16


def written(folder: Path, rows: int, width: int, classes: int, noisy: float) -> None:
    """FILES files of features sorted by class: class centers with noise that overlaps."""
    from graft.utils.mapped_tensors import Blocks, write_tensors

    random = np.random.default_rng(0)
    centers = random.normal(size=(classes, width)).astype(np.float32)
    labels = np.sort(random.integers(0, classes, rows))
    for number, own in enumerate(np.array_split(labels, FILES)):

        def blocks(own=own, number=number):
            noise = np.random.default_rng([1, number])
            for part in np.array_split(own, max(1, len(own) // 4096)):
                x = centers[part] + noisy * noise.standard_normal((len(part), width), np.float32)
                yield x.astype(np.float16)

        values = Blocks((len(own), width), np.float16, blocks())
        write_tensors(folder / f"{number:02d}.tensors", {"y": own, "x": values}, {})


def read(folder: Path):
    """Train and val: activations (N, D) and labels (N,), every seventh row val."""
    from graft.features.activations import Activations
    from graft.utils.mapped_tensors import mapped_tensors

    maps, file, row, labels = [], [], [], []
    for number, path in enumerate(sorted(folder.glob("*.tensors"))):
        tensors = mapped_tensors(path)
        maps.append(tensors["x"])
        labels.append(np.array(tensors["y"]))
        file.append(np.full(len(labels[-1]), number, np.int32))
        row.append(np.arange(len(labels[-1])))
    whole = np.concatenate(labels)
    found = Activations(
        maps, np.concatenate(file), np.concatenate(row), maps[0].shape[1:], np.float16
    )
    val = np.arange(len(whole)) % 7 == 0
    parts = (np.flatnonzero(~val), np.flatnonzero(val))
    return [(found.select(rows), whole[rows]) for rows in parts]


def trained(folder: Path, way: str, classes: int, epochs: int) -> dict:
    """Accuracy on val, seconds and peak memory of this process, by one way of shuffling."""
    import torch

    from graft.features.blocks import statistics
    from graft.features.feature_sums import sums_of
    from graft.models.head import Head
    from graft.models.runtime import detect_runtime
    from graft.training.batches import batch_rows, shuffled, steps_of
    from graft.training.block_shuffle import BLOCK_ROWS, POOL_SHARE, BlockShuffle, on_disk
    from graft.training.loop import FitSettings, fit

    (train, labels), (val, val_labels) = read(folder)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    if way == "ridge":
        weights, biases = sums_of(train, labels, classes).ridge(0.01)
        right = sum(
            int(((x.astype(np.float64) @ weights.T + biases).argmax(1) == y).sum())
            for x, y in on_disk(val, val_labels)
        )
        accuracy = right / len(val_labels)
    else:
        batch = 256
        torch.manual_seed(0)
        head = Head(train.shape[0], classes, 256, 0.2, 0.5)
        head.standardize(*statistics(train, on_disk=way != "memory"))
        # The share that a pool has of many features; of few it would be half of them.
        few = int(len(labels) * POOL_SHARE)
        block, pool = {"blocks": (batch, batch), "pool": (BLOCK_ROWS, few)}.get(way, (1, 1))
        blocks = BlockShuffle([train], labels, train.order_on_disk(), batch, 0, pool, block)

        def drawn(epoch, start):
            rows = batch_rows(labels, batch, 0, epoch)[start:]
            return shuffled([train], labels, rows, epoch)

        given = drawn if way == "memory" else blocks.batches
        settings = FitSettings(epochs, 2e-3, 0.05, 0.1, 10, 0)
        steps = steps_of(len(labels), batch)
        line = fit(head, given, steps, lambda: on_disk(val, val_labels), settings, detect_runtime())
        accuracy = max(epoch.val_accuracy for epoch in line)
    return {
        "way": way,
        "rows": len(labels) + len(val_labels),
        "accuracy": round(accuracy, 4),
        "seconds": round(time.perf_counter() - began, 1),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "before_mb": before // 1024,
    }


def main() -> None:
    """One process a way, so that each has a peak of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--noise", type=float, default=8.0, help="1.0: as far as centers are.")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--ways", nargs="+", default=["ridge", "memory", "pool", "blocks"])
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        folder, way = given.one
        print(json.dumps(trained(Path(folder), way, given.classes, given.epochs)))
        return
    for rows in given.rows:
        with tempfile.TemporaryDirectory() as folder:
            written(Path(folder), rows, given.width, given.classes, given.noise)
            for way in given.ways:
                command = [sys.executable, "-m", "benchmarks.block_shuffle", "--one", folder, way]
                command += ["--classes", str(given.classes), "--epochs", str(given.epochs)]
                subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
