"""Commands to talk with a classifier: chat, and mcp for assistants."""

from click import Command

COMMANDS: tuple[Command, ...] = ()
