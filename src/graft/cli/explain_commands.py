"""Commands that say why a network answers as it does: explain."""

from click import Command

COMMANDS: tuple[Command, ...] = ()
