"""Packages of an extra, which a command needs and an installation may lack."""

import importlib.util
from collections.abc import Sequence

from graft.errors import ModelError

PAGE = ("starlette", "uvicorn")  # of a page on this machine


def require_packages(command: str, needed: Sequence[str], extra: str = "serve") -> None:
    """ModelError, naming the extra, unless all modules that `graft COMMAND` needs are here."""
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelError(
            f"graft {command} needs {', '.join(missing)}, not installed; "
            f"pip install 'graft[{extra}]'"
        )
