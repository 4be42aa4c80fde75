"""Which files a run folder holds, and which folder a run goes to. For taking one see claim.py."""

import re
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path

from graft.data.remote_address import public_address

# What a finished run holds; docs/run-folder.md says what is in each.
FILES = (
    "config.json",
    "dataset.csv",
    "findings.json",
    "history.jsonl",
    "model.safetensors",
    "model.json",
    "predictions.csv",
    "nearest.json",
    "neighbors.safetensors",
    "metrics.json",
    "report.html",
    "digests.json",
)
# What a report and a comparison need.
NEEDED = (
    "config.json",
    "dataset.csv",
    "findings.json",
    "history.jsonl",
    "model.json",
    "predictions.csv",
    "metrics.json",
)
# What a run of very many images holds in place of a CSV table; tables.py says from where on.
LARGE_TABLES = {"dataset.csv": "dataset.parquet", "predictions.csv": "predictions.parquet"}
# What a run may hold besides.
FOLDERS = ("tensorboard", "tune")
OPTIONAL = (
    "validation.json",
    "speed.json",
    "heat_maps.json",
    "classes.csv",
    *LARGE_TABLES.values(),
    *FOLDERS,
)
# Says that graft made the folder, for a run that is not finished.
MARK = ".graft-run"
# What only an unfinished run holds: besides its mark checkpoints, choices made on the way, and what
# was cut off while it was written (.tmp is how safetensors begins its files).
UNFINISHED = re.compile(
    rf"{re.escape(MARK)}|\.(fit|probe|fine-tune|encoder)\.safetensors|\.choice\.json"
    r"|\..+\.\d+-[0-9a-f]{8}\.partial|\.tmp\w{6}"
)


def remove_unfinished(run: Path) -> None:
    """Remove what only an unfinished run needs, but for its mark."""
    for file in run.iterdir():
        if UNFINISHED.fullmatch(file.name) and file.name != MARK:
            file.unlink(missing_ok=True)


def is_finished(run: Path) -> bool:
    """Whether a folder holds a run that was trained and evaluated to the end."""
    return (run / "metrics.json").is_file()


def model_files(run: Path) -> list[Path]:
    """The two files of a run's model, described first; empty where the folder holds none."""
    files = [run / "model.json", run / "model.safetensors"]
    return files if files[0].is_file() else []


def table_file(run: Path, name: str) -> Path:
    """The file of a run's table, dataset.csv or predictions.csv: the Parquet of a very large run
    where that is there, else the CSV, whether it is there or not.
    """
    large = run / LARGE_TABLES[name]
    return large if large.is_file() and not (run / name).exists() else run / name


def lacking(names: Iterable[str]) -> list[str]:
    """What a report and a comparison need and is not among the names of a folder's files."""
    there = set(names)
    return [n for n in NEEDED if n not in there and LARGE_TABLES.get(n) not in there]


def has_predictions(run: Path) -> bool:
    """Whether a run has predicted its val and test images."""
    return table_file(run, "predictions.csv").is_file()


def lacks_report(run: Path) -> bool:
    """Whether a run was cut off between its last number and its report."""
    return (run / "metrics.json").exists() and not (run / "report.html").exists()


def short_name(name: str) -> str:
    """The last name of a path or a model's name, without its ending: names a folder."""
    name = public_address(name)
    if "{" in name:  # many files in brace notation
        name = name.partition("{")[0].rstrip("-_.") or "shards"
    name = str(Path(name).absolute())
    return name.rstrip("/\\").replace("\\", "/").split("/")[-1].split(".")[0] or "run"


def folders_for(source: str, model: str) -> Iterator[Path]:
    """Where a run may go that was given no folder, best first."""
    base = Path("runs") / f"{short_name(source)}-{short_name(model)}"
    yield base
    for number in count(2):
        yield base.with_name(f"{base.name}-{number}")


def begun_folder(source: str, model: str) -> Path:
    """The first of those that holds no run, or one that lacks something: what to resume."""
    return next(f for f in folders_for(source, model) if not is_finished(f) or lacks_report(f))
