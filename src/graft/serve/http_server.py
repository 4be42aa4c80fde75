"""The HTTP server: uvicorn, with limits on slow clients, an orderly stop, and reloading."""

import asyncio
import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from graft.errors import GraftError, ModelError, UsageError
from graft.serve.gate import Gate
from graft.serve.limits import Limits
from graft.serve.request_log import event
from graft.serve.routes import application
from graft.serve.served_runs import ServedRun
from graft.serve.service import Service

KEEP_ALIVE = 5  # seconds until an idle connection is closed
# Seconds in which the rest of a refused body is read and thrown away: a client that is closed upon
# while it sends never reads why.
LINGER = 2.0
LONGEST_HEADERS = 32 * 1024


def protocol_within(limits: Limits) -> type[H11Protocol]:
    """The protocol of uvicorn, which has no limit of its own on how long a client takes to send its
    headers or to read its answer.
    """

    class Protocol(H11Protocol):
        timer: asyncio.TimerHandle | None = None
        unread: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._wait(limits.header_seconds)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                self._wait(None)
            elif self.timer is None:
                sending = self.conn.their_state is h11.SEND_BODY
                self._wait(LINGER if sending else limits.header_seconds)

        def connection_lost(self, exc: Exception | None) -> None:
            self._wait(None)
            self.resume_writing()
            super().connection_lost(exc)

        def pause_writing(self) -> None:
            super().pause_writing()
            self.unread = self.loop.call_later(limits.body_seconds, self.transport.abort)

        def resume_writing(self) -> None:
            if self.unread is not None:
                self.unread.cancel()
                self.unread = None
            if self.flow is not None:
                super().resume_writing()

        def timeout_keep_alive_handler(self) -> None:
            super().timeout_keep_alive_handler()
            # It closes once all is sent; who never reads would keep it open.
            self.loop.call_later(limits.body_seconds, self.transport.abort)

        def _wait(self, seconds: float | None) -> None:
            if self.timer is not None:
                self.timer.cancel()
            late = self.transport.abort
            self.timer = None if seconds is None else self.loop.call_later(seconds, late)

    return Protocol


class Server(uvicorn.Server):
    """Serves a service on a bound socket until it is told to stop.

    SIGTERM and SIGINT: new requests are refused, accepted ones are answered, then it ends; a
    second signal ends it at once. SIGHUP: runs whose folders changed are loaded again.
    """

    def __init__(self, service: Service, runs: list[ServedRun]) -> None:
        limits = service.limits
        super().__init__(
            uvicorn.Config(
                Gate(service, application(service)),
                http=protocol_within(limits),
                ws="none",
                loop="asyncio",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=limits.connections,
                timeout_keep_alive=KEEP_ALIVE,
                timeout_graceful_shutdown=int(limits.stop_seconds),
                h11_max_incomplete_event_size=LONGEST_HEADERS,
            )
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

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Instead of uvicorn's, which ends the process by the signal when all is done."""
        if not _in_main_thread():
            yield
            return
        handlers: dict[int, Any] = {signal.SIGINT: self.handle_exit}
        handlers[signal.SIGTERM] = self.handle_exit
        if hasattr(signal, "SIGHUP"):
            handlers[signal.SIGHUP] = self._hung_up
        before = {number: signal.signal(number, each) for number, each in handlers.items()}
        try:
            yield
        finally:
            for number, each in before.items():
                signal.signal(number, each)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; at once if it was told before."""
        self.force_exit = self.should_exit
        self.should_exit = True

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


def bound(host: str, port: int) -> socket.socket:
    """A listening socket; `port` 0 takes a free one. UsageError for an address that is not free."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise UsageError(
            f"{host} port {port} cannot be used ({error.strerror or error}); choose another --host "
            "or --port"
        ) from error


def address_of(listening: socket.socket) -> str:
    """Where a socket listens, as http://HOST:PORT."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_loopback(listening: socket.socket) -> bool:
    """Whether only this machine reaches it."""
    host: str = listening.getsockname()[0]
    return host == "::1" or host.startswith("127.")


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
