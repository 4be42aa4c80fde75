"""Stores on this machine for tests: web servers of folders, and one that speaks as the Hub does."""

import functools
import json
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha1, sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit


class FolderServer(ThreadingHTTPServer):
    """Serves a folder with pages of links. `asked` are the requests; `password` and `signature`,
    if they are set, are needed for all of them; `refused` paths get a 403.
    """

    daemon_threads = True

    def __init__(self, folder: Path, handler: type[SimpleHTTPRequestHandler]):
        super().__init__(("127.0.0.1", 0), functools.partial(handler, directory=str(folder)))
        self.folder = folder
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.asked: list[str] = []
        self.password = self.signature = ""
        self.refused: set[str] = set()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves is what some tests are about."""

    def fetched(self) -> list[str]:
        """The paths of the images that were fetched."""
        return [path for kind, path in map(str.split, self.asked) if kind == "GET" and "." in path]


class Folder(SimpleHTTPRequestHandler):
    server: FolderServer

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        if self._allowed():
            super().do_HEAD()

    def do_GET(self) -> None:
        if self._allowed():
            super().do_GET()

    def _allowed(self) -> bool:
        parts = urlsplit(self.path)
        self.server.asked.append(f"{self.command} {parts.path}")
        given = self.headers.get("Authorization", "")
        needed = "Basic " + b64encode(self.server.password.encode()).decode()
        if self.server.password and given != needed:
            self.send_error(401)
            return False
        signed = parse_qs(parts.query).get("sig", [""])[0] == self.server.signature
        if (self.server.signature and not signed) or parts.path in self.server.refused:
            self.send_error(403)
            return False
        return True


class Hub(Folder):
    """The folder as the files of the data set owner/name."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append(f"{self.command} {path}")
        if path.startswith("/datasets/owner/name/resolve/main/"):
            self._file(path.removeprefix("/datasets/owner/name/resolve/main/"))
        elif path.startswith("/api/datasets/owner/name/tree/main"):
            self._tree(path.removeprefix("/api/datasets/owner/name/tree/main").strip("/"))
        elif path.startswith("/api/datasets/owner/name"):
            self._json({"id": "owner/name", "sha": "0" * 40, "private": False, "tags": []})
        else:
            self._json({"error": "Repository not found"}, 404, "RepoNotFound")

    def _file(self, name: str) -> None:
        data = (self.server.folder / name).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{sha1(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def _tree(self, name: str) -> None:
        folder = self.server.folder / name
        if not folder.is_dir():
            self._json({"error": "not there"}, 404, "EntryNotFound")
            return
        found = []
        for file in sorted(folder.iterdir()):
            own = str(file.relative_to(self.server.folder))
            if file.is_dir():
                found.append({"type": "directory", "path": own, "oid": "1" * 40, "size": 0})
                continue
            data = file.read_bytes()
            lfs = {"oid": sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
            described = {"type": "file", "path": own, "size": len(data), "lfs": lfs}
            found.append(described | {"oid": sha1(data).hexdigest()})
        self._json(found)

    def _json(self, value: object, code: int = 200, error: str = "") -> None:
        data = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if error:
            self.send_header("X-Error-Code", error)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)


@contextmanager
def served(
    folder: Path, handler: type[SimpleHTTPRequestHandler] = Folder
) -> Iterator[FolderServer]:
    """A server of a folder, which ends with the block."""
    server = FolderServer(folder, handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
