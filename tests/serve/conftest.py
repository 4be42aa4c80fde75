import base64
import contextlib
import http.client
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="needs graft[serve]")

from graft.serve.http_server import Server
from graft.serve.limits import Limits
from graft.serve.listening import bound
from graft.serve.served_runs import Asked, ServedRuns
from graft.serve.service import Service

GRAFT = str(Path(__import__("sys").executable).parent / "graft")


@dataclass(frozen=True)
class Reply:
    """What came back: status, headers by lower-case name, body."""

    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


class Client:
    """Talks to a server on a port of this machine, one connection a request."""

    def __init__(self, port, name="digits"):
        self.port, self.name = port, name

    @property
    def predict_path(self):
        return f"/v1/models/{self.name}:predict"

    def ask(self, method, path, body=None, **headers):
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, named)
            reply = connection.getresponse()
            found = {key.lower(): value for key, value in reply.getheaders()}
            return Reply(reply.status, found, reply.read())
        finally:
            connection.close()

    def get(self, path, **headers):
        return self.ask("GET", path, **headers)

    def predict(self, data, kind="application/octet-stream", **headers):
        return self.ask("POST", self.predict_path, data, Content_Type=kind, **headers)

    def predict_json(self, asked, **headers):
        return self.predict(json.dumps(asked), "application/json", **headers)

    def predict_form(self, files, **headers):
        body, kind = form(files)
        return self.predict(body, kind, **headers)

    def metric(self, line):
        for found in self.get("/metrics").body.decode().splitlines():
            if found.startswith(line + " "):
                return float(found.rpartition(" ")[2])
        return 0.0


def form(files):
    """A multipart form of (name, bytes) pairs, with its content type."""
    parts = [
        b'--edge\r\nContent-Disposition: form-data; name="image"; filename="%s"\r\n\r\n%s\r\n'
        % (name.encode(), data)
        for name, data in files
    ]
    return b"".join(parts) + b"--edge--\r\n", "multipart/form-data; boundary=edge"


def encoded(data):
    return base64.b64encode(data).decode()


@contextlib.contextmanager
def served(paths, key=None, asked=None, memory=None, warm=True, **limits) -> Iterator[tuple]:
    """A server in a thread of this process: its client and itself."""
    runs = ServedRuns(paths, asked or Asked(), memory)
    limits = {"drain_seconds": 0.0, "connections": 100} | limits
    service = Service(runs, Limits(**limits), key)
    listening = bound("127.0.0.1", 0)
    server = Server(service, runs.read())
    client = Client(listening.getsockname()[1], next(iter(paths)))
    thread = threading.Thread(target=server.run, args=[[listening]])
    thread.start()
    try:
        until(lambda: runs.ready or not warm or server.should_exit)
        yield client, server
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


def until(happened, seconds=60):
    """Wait for it."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


class Process:
    """`graft serve` as a process of its own, ready to answer."""

    def __init__(self, run, *options, **environment):
        command = [GRAFT, "serve", f"digits={run}", "--port", "0", *map(str, options)]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        )
        self.address = self.process.stdout.readline().split()[0]
        self.client = Client(int(self.address.rpartition(":")[2].partition("/")[0]))
        until(lambda: self.client.get("/readyz").status == 200)

    def stop(self, number=signal.SIGTERM):
        """Send a signal; the exit code and the lines of the log."""
        self.process.send_signal(number)
        _, log = self.process.communicate(timeout=60)
        return self.process.returncode, [json.loads(x) for x in log.splitlines() if x[:1] == "{"]


@pytest.fixture(scope="session")
def process_of():
    """process_of(run, "--option", …): see Process. It is killed at the end of the tests."""
    begun = []

    def begin(*arguments, **environment):
        begun.append(Process(*arguments, **environment))
        return begun[-1]

    yield begin
    for one in begun:
        one.process.kill()
        one.process.communicate()


@pytest.fixture(scope="session")
def server_of():
    """The context manager `served`."""
    return served


@pytest.fixture(scope="session")
def client(finished):
    """A client of a server of the run on digits, with the usual limits."""
    with served({"digits": finished}) as (found, _):
        yield found


@pytest.fixture(scope="session")
def digit_files(digits):
    """Files of digits: every tenth."""
    return sorted(digits.rglob("*.png"))[::10]


@pytest.fixture(scope="session")
def make_form():
    """The function `form`."""
    return form


@pytest.fixture(scope="session")
def base64_of():
    """The function `encoded`."""
    return encoded


@pytest.fixture(scope="session")
def wait_until():
    """The function `until`."""
    return until
