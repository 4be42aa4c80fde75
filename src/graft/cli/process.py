"""What a process owes to its surroundings: its streams, and an end by a signal."""

import contextlib
import errno
import io
import os
import signal
import sys
from types import FrameType

from graft.errors import INTERRUPTED, GraftError, UsageError
from graft.utils.torchrun import place

_ended_by: list[int] = []


def ended_by_signals() -> None:
    """Let SIGTERM, and a terminal that closes, end the work as Ctrl-C does: what is half-written is
    removed. A second one ends the process at once.
    """
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # Whoever started the process may have chosen that it is ignored, as nohup does.
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)


def _end(number: int, frame: FrameType | None) -> None:
    _ended_by.append(number)
    signal.signal(number, signal.SIG_DFL)
    raise KeyboardInterrupt


def exit_code_of_signal() -> int:
    """128 and the number of the signal that ended the work, which without another is SIGINT."""
    return 128 + _ended_by[0] if _ended_by else INTERRUPTED


def speaks_for_all() -> bool:
    """Whether this process says what went wrong: of those that torchrun started, the first that
    fails.
    """
    try:
        if place().world == 1:
            return True
    except UsageError:
        return True
    from graft.models.ranks import first_to_fail

    return first_to_fail()


def refuse_many_processes(command: str | None) -> None:
    """Raise UsageError for a command that torchrun has started several of, but for `train`."""
    if (world := place().world) > 1 and command not in (None, "train"):
        raise UsageError(
            f"graft {command} works in one process, and torchrun started {world}; under torchrun "
            "graft train alone is of use, and graft features has --shard"
        )


class _Closed(io.TextIOBase):
    """A stdout that was closed; remembers whether anything was said to it."""

    encoding = "utf-8"
    errors = "backslashreplace"
    said = False

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.said = self.said or bool(text)
        return len(text)


class Streams:
    """stdout and stderr, made safe: letters that they cannot show are escaped, and one that is
    closed takes what is written to it without a word until `flushed`.
    """

    def __init__(self) -> None:
        # A file that is opened later must not get the number of stdout, to which libraries print.
        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass
        os.close(descriptor)
        if sys.stdout is None:
            sys.stdout = _Closed()
        if sys.stderr is None:
            sys.stderr = _Closed()
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")

    def flushed(self, code: int) -> int:
        """The exit code, once all is written: 1 in place of 0 if the answer could not be."""
        lost, failed = "", bool(code)  # one line is enough
        try:
            sys.stdout.flush()
        except OSError as error:
            # A reader that has gone, such as head, has all that it wanted.
            lost = "" if error.errno == errno.EPIPE else error.strerror or str(error)
            code = code or GraftError.exit_code
        if isinstance(sys.stdout, _Closed) and sys.stdout.said:
            lost = "it is closed"
        with contextlib.suppress(OSError, ValueError):  # nobody is left to tell
            if lost and not failed:
                code = code or GraftError.exit_code
                sys.stderr.write(f"graft: the answer could not be written to stdout: {lost}\n")
            sys.stderr.flush()
        return code
