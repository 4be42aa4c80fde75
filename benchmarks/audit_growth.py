"""How the audit grows: time, memory and what is found against the number of images.

near N [--work FOLDER] [--memory GB]: near-duplicates among N synthetic thumbnails, some of them
planted; with a work folder, an interrupted search goes on where it was. compare N: the same by
comparing all (near_duplicates.py). crowd N: N frames of one fixed camera. looks: how alike the
synthetic thumbnails are, and photos of flowers. steps N [CLASSES]: every other step of the audit
for N images. No image is written or kept: thumbnails are made when asked for.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import photos, show
from benchmarks.synthetic_thumbnails import Crowd, Synthetic
from graft.utils.progress import on_stderr

# Planted copies: one in so many images, at least and at most so many.
EVERY, FEWEST, MOST = 50, 400, 4000


def memory_mb() -> int:
    """The most that this process has had in memory at once, what it maps included."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)


def planted(count: int) -> Synthetic:
    return Synthetic(count, int(np.clip(count // EVERY, FEWEST, MOST)))


def recall(images: Synthetic, pairs: np.ndarray) -> dict[str, object]:
    """What is found of the planted pairs, and how many pairs were not planted."""
    true = np.sort(np.stack([images.places, images.sources], 1), 1)
    told = {tuple(pair) for pair in pairs.tolist()}
    hit = np.array([tuple(pair) in told for pair in true.tolist()])
    kinds = {
        name: round(float(hit[images.kind == i].mean()), 4) for i, name in enumerate(images.kinds)
    }
    return {
        "planted": len(true),
        "recall": round(float(hit.mean()), 4),
        "kinds": kinds,
        "others": len(told) - int(hit.sum()),
    }


def timed(search: Callable[[], Any]) -> tuple[Any, dict[str, object]]:
    """What a search finds, and the seconds and the memory that it takes."""
    start, cpu = time.perf_counter(), time.process_time()
    found = search()
    took, cpu = time.perf_counter() - start, time.process_time() - cpu
    return found, {"s": round(took, 1), "cpu_s": round(cpu, 1), "memory_mb": memory_mb()}


def in_cells(images: Synthetic | Crowd, work: Path | None) -> tuple[Any, dict[str, object]]:
    """The pairs and the size of the crowd that the search in cells finds; what it takes."""
    from graft.quality.near_search import near_pairs_in_cells

    with tempfile.TemporaryDirectory(prefix="graft-bench-") as spare:
        folder = work or Path(spare) / "work"
        found, cost = timed(
            lambda: near_pairs_in_cells(images, np.arange(len(images)), folder, on_stderr())
        )
        disk = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
    return found, cost | {"work_mb": round(disk)}


def near(count: int, work: Path | None) -> None:
    start = time.perf_counter()
    images = planted(count)
    made = round(time.perf_counter() - start, 1)
    (pairs, crowd), cost = in_cells(images, work)
    show("near", images=count, **cost, planting_s=made, crowd=crowd, **recall(images, pairs))


def compare(count: int, work: Path | None) -> None:
    from graft.data.fingerprint import FINGERPRINT
    from graft.quality.near_duplicates import near_pairs

    images = planted(count)
    found = np.zeros(count, FINGERPRINT)
    found["width"] = found["height"] = 64
    found["gray"] = images[np.arange(count)]
    pairs, cost = timed(lambda: near_pairs(found))
    show("compare", images=count, **cost, **recall(images, pairs))


def crowd(count: int, work: Path | None) -> None:
    from graft.quality.near_duplicates import clusters

    (pairs, alike), cost = in_cells(Crowd(count), work)
    sizes = sorted(map(len, clusters(pairs, count)), reverse=True)
    show(
        "crowd",
        images=count,
        **cost,
        pairs=len(pairs),
        crowd=alike,
        clusters=len(sizes),
        largest=sizes[:3],
    )


def looks(count: int, work: Path | None) -> None:
    from PIL import Image

    from graft.quality.near_sketches import reduced, sketcher

    flowers = [
        Image.open(file).convert("L").resize((64, 64), Image.Resampling.BOX)
        for file in photos("flowers")[:count]
    ]
    for name, gray in (
        ("photos", np.stack([np.asarray(one) for one in flowers])),
        ("synthetic", Synthetic(count, 0)[np.arange(count)]),
    ):
        small = reduced(gray)
        found = sketcher(small).whole(small)
        alike = found @ found.T
        np.fill_diagonal(alike, -1)
        nearest = np.quantile(alike.max(1), [0.1, 0.5, 0.9]).round(2).tolist()
        share = {str(least): float((alike > least).mean().round(6)) for least in (0.6, 0.75, 0.85)}
        show("looks", images=name, nearest=nearest, share_above=share)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    ways = {"near": near, "compare": compare, "crowd": crowd, "looks": looks, "steps": None}
    parser.add_argument("way", choices=ways)
    parser.add_argument("count", type=int)
    parser.add_argument("classes", type=int, nargs="?", default=0)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--memory", type=float, help="GB of memory that the process may ask for")
    asked = parser.parse_args()
    if asked.memory:
        most = int(asked.memory * 1e9)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    if asked.way == "steps":
        from benchmarks.audit_steps import steps

        steps(asked.count, asked.classes or min(10_000, asked.count // 50))
    else:
        ways[asked.way](asked.count, asked.work)


if __name__ == "__main__":
    main()
