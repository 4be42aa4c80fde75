"""The server of the app: uvicorn, at an address of this machine only."""

import contextlib
import signal
import socket
import threading
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any

import uvicorn

from graft.app.application import application
from graft.app.guard import Guard
from graft.app.project import Project
from graft.app.step_page import STEPS, read_texts
from graft.errors import UsageError
from graft.serve.listening import bound

HOST = "127.0.0.1"
PORT = 8411  # unless it is in use: a page that is open finds the app again after a restart
LONGEST_HEADERS = 16 * 1024
STOP_SECONDS = 3


class LocalServer(uvicorn.Server):
    """Serves the app of a project at `address` until it is told to stop (Ctrl-C, SIGTERM).

    `port` None takes PORT or, if that is in use, a free one; 0 takes a free one.

    Raises UsageError for a port that is in use.
    """

    def __init__(
        self, project: Project, port: int | None = None, steps: Sequence[str] = STEPS
    ) -> None:
        self.socket = _listening(port)
        self.guard = Guard(application(project, read_texts(), steps), self.socket.getsockname()[1])
        self.address = self.guard.address()
        self.ready: Callable[[], object] = lambda: None
        super().__init__(
            uvicorn.Config(
                self.guard,
                http="h11",
                ws="none",
                loop="asyncio",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=STOP_SECONDS,
                h11_max_incomplete_event_size=LONGEST_HEADERS,
            )
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

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Instead of uvicorn's, which ends the process by the signal when all is done."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGINT, signal.SIGTERM)
        before: dict[int, Any] = {n: signal.signal(n, self.handle_exit) for n in numbers}
        try:
            yield
        finally:
            for number, each in before.items():
                signal.signal(number, each)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; at once if it was told before."""
        self.force_exit = self.should_exit
        self.should_exit = True


def _listening(port: int | None) -> socket.socket:
    if port is not None:
        return bound(HOST, port)
    try:
        return bound(HOST, PORT)
    except UsageError:
        return bound(HOST, 0)
