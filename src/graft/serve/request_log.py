"""The server's log: one JSON object a line on stderr, without image contents or names of files."""

import json
import logging
import sys
import time
from typing import Any

LOG = logging.getLogger("graft.serve")


LEVELS = {
    "graft.serve": logging.INFO,
    "uvicorn": logging.WARNING,
    "py.warnings": logging.WARNING,
    "python_multipart": logging.CRITICAL,  # it tells each broken form, which the client is told
}


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)  # ASCII: no control character gets into a terminal


def log_json() -> None:
    """Send graft's and uvicorn's lines, and Python's warnings, to stderr as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    logging.captureWarnings(True)
    for name, level in LEVELS.items():
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)


def event(text: str, level: int = logging.INFO, **fields: Any) -> None:
    """One line."""
    LOG.log(level, text, extra={"fields": fields})


class RefusalLog:
    """Refusals in full flood, as one line a second with their number."""

    def __init__(self) -> None:
        self.count, self.since = 0, 0.0

    def add(self) -> None:
        """One more request was refused because the queue is full."""
        self.count += 1
        now = time.monotonic()
        if now - self.since >= 1:
            event("refused", logging.WARNING, reason="queue_full", requests=self.count)
            self.count, self.since = 0, now
