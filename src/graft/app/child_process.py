"""`graft` as a process that the app begins, whatever folder it is installed in."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import IO

LASTING = "from graft.cli.main import process; process()"
PROGRAM = f"from graft.utils.parent_watch import end_with_parent; end_with_parent(); {LASTING}"
NICE = 5  # so that the pages come first

Process = subprocess.Popen[bytes]


def begin(
    arguments: Sequence[str],
    stdout: IO[bytes] | int = subprocess.DEVNULL,
    stderr: IO[bytes] | int = subprocess.DEVNULL,
    lasting: bool = False,
) -> Process:
    """Begin `graft ARGUMENTS`. It ends with the app, even if that is killed, and when the process
    is let go; `lasting` ones go on, and Ctrl-C in the app's terminal is not for them.
    """
    return subprocess.Popen(  # noqa: S603 - graft itself, of this environment
        [sys.executable, "-c", LASTING if lasting else PROGRAM, *arguments],
        stdin=subprocess.DEVNULL if lasting else subprocess.PIPE,
        stdout=stdout,
        stderr=stderr,
        start_new_session=lasting,
    )


def lower_priority(pid: int) -> None:
    """Let a process give way to others, where the system knows that."""
    if hasattr(os, "setpriority"):
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, pid, NICE)


def end(process: Process, seconds: float) -> None:
    """Have a process end in its own order; by force if that takes longer than some seconds."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
