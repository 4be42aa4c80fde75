"""The server of pages for one person: uvicorn, at an address of this machine only."""

import contextlib
import socket
import threading
import webbrowser
from collections.abc import Callable
from urllib.parse import parse_qsl, urlsplit

from starlette.types import ASGIApp

from graft.app.guard import TOKEN, Guard
from graft.errors import UsageError
from graft.serve.listening import bound
from graft.serve.stoppable_server import StoppableServer

HOST = "127.0.0.1"
PORT = 8411  # unless it is in use: a page that is open finds the app again after a restart
LONGEST_HEADERS = 16 * 1024
STOP_SECONDS = 3


class LocalServer(StoppableServer):
    """Serves an app at `address` until it is told to stop (Ctrl-C, SIGTERM).

    `port` None takes the one of before, else PORT or, if that is in use, a free one; 0 takes a free
    one. `earlier` is the address that it had when it was open before: with its key, a page that is
    still open goes on.

    Raises UsageError for a port that is in use.
    """

    def __init__(self, app: ASGIApp, port: int | None = None, earlier: str = "") -> None:
        before = urlsplit(earlier)
        self.socket = _listening(port, before.port)
        token = dict(parse_qsl(before.query)).get(TOKEN, "")
        self.guard = Guard(app, self.socket.getsockname()[1], token)
        self.address = self.guard.address()
        self.ready: Callable[[], object] = lambda: None
        super().__init__(
            self.guard,
            http="h11",
            timeout_graceful_shutdown=STOP_SECONDS,
            h11_max_incomplete_event_size=LONGEST_HEADERS,
        )

    def serve_until_stopped(self, open_browser: bool = False) -> None:
        """Answer until a signal comes; `open_browser` shows the page first."""
        if open_browser:
            self.ready = lambda: threading.Thread(
                target=webbrowser.open, args=(self.address,), daemon=True
            ).start()
        self.run([self.socket])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then show the page."""
        await super().startup(sockets)
        self.ready()


def _listening(port: int | None, earlier: int | None) -> socket.socket:
    if port is not None:
        return bound(HOST, port)
    for wanted in (earlier or PORT, PORT):
        with contextlib.suppress(UsageError):
            return bound(HOST, wanted)
    return bound(HOST, 0)
