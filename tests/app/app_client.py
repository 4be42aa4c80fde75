"""`graft app` as a process, and a client that asks it as a browser does."""

import hashlib
import json
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

GRAFT = str(Path(sys.executable).parent / "graft")


def copied(rendered, folder, each, classes=("bowl", "mug", "vase")):
    for name in classes:
        (folder / name).mkdir(parents=True)
        for file in sorted((rendered / name).iterdir())[:each]:
            shutil.copy(file, folder / name)
    return folder


def contents(folder):
    """The digest and time of change of each file below a folder."""
    return {
        str(file.relative_to(folder)): (
            hashlib.sha256(file.read_bytes()).hexdigest(),
            file.stat().st_mtime_ns,
        )
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


class Address(str):
    """Where an app is, and the number of its process."""


@contextmanager
def served(*arguments):
    """`graft app ARGUMENTS` as a process; gives the address that it printed."""
    command = [GRAFT, "app", *map(str, arguments), "--no-browser"]
    if "--port" not in arguments:
        command += ["--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        address = Address(line.split()[0])
        address.pid = process.pid
        yield address
    finally:
        process.terminate()
        _, err = process.communicate(timeout=60)
        assert "Traceback" not in err, err


class Client:
    """Asks the app as a browser does that came in by its address."""

    def __init__(self, address):
        self.base = address.partition("/?")[0]
        self.port = int(self.base.rpartition(":")[2])
        self.cookie = f"graft-{self.port}={address.partition('token=')[2]}"

    def ask(self, path, body=None, method=None, **headers):
        """The status, the headers and the body of an answer."""
        sent = {"cookie": self.cookie, "content-type": "application/json"} | headers
        sent = {name: value for name, value in sent.items() if value is not None}
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        request = urllib.request.Request(self.base + path, data, sent, method=method)
        try:
            with urllib.request.build_opener(NoRedirect).open(request, timeout=60) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()

    def json(self, path, body=None, method=None, status=200):
        """The JSON of an answer with this status."""
        found, _, text = self.ask(path, body, method)
        assert found == status, text
        return json.loads(text)

    def wait_until_read(self):
        """Until the digests of all files are known."""
        for _ in range(600):
            if (state := self.json("/api/project"))["done"]:
                return state
            time.sleep(0.05)
        raise AssertionError("the files were not read in 30 s")


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None
