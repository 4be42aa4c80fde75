"""A client for the serve benchmarks: raw sockets, so that it takes little of the shared cores.

Everything goes to 127.0.0.1.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from benchmarks.common import GRAFT, WEIGHTS, images, timed


def run_and_folder(place: Path, cache: Path) -> tuple[Path, Path]:
    """RUN and FOLDER of the command line; without them a run that is trained now, on flowers."""
    if len(sys.argv) > 2:
        return Path(sys.argv[1]), Path(sys.argv[2])
    run, folder = place / "run", images("flowers")
    command = [*GRAFT, "train", str(folder), "--model", WEIGHTS, "--views", "1"]
    timed([*command, "--out", str(run)], cache)
    return run, folder


class Served:
    """`graft serve RUN` as a process, ready to answer; `log` is the file of its stderr."""

    def __init__(self, run: Path, folder: Path, *options: object, ready: bool = True) -> None:
        self.log = folder / "serve.log"
        command = [*GRAFT, "serve", f"model={run}", "--port", "0", *map(str, options)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self.log.open("w"), text=True
        )
        assert self.process.stdout
        line = self.process.stdout.readline()
        found = re.match(r"http://127\.0\.0\.1:(\d+)/", line)
        if not found:
            sys.exit(f"graft serve did not start: {self.log.read_text()}")
        self.port = int(found[1])
        if ready:
            self.wait_ready()

    def wait_ready(self) -> None:
        """Until the warm-up is over."""
        for _ in range(1200):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5):
                    return
            except OSError:
                time.sleep(0.1)
        sys.exit("graft serve was not ready within two minutes")

    def memory(self) -> int:
        """Resident bytes of the process now."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def cpu_seconds(self) -> float:
        """Of the process, since it began."""
        parts = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")

    def children(self) -> int:
        """How many processes it has begun that still run."""
        task = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return len(task.read_text().split())

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, list[dict]]:
        """Send a signal; the exit code and the log."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(timeout=90)
        lines = [line for line in self.log.read_text().splitlines() if line.startswith("{")]
        return code, [json.loads(line) for line in lines]


def request(data: bytes, kind: str = "image/jpeg", path: str = "/v1/models/model:predict") -> bytes:
    """The bytes of a request."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


def form(files: list[tuple[str, bytes]]) -> bytes:
    """A request with a multipart form of files."""
    parts = [
        b'--edge\r\nContent-Disposition: form-data; name="image"; filename="%s"\r\n\r\n%s\r\n'
        % (name.encode(), data)
        for name, data in files
    ]
    return request(b"".join(parts) + b"--edge--\r\n", "multipart/form-data; boundary=edge")


class Connection:
    """One connection, kept alive; opened again after an end."""

    def __init__(self, port: int, timeout: float = 120) -> None:
        self.port, self.timeout = port, timeout
        self.socket: socket.socket | None = None

    def ask(self, sent: bytes) -> tuple[int, bytes]:
        """Status and body; OSError or ConnectionError where the connection ends before."""
        if self.socket is None:
            self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=self.timeout)
        try:
            self.socket.sendall(sent)
            status, body, closing = read_reply(self.socket)
        except OSError:
            self.close()
            raise
        if closing:
            self.close()
        return status, body

    def close(self) -> None:
        """End it."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None


def read_reply(connection: socket.socket) -> tuple[int, bytes, bool]:
    """Status, body and whether the server closes; ConnectionError for an answer cut off."""
    came = b""
    while (end := came.find(b"\r\n\r\n")) < 0:
        more = connection.recv(65536)
        if not more:
            raise ConnectionError("closed before an answer")
        came += more
    head, body = came[:end].lower(), came[end + 4 :]
    found = re.search(rb"content-length: (\d+)", head)
    size = int(found[1]) if found else 0
    while len(body) < size:
        more = connection.recv(65536)
        if not more:
            raise ConnectionError("closed within an answer")
        body += more
    return int(head[9:12]), body, b"connection: close" in head


def percentile(values: list[float], share: float) -> float:
    """The value below which so much of them lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
