"""How long a command may take."""

import re

from graft.errors import UsageError

UNITS = {"s": 1, "m": 60, "h": 3600}


def seconds_of(budget: str | None, option: str = "--time-budget") -> float | None:
    """The seconds of "90s", "30m" or "2h"; None for no budget; UsageError for anything else."""
    if budget is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh])", budget.strip())
    if not found or not float(found[1]):
        raise UsageError(f"{option} is a time such as 90s, 30m or 2h, not {budget!r}")
    return float(found[1]) * UNITS[found[2]]
