"""The place of this process among those that torchrun, or another launcher, started together."""

import os
from dataclasses import dataclass

from graft.errors import UsageError

# What a launcher tells each process: where all of them meet, and which of them it is.
NEEDED = ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE")


@dataclass(frozen=True)
class Place:
    """`rank` counts from 0 to `world` - 1 over all machines, `local_rank` to `local_world` - 1 on
    this one; a process that nobody launched with others is 0 of 1. `restarts`: how often torchrun
    has started them again.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1
    restarts: int = 0


def place() -> Place:
    """What the environment says; UsageError where a launcher has set something impossible."""
    if not all(os.environ.get(name) for name in NEEDED):
        return Place()
    world = _number("WORLD_SIZE", 1)
    found = Place(
        _number("RANK", 0),
        world,
        _number("LOCAL_RANK", 0),
        _number("LOCAL_WORLD_SIZE", world),
        _number("TORCHELASTIC_RESTART_COUNT", 0),
    )
    if not found.rank < world:
        raise UsageError(f"$RANK is {found.rank}, expected less than $WORLD_SIZE, {world}")
    return found


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdecimal() or (name.endswith("WORLD_SIZE") and not int(text)):
        raise UsageError(f"${name} is set by torchrun to a whole number, not {text!r}; unset it")
    return int(text)
