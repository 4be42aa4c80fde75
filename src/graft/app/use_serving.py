"""`graft serve` of a run, started and ended from the page."""

import io
import subprocess
from pathlib import Path
from threading import Lock, Thread
from time import sleep
from urllib.request import ProxyHandler, build_opener

from graft.app.child_process import Process, begin, end
from graft.app.json_routes import Record
from graft.app.project import Project
from graft.errors import UsageError
from graft.runs.run import Run

PAUSE = 0.2  # seconds between looks at whether it is ready
STOP_SECONDS = 15.0


class Serving:
    """One server at a time, on a free port of this machine only; it ends with the app."""

    def __init__(self, project: Project) -> None:
        self.project, self.lock = project, Lock()
        self.run = self.address = ""
        self.log = Path()
        self.process: Process | None = None

    def start(self, run: Run, max_error: str | None = None) -> Record:
        """Serve a run; UsageError while another one is served."""
        with self.lock:
            if self.process is not None and self.process.poll() is None:
                raise UsageError(f"{self.run} is served already; stop it first")
            self.run, self.address = run.name, ""
            self.log = self.project.home / "serve.log"
            command = ["serve", str(run.path), "--port", "0"]
            command += ["--max-error", max_error] if max_error else []
            with self.log.open("wb") as log:
                self.process = begin(command, subprocess.PIPE, log)
            Thread(target=self._listen, args=(self.process,), daemon=True).start()
        return self.state()

    def state(self) -> Record:
        """`state`: off, starting, on or failed; where it is, or why it is not."""
        found: Record = {"run": self.run, "address": self.address, "said": ""}
        process = self.process
        if process is None:
            return found | {"state": "off"}
        if process.poll() is None:
            return found | {"state": "on" if self.address else "starting"}
        return found | {"state": "failed", "said": self._why()}

    def stop(self) -> Record:
        """End the server: what it accepted is answered first."""
        with self.lock:
            process, self.process = self.process, None
            self.address = ""
            if process is not None:
                end(process, STOP_SECONDS)
        return self.state()

    def _listen(self, process: Process) -> None:
        """Its first line says where it is; reading on, it is never kept waiting."""
        with process.stdout or io.BytesIO() as lines:
            for line in map(bytes.decode, lines):
                if line.startswith("http://"):
                    address = line.partition("/docs")[0]
                    _until_ready(address, process)
                    if process is self.process:
                        self.address = address

    def _why(self) -> str:
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        except OSError:
            lines = []
        return lines[-1].removeprefix("graft: ") if lines else "the server ended"


def _until_ready(address: str, process: Process) -> None:
    """Return when the server answers images, or has ended: it listens before it is warm."""
    opener = build_opener(ProxyHandler({}))
    while process.poll() is None:
        try:
            opener.open(f"{address}/readyz", timeout=10).close()
        except OSError:  # of HTTP, too: 503 while it warms up
            sleep(PAUSE)
        else:
            return
