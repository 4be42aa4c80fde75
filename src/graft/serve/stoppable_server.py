"""A uvicorn server that ends in its own order, and says nothing of itself to clients."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp


class StoppableServer(uvicorn.Server):
    """Serves an application until SIGINT or SIGTERM: what is under way is finished, a second signal
    ends it at once. `settings` are uvicorn's.
    """

    def __init__(self, application: ASGIApp, **settings: Any) -> None:
        config = uvicorn.Config(
            application,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            **settings,
        )
        super().__init__(config)

    def handlers(self) -> dict[int, Callable[[int, FrameType | None], None]]:
        """What it does for which signal."""
        return {signal.SIGINT: self.handle_exit, signal.SIGTERM: self.handle_exit}

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Instead of uvicorn's, which ends the process by the signal when all is done."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before: dict[int, Any] = {n: signal.signal(n, each) for n, each in self.handlers().items()}
        try:
            yield
        finally:
            for number, each in before.items():
                signal.signal(number, each)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; at once if it was told before."""
        self.force_exit = self.should_exit
        self.should_exit = True
