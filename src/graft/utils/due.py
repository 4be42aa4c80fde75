"""Doing something now and then in a loop."""

import time
from collections.abc import Callable


def every(seconds: float) -> Callable[[], bool]:
    """A function that is true when more than `seconds` have passed since it last was."""
    last = time.perf_counter()

    def due() -> bool:
        nonlocal last
        now = time.perf_counter()
        if now - last <= seconds:
            return False
        last = now
        return True

    return due
