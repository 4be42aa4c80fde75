"""A run of very many images and classes: how long its numbers and its report take, and how large.

[--images 10000000] [--test 1000000] [--classes 10000] [--out FOLDER]: makes a synthetic run folder,
with classes of very different sizes, groups and confusions between neighbors, in blocks. Then, each
in a process of its own, of which the peak memory is measured: the metrics with their intervals, the
report, the check of the digests. Then how long a browser takes until the page can be used. The
folder takes 0.1 GB for a million images and 0.2 GB for a million predictions.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import show, workplace

BLOCK = 1_000_000
SIDE = "synthetic"


def names_of(classes: int) -> list[str]:
    return [f"species {i:05d}" for i in range(classes)]


def labels_of(images: int, classes: int, random: np.random.Generator) -> Any:
    """Classes of images, the largest with the square of the others' share: a long tail."""
    return (classes * random.random(images) ** 2.5).astype(np.int64)


def write_images(run: Path, images: int, test: int, classes: int) -> None:
    """dataset.parquet, sorted by class as a folder is listed; every tenth image is of a burst."""
    import pyarrow as pa

    from graft.runs.parquet_files import TEXTS, table_writer

    random = np.random.default_rng(0)
    labels = np.sort(labels_of(images, classes, random))
    splits = np.zeros(images, np.int8)
    chosen = random.permutation(images)
    splits[chosen[:test]] = 2
    splits[chosen[test : test + test // 5]] = 1
    names = pa.array(names_of(classes))
    texts = [(name, pa.string()) for name in TEXTS]
    schema = pa.schema([*texts, ("sha256", pa.binary(32))])
    with table_writer(run / "dataset.parquet", schema) as writer:
        for start in range(0, images, BLOCK):
            rows = np.arange(start, min(start + BLOCK, images))
            label = names.take(pa.array(labels[rows]))
            digests = random.bytes(32 * len(rows))
            own = pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(32), len(rows), [None, pa.py_buffer(digests)]
            )
            columns = [
                pa.array([f"c{k}/{i}.jpg" for k, i in zip(labels[rows], rows, strict=True)]),
                label,
                pa.array(["train", "val", "test"]).take(pa.array(splits[rows])),
                pa.array([f"group:{i // 3}" for i in rows.tolist()]),
                own,
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema), row_group_size=65_536)
    np.savez(run.parent / "split.npz", labels=labels, splits=splits)


def write_predictions(run: Path, classes: int) -> None:
    """predictions.parquet: 80 % right, the others a neighbor; the largest probabilities of each."""
    import pyarrow as pa

    from graft.runs import parquet_files
    from graft.runs.top_probabilities import TOP

    stored = np.load(run.parent / "split.npz")
    labels, splits = stored["labels"], stored["splits"]
    random = np.random.default_rng(1)
    names = pa.array(names_of(classes))
    schema = parquet_files.predictions_schema(names_of(classes), whole=False)
    with parquet_files.table_writer(run / "predictions.parquet", schema) as writer:
        for number, name in ((1, "val"), (2, "test")):
            rows = np.flatnonzero(splits == number)
            for start in range(0, len(rows), BLOCK // 4):
                own = rows[start : start + BLOCK // 4]
                label = labels[own]
                wrong = random.random(len(own)) < 0.2
                first = (label + wrong * random.integers(1, 4, len(own))) % classes
                top = (first[:, None] + np.arange(TOP) * 7) % classes
                top[wrong, 1] = label[wrong]
                best = random.beta(6, 1.5, len(own))
                tail = 0.5 ** np.arange(1, TOP)
                values = np.c_[best, (1 - best)[:, None] * tail * 0.9]
                values = -np.sort(-values, axis=1)
                of_label = np.where(wrong, values[:, 1], values[:, 0])
                columns = [
                    pa.array([f"c{k}/{i}.jpg" for k, i in zip(label, own, strict=True)]),
                    pa.array([name] * len(own)),
                    names.take(pa.array(label)),
                    parquet_files.as_lists(top.astype(np.int32)),
                    parquet_files.as_lists(values.astype(np.float32)),
                    pa.array(of_label.astype(np.float32)),
                    pa.array((values**2).sum(1).astype(np.float32)),
                ]
                writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def write_rest(run: Path, classes: int) -> None:
    from graft.runs.run import Run

    stored = Run(run)
    stored.write_config({"source": SIDE, "settings": {}, "seed": 0})
    stored.write_findings([])
    stored.append_history({"epoch": 1, "train_loss": 1.0, "val_loss": 0.9, "seconds": 1.0})
    (run / "model.json").write_text(json.dumps({"classes": names_of(classes)}))


def metrics(run: Path) -> None:
    """Metrics with intervals over groups, as training computes them, and metrics.json."""
    from graft.data.groups import groups_that_count
    from graft.evaluation.metrics import evaluate
    from graft.runs.run import Run

    stored = Run(run)
    paths, labels, probabilities = stored.predictions("test")
    groups = groups_that_count(stored.group_ids(paths))
    found = evaluate(probabilities, labels, stored.classes, majority="species 00000", groups=groups)
    stored.write_metrics(found)


def page(run: Path) -> None:
    from graft.report.run_page import write_report
    from graft.runs.run import Run

    write_report(Run(run))


def digests(run: Path) -> None:
    from graft.runs.digests import check

    found = check(run)
    assert not [line for line in found if "model" not in line], found


STEPS = {
    "images": lambda a: write_images(a.out, a.images, a.test, a.classes),
    "predictions": lambda a: write_predictions(a.out, a.classes),
    "rest": lambda a: write_rest(a.out, a.classes),
    "metrics": lambda a: metrics(a.out),
    "report": lambda a: page(a.out),
    "digests": lambda a: digests(a.out),
}


def opened(file: Path) -> dict[str, float]:
    """Seconds until a page in a real browser is loaded and, with the search, has found a class."""
    from playwright.sync_api import sync_playwright

    flags = ("no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync")
    flags += ("disable-background-networking", "disable-component-update")
    with sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path="/usr/bin/chromium", args=[f"--{flag}" for flag in flags]
        )
        tab = browser.new_page(viewport={"width": 1200, "height": 900})
        begin = time.perf_counter()
        tab.goto(file.absolute().as_uri(), wait_until="load")
        found = {"seconds to load": round(time.perf_counter() - begin, 2)}
        if field := tab.query_selector("#class-search input"):
            begin = time.perf_counter()
            field.fill("00077")
            tab.wait_for_selector("#class-search tbody tr")
            found["seconds to find a class"] = round(time.perf_counter() - begin, 2)
        browser.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000_000)
    parser.add_argument("--test", type=int, default=1_000_000)
    parser.add_argument("--classes", type=int, default=10_000)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--step", choices=STEPS)
    asked = parser.parse_args()
    if asked.step:
        STEPS[asked.step](asked)
        return
    with workplace() as place:
        asked.out = asked.out or place / "run"
        asked.out.mkdir(parents=True, exist_ok=True)
        sizes = [
            f"--{name}={getattr(asked, name)}" for name in ("images", "test", "classes", "out")
        ]
        figures: dict[str, Any] = {"images": asked.images, "test": asked.test}
        figures["classes"] = asked.classes
        for step in STEPS:
            begin = time.perf_counter()
            command = [sys.executable, "-m", "benchmarks.large_run", f"--step={step}", *sizes]
            process = subprocess.Popen(command)
            _, status, usage = os.wait4(process.pid, 0)
            if status:
                sys.exit(f"{step} failed")
            figures[step] = {
                "seconds": round(time.perf_counter() - begin, 1),
                "peak MB": round(usage.ru_maxrss / 1024),
            }
            show("large_run", **{step: figures[step]})
        report = asked.out / "report.html"
        figures["page MB"] = round(report.stat().st_size / 1e6, 2)
        figures |= opened(report)
        show("large_run", **figures)


if __name__ == "__main__":
    main()
