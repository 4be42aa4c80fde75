"""A request's body, read within a number of bytes and of seconds."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from graft.serve.admission import Admission
from graft.serve.limits import MEGA
from graft.serve.problems import ClientGoneError, ProblemError

Receive = Callable[[], Awaitable[Any]]


class Body:
    """The bytes of one request while they are counted in the admission."""

    def __init__(self, admission: Admission) -> None:
        self.admission, self.size = admission, 0
        self.parts: list[bytes] = []

    async def read(self, receive: Receive, headers: Mapping[str, str]) -> bytes:
        """The whole body.

        Raises ProblemError: 415 for a compressed one, 413 for one that is too long or says that it
        will be, 429 where uploads fill the memory set aside for them, 408 for one that takes too
        long; and ClientGoneError.
        """
        limits = self.admission.limits
        most = int(limits.upload_megabytes * MEGA)
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise ProblemError(
                415, "expected a body without content-encoding; images are compressed already"
            )
        declared = headers.get("content-length", "0")
        if not declared.isdecimal() or int(declared) > most:
            raise _too_long(limits.upload_megabytes)
        try:
            async with asyncio.timeout(limits.body_seconds):
                while await self._more(receive, most):
                    pass
        except TimeoutError as error:
            raise ProblemError(
                408,
                f"the body was not sent within {limits.body_seconds:g} seconds",
                "slow_client",
                close=True,
            ) from error
        whole = self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)
        self.parts = []
        return whole

    async def _more(self, receive: Receive, most: int) -> bool:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        if chunk := message.get("body", b""):
            if self.size + len(chunk) > most:
                raise _too_long(self.admission.limits.upload_megabytes)
            self.admission.hold(len(chunk))
            self.size += len(chunk)
            self.parts.append(chunk)
        return bool(message.get("more_body", False))


def _too_long(megabytes: float) -> ProblemError:
    return ProblemError(
        413, f"a request has at most {megabytes:g} MB; send fewer or smaller images", "too_large"
    )


@contextmanager
def counted_body(admission: Admission) -> Iterator[Body]:
    """A body whose bytes are released at the end, however that comes."""
    body = Body(admission)
    try:
        yield body
    finally:
        admission.release_bytes(body.size)
