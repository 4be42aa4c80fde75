"""A connection: uvicorn's, with limits on slow clients, and the short way to refuse in a flood."""

import asyncio
import re
import secrets

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from graft.serve.gate import COMPUTING, Gate, error_body
from graft.serve.problems import busy
from graft.serve.service import Service

# Seconds in which the rest of a refused body is read and thrown away: a client that is closed upon
# while it sends never reads why.
LINGER = 2.0
# What a request must not have for the short way: then it goes the long one, and gets the same.
SPECIAL = (b"transfer-encoding", b"expect", b"connection", b"x-request-id", b"sec-fetch-site")
LENGTH = re.compile(rb"\r\ncontent-length: *(\d{1,12})\r\n")


def can_be_refused(data: bytes) -> bool:
    """Whether these bytes are one whole, plain request for a prediction.

    Parsing a request and running the routes takes ten times as long as writing a refusal, and in
    a flood nearly all are refused: this is what leaves time for those that are accepted.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0 or not data.startswith((b"POST /v1/models/", b"POST /v2/models/")):
        return False
    head = data[: end + 2].lower()
    target = head[5 : head.find(b" ", 5)]
    if not target.endswith(tuple(one.encode() for one in COMPUTING)):
        return False
    if any(name in head for name in SPECIAL):
        return False
    lengths = LENGTH.findall(head)
    once = len(lengths) == 1 == head.count(b"content-length")
    return once and len(data) == end + 4 + int(lengths[0])


def refusal(request_id: str) -> bytes:
    """The whole answer to a request that comes while the queue is full."""
    problem = busy("nothing more is accepted")
    body = error_body(problem.message, request_id)
    return (
        f"HTTP/1.1 429 Too Many Requests\r\nretry-after: {problem.headers['retry-after']}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
        f"x-request-id: {request_id}\r\nx-content-type-options: nosniff\r\n"
        "cache-control: no-store\r\n\r\n"
    ).encode() + body


class GuardedConnection(H11Protocol):
    """The protocol of uvicorn, with limits on time, and a short way to say 429."""

    service: Service
    gate: Gate
    timer: asyncio.TimerHandle | None = None
    unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The time to send headers begins."""
        super().connection_made(transport)
        self._wait(self.service.limits.header_seconds)

    def data_received(self, data: bytes) -> None:
        """Bytes of a request, or of several."""
        if self.service.admission.full and self._between_requests() and can_be_refused(data):
            self._refuse()
            return
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._wait(None)
        elif self.timer is None:
            sending = self.conn.their_state is h11.SEND_BODY
            self._wait(LINGER if sending else self.service.limits.header_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended: nothing may fire any more."""
        self._wait(None)
        self.resume_writing()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client reads more slowly than it is answered: not for ever."""
        super().pause_writing()
        self.unread = self.loop.call_later(self.service.limits.body_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """It has caught up."""
        if self.unread is not None:
            self.unread.cancel()
            self.unread = None
        if self.flow is not None:
            super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """It has idled long enough."""
        super().timeout_keep_alive_handler()
        # It closes once all is sent; who never reads would keep it open.
        self.loop.call_later(self.service.limits.body_seconds, self.transport.abort)

    def _between_requests(self) -> bool:
        answered = self.cycle is None or self.cycle.response_complete
        idle = self.conn.our_state is h11.IDLE and not self.conn.trailing_data[0]
        return answered and idle and not self.service.key and not self.service.draining

    def _refuse(self) -> None:
        self._wait(self.service.limits.header_seconds)
        self._unset_keepalive_if_required()
        self.transport.write(refusal(secrets.token_hex(8)))
        self.gate.refused_at_once()

    def _wait(self, seconds: float | None) -> None:
        if self.timer is not None:
            self.timer.cancel()
        late = self.transport.abort
        self.timer = None if seconds is None else self.loop.call_later(seconds, late)


def protocol_of(service: Service, gate: Gate) -> type[H11Protocol]:
    """The class of a service's connections, as uvicorn wants it."""
    return type("Connection", (GuardedConnection,), {"service": service, "gate": gate})
