"""Commands that teach: lesson."""

from click import Command

COMMANDS: tuple[Command, ...] = ()
