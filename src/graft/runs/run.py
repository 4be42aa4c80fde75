"""The run folder: what is in it, who writes it when, and reading it back.

config.json        settings as asked and as used, versions, device, seed
dataset.csv        path, label, split, group, sha256; one line a usable image
findings.json        what check found
history.jsonl      one line an epoch
model.safetensors  weights
model.json         all that is needed to predict
predictions.csv    the test split: path, label, one probability a class
val_predictions.csv                 the validation split likewise
val_groups.json    what each validation image belongs to, where images belong together
nearest.json       the training images most like each test image that was named wrongly
neighbors.safetensors              where the training images' features lie
metrics.json       derived from predictions.csv; its presence means that the run is done
tensorboard/       event files, if asked for
report.html        made from the files above
speed.json         images a second at prediction, where `graft compare` has measured it
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.errors import DataError, UsageError
from graft.utils.files import write_text

# The validation split as it is predicted: what the policy of graft predict are made from.
VAL_PREDICTIONS = "val_predictions.csv"
# What each validation image belongs to, where images belong together.
VAL_GROUPS = "val_groups.json"
# The training images most like each test image that was named wrongly.
NEAREST = "nearest.json"
FILES = (
    "config.json",
    "dataset.csv",
    "findings.json",
    "history.jsonl",
    "model.safetensors",
    "model.json",
    VAL_PREDICTIONS,
    "predictions.csv",
    NEAREST,
    "neighbors.safetensors",
    "metrics.json",
    "report.html",
)
UNITS = {"s": 1, "m": 60, "h": 3600}
# What a run may hold besides.
OTHERS = (VAL_GROUPS, "speed.json", "tensorboard")


def new_run(out: Path, resume: bool = False) -> Path:
    """Make the run folder, or take one that was begun and not finished; without `resume` that
    one's checkpoints are removed.

    Raises UsageError for a finished run, a file, or a folder with something else in it: nothing
    of the user's is ever overwritten.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; --out takes a new folder")
    if (out / "metrics.json").exists():
        raise UsageError(f"{out} holds a finished run; choose another --out, or remove it first")
    if out.is_dir():
        strange = sorted(
            p.name
            for p in out.iterdir()
            if p.name not in (*FILES, *OTHERS) and not p.name.startswith(".")
        )
        if strange:
            raise UsageError(
                f"{out} holds something else than a run ({strange[0]}); choose another --out"
            )
        for name in (*FILES, VAL_GROUPS):
            (out / name).unlink(missing_ok=True)
        if not resume:
            remove_unfinished(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{out}: cannot be made: {error.strerror}") from error
    return out


def short_name(name: str) -> str:
    """The last name of a path or a model's name, without its ending: names a folder."""
    name = str(Path(name).absolute())
    return name.rstrip("/\\").replace("\\", "/").split("/")[-1].split(".")[0] or "run"


def lacks_report(run: Path) -> bool:
    """Whether a run was cut off between its last number and its report."""
    return (run / "metrics.json").exists() and not (run / "report.html").exists()


def free_folder(source: str, model: str, resume: bool = False) -> Path:
    """Where a run goes that was given no folder: one that holds no finished run; to `resume`, the
    first that lacks something.
    """
    base = Path("runs") / f"{short_name(source)}-{short_name(model)}"
    folder, number = base, 1
    while (folder / "metrics.json").exists() and not (resume and lacks_report(folder)):
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return folder


def remove_unfinished(run: Path) -> None:
    """Remove what only an unfinished run needs: checkpoints, and what was chosen on the way."""
    # Those cut off while they were written, too.
    for file in (*run.glob(".*.safetensors"), *run.glob(".*.partial"), run / ".choice.json"):
        file.unlink(missing_ok=True)


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV, all or nothing."""
    write_text(path, "".join(_csv_line(row) for row in [header, *rows]))


def _csv_line(row: Sequence[object]) -> str:
    # Written with \r\n at its end, because csv quotes no other line breaks than its terminator's.
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerow(row)
    return buffer.getvalue().removesuffix("\r\n") + "\n"


def write_predictions(
    path: Path,
    classes: Sequence[str],
    rows: Iterable[tuple[str, str, NDArray[np.float64]]],
) -> None:
    """Write predictions.csv: path, label, one probability a class, to 9 digits."""
    write_table(
        path,
        ["path", "label", *classes],
        ([name, label, *(f"{p:.9g}" for p in values)] for name, label, values in rows),
    )


def read_predictions(
    path: Path,
) -> tuple[list[str], NDArray[np.int64], NDArray[np.float64], list[str]]:
    """Read predictions.csv: paths, labels (N,), probabilities (N, K), classes."""
    with path.open(newline="", encoding="utf-8") as stream:
        reader = csv.reader(stream)
        classes = next(reader, [])[2:]
        rows = list(reader)
    number = {name: i for i, name in enumerate(classes)}
    try:
        labels = np.array([number[row[1]] for row in rows], np.int64)
        probabilities = np.array([row[2:] for row in rows], np.float64).reshape(-1, len(classes))
    except (IndexError, KeyError, ValueError) as error:
        raise DataError(f"{path}: not a table of predictions: {error}") from error
    return [row[0] for row in rows], labels, probabilities, classes


def read_json(path: Path) -> Any:
    """Read a JSON file of a run."""
    return json.loads(path.read_text(encoding="utf-8"))


def seconds_of(budget: str | None) -> float | None:
    """The seconds of "90s", "30m" or "2h"; None for no budget; UsageError for anything else."""
    if budget is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh])", budget.strip())
    if not found or not float(found[1]):
        raise UsageError(f"--time-budget is a time such as 90s, 30m or 2h, not {budget!r}")
    return float(found[1]) * UNITS[found[2]]
