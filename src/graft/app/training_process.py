"""Training as a process of its own, so that the pages go on answering: begun, stopped, resumed."""

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from threading import RLock
from typing import Any

from graft.app.child_process import Process, begin, lower_priority
from graft.app.dataset_table import write_dataset_table
from graft.app.project import Project
from graft.app.run_list import RUNNING, STOPPED, asked_of, next_name, run_names, state_of
from graft.config import TrainConfig, configs_of
from graft.errors import UsageError
from graft.utils.files import write_json


class Trainings:
    """The trainings of a project. One runs at a time; it goes on when the app ends."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.lock = RLock()
        self.processes: dict[Path, Process] = {}

    def state_of(self, name: str) -> str:
        """As in run_list, and RUNNING before the process has made its folder, be it of this app or
        of one before it.
        """
        runs = self.project.runs
        process = self.processes.get(runs / name)
        if process is not None:
            return RUNNING if process.poll() is None else state_of(runs, name)
        found = state_of(runs, name)
        return RUNNING if found == STOPPED and self._pid(name) else found

    def running(self) -> str | None:
        """The name of the run that is being trained."""
        names = run_names(self.project.runs)
        return next((name for name in names if self.state_of(name) == RUNNING), None)

    def start(self, settings: dict[str, Any]) -> str:
        """Begin a run on the images as they are now; its name.

        Raises UsageError for impossible settings or while another one runs, DataError without
        images.
        """
        configs_of(settings, TrainConfig)
        self.project.index.wait()
        with self.lock:
            self._check_free()
            runs = self.project.runs
            name = next_name(runs)
            images = self.project.images()
            table = write_dataset_table(runs, images, f"{name}.csv")
            used = [image for image in images if image.label and not image.kept_out]
            told = {
                "settings": settings,
                "images": len(used),
                "classes": len({image.label for image in used}),
                "started": datetime.now(UTC).isoformat(timespec="seconds"),
            }
            self._begin(name, told | {"command": _arguments(table, runs / name, settings)})
            return name

    def resume(self, name: str) -> None:
        """Let a run that was stopped go on. Raises UsageError for one that was not."""
        with self.lock:
            self._check_free()
            if name not in run_names(self.project.runs) or self.state_of(name) != STOPPED:
                raise UsageError(f"run {name} was not stopped, so it cannot go on")
            told = asked_of(self.project.runs, name)
            self._begin(
                name, told | {"earlier": _spent(self.project.runs, name, told)}, ["--resume"]
            )

    def stop(self, name: str) -> None:
        """End a training; `resume` lets it go on. Raises UsageError for one that does not run."""
        runs = self.project.runs
        with self.lock:
            if name not in run_names(runs) or self.state_of(name) != RUNNING:
                raise UsageError(f"run {name} does not run")
            process = self.processes.get(runs / name)
            if process and process.poll() is None:
                process.terminate()
                return
            pid = self._pid(name)
            if not pid:
                raise UsageError(
                    f"run {name} was begun elsewhere; end it there, in its terminal with Ctrl-C"
                )
            os.kill(pid, 15)

    def _pid(self, name: str) -> int:
        """The number of the process of a training that an app before this one began; 0 if it has
        ended, or was begun elsewhere.
        """
        runs = self.project.runs
        pid = int(asked_of(runs, name).get("pid", 0))
        return pid if pid and _trains(pid, runs / name) else 0

    def _check_free(self) -> None:
        if running := self.running():
            raise UsageError(f"run {running} is being trained; wait until it is done, or stop it")

    def _begin(self, name: str, told: dict[str, Any], more: list[str] | None = None) -> None:
        runs = self.project.runs
        told |= {"began": time.time()}
        write_json(runs / f"{name}.json", told)  # before it begins: it is then never unknown
        with (runs / f"{name}.log").open("ab") as log:
            process = begin([*told["command"][1:], *(more or [])], stderr=log, lasting=True)
        lower_priority(process.pid)
        self.processes[runs / name] = process
        write_json(runs / f"{name}.json", told | {"pid": process.pid})
        self.project.changed()


def _arguments(table: Path, folder: Path, settings: dict[str, Any]) -> list[str]:
    """The command that does the same in a terminal."""
    words = ["graft", "train", str(table), "--out", str(folder)]
    for name, value in settings.items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words += [f"--{option}", str(value)]
    return words


def _spent(runs: Path, name: str, told: dict[str, Any]) -> float:
    """The seconds that the processes of a training took so far; each writes a line as it ends."""
    ended = (runs / f"{name}.log").stat().st_mtime
    began = float(told.get("began", ended))
    return float(told.get("earlier", 0.0)) + max(0.0, ended - began)


def _trains(pid: int, folder: Path) -> bool:
    """Whether this process is the one that trains there: its number may be another's by now."""
    try:
        return str(folder).encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
