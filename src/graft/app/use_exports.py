"""Exports of a project's runs, each made by a `graft export` of its own into exports/RUN-FORMAT."""

import json
from pathlib import Path
from threading import Lock

from graft.app.child_process import Process, begin, end
from graft.app.json_routes import Record
from graft.app.project import Project
from graft.errors import UsageError
from graft.runs.repeat_lines import FORMATS
from graft.runs.run import Run

CUT_OFF = ("graft: interrupted", "graft: terminated")
STOP_SECONDS = 20.0
LAST = 4000  # letters of a log that are looked at


class Exports:
    """Starts exports and says how each is doing. One is made at a time: each takes all cores.

    What is in the folders says which are done, so a restart loses none; one that is being made
    ends with the app and leaves nothing behind.
    """

    def __init__(self, project: Project) -> None:
        self.project, self.lock = project, Lock()
        self.running: tuple[str, Process] | None = None

    def start(self, run: Run, to: str) -> Record:
        """Begin to export a run; UsageError for an unknown format, one that is there already, or
        while another is being made.
        """
        if to not in FORMATS:
            raise UsageError(f"expected one of {', '.join(FORMATS)}, not {to[:40]!r}")
        folder = self._folder(run, to)
        with self.lock:
            if self.busy:
                raise UsageError("another export is being made; wait until it is done")
            if folder.exists():
                raise UsageError(f"{folder} is there already; delete it to make it anew")
            folder.parent.mkdir(exist_ok=True)
            command = ["export", str(run.path), "--to", to, "--out", str(folder), "--json"]
            with (
                _beside(folder, "log").open("wb") as log,
                _beside(folder, "json").open("wb") as out,
            ):
                self.running = (folder.name, begin(command, out, log))
        return self.state(run, to)

    @property
    def busy(self) -> bool:
        """Whether one is being made."""
        return self.running is not None and self.running[1].poll() is None

    def states(self, run: Run) -> list[Record]:
        """How the export of a run to each format is doing."""
        return [self.state(run, to) for to in FORMATS]

    def state(self, run: Run, to: str) -> Record:
        """`state`: new, running, done or failed; what was written, or the last line of the log."""
        folder = self._folder(run, to)
        found: Record = {"to": to, "state": "new", "folder": str(folder), "said": "", "files": {}}
        running = self.running
        if running and running[0] == folder.name and running[1].poll() is None:
            return found | {"state": "running", "said": _last_line(folder)}
        if folder.is_dir():
            files = sorted(file for file in folder.rglob("*") if file.is_file())
            sizes = {file.relative_to(folder).as_posix(): file.stat().st_size for file in files}
            return found | {"state": "done", "files": sizes, "parity": _parity(folder)}
        if _beside(folder, "log").is_file():
            said = _last_line(folder)
            if said.startswith(CUT_OFF) or not said.startswith("graft: "):
                said = "graft app was ended, or it was stopped, before it was done; make it again"
            return found | {"state": "failed", "said": said.removeprefix("graft: ")}
        return found

    def folder_of(self, run: Run, to: str) -> Path:
        """Where a finished export is; UsageError where there is none."""
        folder = self._folder(run, to)
        if to not in FORMATS or not folder.is_dir():
            raise UsageError("this export is not there; make it first")
        return folder

    def stop(self) -> None:
        """End the one that is being made, if there is one; nothing of it is left."""
        with self.lock:
            if self.running is not None and self.busy:
                end(self.running[1], STOP_SECONDS)

    def _folder(self, run: Run, to: str) -> Path:
        return self.project.home / "exports" / f"{run.name}-{to}"


def _beside(folder: Path, kind: str) -> Path:
    return folder.with_name(f".{folder.name}.{kind}")


def _last_line(folder: Path) -> str:
    try:
        text = _beside(folder, "log").read_bytes()[-LAST:].decode("utf-8", "replace")
    except OSError:
        return ""
    return next((line for line in reversed(text.splitlines()) if line.strip()), "").strip()


def _parity(folder: Path) -> Record | None:
    """What the export found when it compared itself with the run; None where it did not."""
    try:
        found = json.loads(_beside(folder, "json").read_text(encoding="utf-8")).get("parity")
        return {name: found[name] for name in ("images", "labels_changed", "refusals_changed")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
