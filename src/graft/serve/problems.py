"""What a client is told when it gets no prediction: an HTTP status and one line."""


class ProblemError(Exception):
    """Ends a request with `status` and a line that says what was expected and what to do.

    `reason` is a short name for the metrics. `close` says that the connection ends with it.
    """

    def __init__(
        self,
        status: int,
        message: str,
        reason: str = "invalid",
        headers: dict[str, str] | None = None,
        close: bool = False,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.reason = status, message, reason
        self.headers = dict(headers or {}) | ({"connection": "close"} if close else {})


class ClientGoneError(Exception):
    """The client closed the connection before it had its answer."""


def busy(what: str) -> ProblemError:
    """Too much is waiting already."""
    return ProblemError(
        429, f"the queue is full ({what}); send it again later", "queue_full", {"retry-after": "1"}
    )
