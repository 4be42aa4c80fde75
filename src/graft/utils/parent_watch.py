"""Ends this process with the one that started it, whatever ended that: a kill -9, too.

Whoever starts it gives it a pipe as stdin and keeps that open; the system closes it with the
starter, on all systems. Nothing is sent through it.
"""

import os
import signal
import time
from threading import Thread

GRACE = 20.0  # seconds for an orderly end, as by SIGTERM
TERMINATED = 143


def end_with_parent() -> None:
    """From now on, end when stdin ends."""
    Thread(target=_watch, name="graft-parent-watch", daemon=True).start()


def _watch() -> None:
    try:
        while os.read(0, 4096):
            pass
    except OSError:
        pass  # a pipe that broke has ended, too
    os.kill(os.getpid(), signal.SIGTERM)  # what is half-written is removed
    time.sleep(GRACE)
    os._exit(TERMINATED)
