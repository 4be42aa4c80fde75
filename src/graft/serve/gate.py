"""The gate around the routes: request ids, the API key, quick refusals, the log and the metrics."""

import hashlib
import hmac
import json
import logging
import re
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from graft.serve.problems import ProblemError, busy
from graft.serve.request_log import RefusalLog, event
from graft.serve.service import Service
from graft.serve.uploads import clean_name

SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
# Asked by machines that have no key, or before one reads how to send it.
OPEN = {"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready", "/docs", "/openapi.json"}
UNLOGGED = {"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready", "/metrics"}
COMPUTING = (":predict", "/infer")


@dataclass(slots=True)
class Seen:
    """What the log says of a request; the routes fill in what they learn."""

    id: str
    method: str
    path: str
    began: float = field(default_factory=time.perf_counter)
    route: str = "other"
    model: str = ""
    status: int = 0
    images: int = 0
    size: int = 0
    problem: ProblemError | None = None


def error_body(message: str, request_id: str) -> bytes:
    """What a client reads that gets no answer."""
    return json.dumps({"error": message, "request_id": request_id}).encode()


class Gate:
    """The ASGI application that a server runs: a service's routes behind the gate."""

    def __init__(self, service: Service, routes: ASGIApp) -> None:
        self.service, self.routes = service, routes
        self.refusals = RefusalLog()
        self.key = _hashed(service.key) if service.key else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = {name.decode("latin-1"): value for name, value in scope["headers"]}
        given = headers.get("x-request-id", b"").decode("latin-1")
        sane = given if SANE_ID.fullmatch(given) else secrets.token_hex(8)
        seen = scope["graft.seen"] = Seen(sane, scope["method"], scope["path"])

        async def answered(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.status = message["status"]
                message["headers"] = [*message.get("headers", ()), *_added(seen.id)]
            await send(message)

        try:
            seen.problem = self._refused(scope, headers)
            if seen.problem is not None:
                await _tell(seen.problem, seen.id, answered)
            else:
                await self.routes(scope, receive, answered)
        except Exception:  # a fault of graft: told in the log, and the server goes on
            logging.getLogger("graft.serve").exception(
                "failed", extra={"fields": {"id": seen.id, "path": clean_name(seen.path)}}
            )
            if not seen.status:
                await _tell(ProblemError(500, "graft failed; see its log"), seen.id, answered)
        finally:
            self._record(seen)

    def refused_at_once(self) -> None:
        """A request was answered with 429 before it came here."""
        metrics = self.service.monitoring
        metrics.requests.labels("other", "", 429).inc()
        metrics.refused.labels("queue_full").inc()
        self.refusals.add()

    def _refused(self, scope: Scope, headers: dict[str, bytes]) -> ProblemError | None:
        """Why a request goes no further, told before any of its body is read."""
        path, posts = scope["path"], scope["method"] == "POST"
        if self.key and path not in OPEN and not hmac.compare_digest(self.key, _key(headers)):
            return ProblemError(
                401,
                "expected the API key as Authorization: Bearer KEY or X-API-Key: KEY",
                "unauthorized",
                {"www-authenticate": "Bearer"},
            )
        if posts and headers.get("sec-fetch-site") == b"cross-site":
            return ProblemError(403, "pages of other sites may not send requests", "forbidden")
        if posts and self.service.draining:
            return ProblemError(503, "the server is stopping", "stopping", close=True)
        if posts and self.service.admission.full and path.endswith(COMPUTING):
            return busy("nothing more is accepted")
        return None

    def _record(self, seen: Seen) -> None:
        metrics = self.service.monitoring
        metrics.requests.labels(seen.route, seen.model, seen.status).inc()
        seconds = time.perf_counter() - seen.began
        if seen.problem is not None:
            metrics.refused.labels(seen.problem.reason).inc()
            if seen.status == 429:
                self.refusals.add()
                return
        elif seen.model and seen.images:
            metrics.seconds.labels(seen.model).observe(seconds)
        if seen.path not in UNLOGGED:
            event("request", **_line(seen, seconds))


def _line(seen: Seen, seconds: float) -> dict[str, Any]:
    line: dict[str, Any] = {"id": seen.id, "method": seen.method, "path": clean_name(seen.path)}
    line |= {"status": seen.status, "seconds": round(seconds, 4)}
    if seen.model:
        line |= {"model": seen.model, "images": seen.images, "bytes": seen.size}
    if seen.problem is not None:
        line["reason"] = seen.problem.reason
    return line


def _added(request_id: str) -> list[tuple[bytes, bytes]]:
    return [
        (b"x-request-id", request_id.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"no-store"),
    ]


def _key(headers: dict[str, bytes]) -> bytes:
    given = headers.get("x-api-key", b"")
    kind, _, rest = headers.get("authorization", b"").partition(b" ")
    if kind.lower() == b"bearer":
        given = rest.strip()
    return hashlib.sha256(given).digest()


def _hashed(key: str) -> bytes:
    # Compared as hashes: they have one length, whatever was sent.
    return hashlib.sha256(key.encode()).digest()


async def _tell(problem: ProblemError, request_id: str, send: Send) -> None:
    body = error_body(problem.message, request_id)
    headers = [(name.encode(), value.encode()) for name, value in problem.headers.items()]
    headers += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
