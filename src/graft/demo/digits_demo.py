"""`graft demo`: transfer learning told with nothing but what is embedded.

A network learns the digits 0 to 4 from all their images. Then 5 to 9 must be learned from ten
images a class: once from scratch, once by a head on the first network, frozen. Both are tested
on the same images.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from graft.config import SplitConfig, TrainConfig
from graft.data.sources import load_dataset
from graft.errors import UsageError
from graft.evaluation.comparison import read_comparison
from graft.report.demo_page import write_story
from graft.report.run_page import write_report
from graft.runs.run import Run
from graft.training.recipe import train
from graft.utils.cache_folder import cache_folder
from graft.utils.csv_table import write_table
from graft.utils.files import write_json
from graft.utils.progress import Progress

PER_CLASS = 10
IMAGE_SIZE = 32
SEED = 42
WAYS = {"scratch": "from scratch", "transfer": "frozen transfer from 0-4"}


def run_demo(out: Path, progress: Progress) -> dict[str, Any]:
    """Make the three runs below `out`, and out/report.html; return what the table shows.

    An earlier demo in `out` is replaced. Raises UsageError if `out` holds anything else.
    """
    ours = {"source", *WAYS, "few.csv", "source.csv", "demo.json", "report.html"}
    if out.exists():
        strange = [] if not out.is_dir() else [p.name for p in out.iterdir() if p.name not in ours]
        if not out.is_dir() or strange:
            raise UsageError(f"{out} holds something else than a demo; choose another --out")
        shutil.rmtree(out)
    out.mkdir(parents=True)
    source_table, few_table = _tables(out)
    settings: dict[str, Any] = {"flip": False, "seed": SEED}  # a mirrored digit is no digit

    progress.say("1 of 3: a small network learns the digits 0 to 4")
    first = train(
        source_table,
        TrainConfig(model="base_cnn", image_size=IMAGE_SIZE, **settings),
        SplitConfig(seed=SEED),
        out / "source",
        progress,
    )
    progress.say(f"2 of 3: the digits 5 to 9 from scratch, {PER_CLASS} images a class")
    scratch = train(
        few_table,
        TrainConfig(model="base_cnn", image_size=IMAGE_SIZE, **settings),
        SplitConfig(seed=SEED),
        out / "scratch",
        progress,
    )
    progress.say("3 of 3: the same by a new head on the first network, frozen")
    transfer = train(
        few_table,
        TrainConfig(model=str(out / "source"), **settings),
        SplitConfig(seed=SEED),
        out / "transfer",
        progress,
    )
    for run in (first, scratch, transfer):
        write_report(run)
    result = compared(scratch, transfer)
    result["report"] = str(write_story(out, result, first, scratch, transfer))
    write_json(out / "demo.json", result)
    return result


def _tables(out: Path) -> tuple[Path, Path]:
    digits = load_dataset("digits", cache_folder() / "sources").examples
    source = [e for e in digits if e.label < "5"]
    few: list[tuple[str, str, str]] = []
    random = np.random.default_rng(SEED)
    for label in "56789":
        mine = [e for e in digits if e.label == label]
        order = random.permutation(len(mine))
        for rank, index in enumerate(order):
            # Ten to learn from, of which two choose the epoch and the temperature; the rest test.
            split = "train" if rank < PER_CLASS - 2 else "val" if rank < PER_CLASS else "test"
            few.append((str(mine[index].file), label, split))
    write_table(out / "source.csv", ["image", "label"], [(str(e.file), e.label) for e in source])
    write_table(out / "few.csv", ["image", "label", "split"], few)
    return out / "source.csv", out / "few.csv"


def compared(scratch: Run, transfer: Run) -> dict[str, Any]:
    """The figures of both ways, and the test images that only one of them gets right."""
    ways = [
        {
            "way": WAYS[run.path.name],
            "accuracy": run.metrics["accuracy"],
            "macro_f1": run.metrics["macro_f1"],
            "macro_f1_interval": run.metrics["intervals"]["macro_f1"],
            "seconds": run.metrics["seconds"]["total"],
            "report": f"{run.path.name}/report.html",
        }
        for run in (scratch, transfer)
    ]
    (pair,) = read_comparison([scratch.path, transfer.path]).pairs
    return {
        "ways": ways,
        "n": pair.n,
        "conclusion": (
            f"{pair.only_second} are classified correctly only by transfer, {pair.only_first} only "
            "from scratch"
        ),
    }
