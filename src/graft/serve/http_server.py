"""The HTTP server: uvicorn, with limits on slow clients, an orderly stop, and reloading."""

import asyncio
import logging
import math
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

from graft.errors import GraftError, ModelError
from graft.serve.connection import protocol_of
from graft.serve.gate import Gate
from graft.serve.request_log import event
from graft.serve.routes import application
from graft.serve.served_runs import ServedRun
from graft.serve.service import Service
from graft.serve.stoppable_server import StoppableServer

KEEP_ALIVE = 5  # seconds until an idle connection is closed
LONGEST_HEADERS = 32 * 1024


class Server(StoppableServer):
    """Serves a service on a bound socket until it is told to stop.

    SIGTERM and SIGINT: new requests are refused, accepted ones are answered, then it ends; a
    second signal ends it at once. SIGHUP: runs whose folders changed are loaded again.
    """

    def __init__(self, service: Service, runs: list[ServedRun]) -> None:
        limits = service.limits
        gate = Gate(service, application(service))
        super().__init__(
            gate,
            http=protocol_of(service, gate),
            limit_concurrency=limits.connections,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=math.ceil(limits.stop_seconds),
            h11_max_incomplete_event_size=LONGEST_HEADERS,
        )
        self.service, self.unwarmed = service, runs
        self.work: set[asyncio.Task[None]] = set()
        self.loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen at once, and warm up meanwhile: /readyz says when that is done."""
        self.loop = asyncio.get_running_loop()
        self.service.start(self.loop)
        await super().startup(sockets)
        self._begin(self._warm_up())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse what comes, finish what was accepted, end."""
        service, limits = self.service, self.service.limits
        service.draining = True
        event("stopping", waiting=service.admission.images)
        if not self.force_exit and service.failure is None:
            await asyncio.sleep(limits.drain_seconds)
        await super().shutdown(sockets)
        for task in list(self.work):
            task.cancel()
        service.close()
        admission = service.admission
        event("stopped", accepted=admission.accepted, finished=admission.finished)

    def handlers(self) -> dict[int, Callable[[int, FrameType | None], None]]:
        """What it does for which signal."""
        again = {signal.SIGHUP: self._hung_up} if hasattr(signal, "SIGHUP") else {}
        return super().handlers() | again

    def _hung_up(self, sig: int, frame: FrameType | None) -> None:
        if self.loop is not None and self.service.ready:
            loop = self.loop
            loop.call_soon_threadsafe(lambda: self._begin(self.service.reload_all()))

    def _begin(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.work.add(task)
        task.add_done_callback(self.work.discard)

    async def _warm_up(self) -> None:
        try:
            await self.service.warm_up(self.unwarmed)
        except GraftError as error:
            self.service.failure = error
            self.should_exit = True
        except Exception as error:
            logging.getLogger("graft.serve").exception("a run cannot be computed")
            self.service.failure = ModelError(f"a run cannot be computed: {error}")
            self.should_exit = True
        self.unwarmed = []
