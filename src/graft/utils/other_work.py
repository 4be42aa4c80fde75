"""Whether other work on this machine will slow a long computation."""

import os

# Waiting threads for each processor from which it is said.
SLOW = 4


def other_work() -> list[str]:
    """A sentence if more threads than a few for each processor have waited in the last minute, as
    the system counts them; nothing where it does not count.
    """
    if not hasattr(os, "getloadavg"):  # Windows
        return []
    waiting, processors = os.getloadavg()[0], os.cpu_count() or 1
    if waiting < SLOW * processors:
        return []
    return [
        f"other work keeps this machine busy ({waiting:.0f} threads for {processors} processors "
        f"over the last minute): expect about {waiting / processors:.0f} times the usual time"
    ]
