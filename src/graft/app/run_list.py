"""The runs of a project: which there are, and how each is getting on."""

import json
import math
import os
from pathlib import Path
from typing import Any

from graft.errors import GraftError
from graft.runs.folder import MARK, is_finished, lacks_report
from graft.runs.run import Run
from graft.utils.locks import lock

Record = dict[str, Any]

RUNNING, STOPPED, FAILED, FINISHED = "running", "stopped", "failed", "finished"


def run_names(runs: Path) -> list[str]:
    """The names of the runs, newest first: those that the app began, by number."""
    found = [file.stem for file in runs.glob("*.json")]
    return sorted(found, key=lambda name: (int(name) if name.isdecimal() else 0, name))[::-1]


def next_name(runs: Path) -> str:
    """The number of a new run."""
    used = [int(each.stem) for each in runs.iterdir() if each.stem.isdecimal()]
    return str(max(used, default=0) + 1)


def finished_runs(runs: Path) -> list[Run]:
    """The finished runs, newest first."""
    return [Run(runs / name) for name in run_names(runs) if is_finished(runs / name)]


def state_of(runs: Path, name: str) -> str:
    """One of RUNNING, STOPPED, FAILED and FINISHED, as its files and their lock say."""
    folder = runs / name
    if (folder / MARK).exists():
        held = lock(folder / MARK, shared=True)
        if held is None:
            return RUNNING
        os.close(held)
    if is_finished(folder) and not lacks_report(folder):
        return FINISHED
    if problem_of(runs, name):
        return FAILED
    return STOPPED


def problem_of(runs: Path, name: str) -> str:
    """The line with which graft ended for a reason; "" if it was stopped, or runs."""
    lines = log_lines(runs, name)
    last = lines[-1] if lines else ""
    ended = last.startswith("graft: ") and not last.startswith(
        ("graft: interrupted", "graft: terminated")
    )
    return last.removeprefix("graft: ") if ended else ""


def log_lines(runs: Path, name: str) -> list[str]:
    """What the training said, its last lines."""
    try:
        with (runs / f"{name}.log").open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - 4096))
            return stream.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return []


def asked_of(runs: Path, name: str) -> Record:
    """What the app began the run with: settings, command, pid, when, images and classes."""
    return dict(json.loads((runs / f"{name}.json").read_text(encoding="utf-8")))


def described(runs: Path, name: str, state: str) -> Record:
    """A run as the page lists it."""
    asked = asked_of(runs, name)
    found: Record = {
        "name": name,
        "state": state,
        "model": asked["settings"].get("model", ""),
        "unfreeze": asked["settings"].get("unfreeze", "none"),
        "images": asked["images"],
        "classes": asked["classes"],
        "started": asked["started"],
        "command": asked["command"],
    }
    if state == FINISHED:
        try:
            metrics = Run(runs / name).metrics
        except GraftError as error:
            return found | {"state": FAILED, "problem": str(error)}
        found["accuracy"] = metrics["accuracy"]
        found["tested"] = metrics["n"]
        found["seconds"] = metrics.get("seconds", {}).get("total")
        if asked.get("earlier"):  # it was stopped and went on
            ended = (runs / name / "metrics.json").stat().st_mtime
            found["seconds"] = asked["earlier"] + max(0.0, ended - asked["began"])
    elif state == FAILED:
        found["problem"] = problem_of(runs, name)
    return found


def curves_of(runs: Path, name: str) -> list[Record]:
    """The epochs so far; a line that is being written is left for the next time."""
    try:
        text = (runs / name / "history.jsonl").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return []
    lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    wanted = ("epoch", "stage", "train_loss", "val_loss", "val_accuracy", "seconds")
    return [{key: _finite(line.get(key)) for key in wanted} for line in lines]


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
