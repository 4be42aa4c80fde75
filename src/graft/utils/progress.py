"""Progress on stderr: bars in a terminal, plain lines elsewhere, nothing when not asked for."""

import sys
import time
from collections.abc import Iterable
from typing import Any

from graft.utils.terminal import one_line

PLAIN_SECONDS = 5.0


class Progress:
    """What a long piece of work tells its user. This one tells nothing; see `on_stderr`."""

    def say(self, message: str) -> None:
        """One line of news."""

    def say_all(self, messages: Iterable[str]) -> None:
        """A line for each."""
        for message in messages:
            self.say(message)

    def start(self, name: str, total: int | None) -> None:
        """Begin a stage of `total` steps (None: unknown)."""

    def advance(self, done: int, note: str = "") -> None:
        """The stage has come to step `done`."""

    def finish(self) -> None:
        """End the stage."""


SILENT = Progress()


class _Plain(Progress):
    def say(self, message: str) -> None:
        print(one_line(message), file=sys.stderr, flush=True)  # noqa: T201

    def start(self, name: str, total: int | None) -> None:
        self.name, self.total, self.done = name, total, 0
        self.began = self.last = time.monotonic()

    def advance(self, done: int, note: str = "") -> None:
        self.done = done
        if time.monotonic() - self.last >= PLAIN_SECONDS:
            self.last = time.monotonic()
            of = f" of {self.total:,}" if self.total else ""
            self.say(f"{self.name}: {done:,}{of}{' ' + note if note else ''}")

    def finish(self) -> None:
        seconds = time.monotonic() - self.began
        self.say(f"{self.name}: {self.done:,} done in {seconds:.1f} s")


class _Bars(Progress):
    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(stderr=True, highlight=False)
        self.bars: Any = None
        self.task: Any = None

    def say(self, message: str) -> None:
        self.console.print(one_line(message), markup=False)

    def start(self, name: str, total: int | None) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=self.console,
        )
        self.task = self.bars.add_task(name, total=total, note="")
        self.bars.start()

    def advance(self, done: int, note: str = "") -> None:
        self.bars.update(self.task, completed=done, note=note)

    def finish(self) -> None:
        self.bars.stop()


def on_stderr() -> Progress:
    """Bars if stderr is a terminal, else plain lines."""
    return _Bars() if sys.stderr.isatty() else _Plain()
