"""How much memory this process may use."""

import os
from pathlib import Path

# What limits a container: of version 2 and of version 1.
CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def memory_bytes() -> int | None:
    """The machine's memory, or the limit of the container if that is less; None where the system
    does not say (Windows).
    """
    if not hasattr(os, "sysconf"):
        return None
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in CGROUPS:
        try:
            found = min(found, int(Path(file).read_text(encoding="ascii")))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return found
