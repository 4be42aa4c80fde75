"""Commands that look inside a network: summary and explore."""

from click import Command

COMMANDS: tuple[Command, ...] = ()
