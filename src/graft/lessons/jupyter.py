"""Opening a notebook in the Jupyter that is installed beside this Python."""

import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

PROGRAMS = ("jupyter-lab", "jupyter-notebook")


def installed_jupyter() -> str:
    """The program that opens notebooks with this Python; "" where there is none.

    One of another environment would not find graft.
    """
    beside = Path(sys.executable).parent
    found = (shutil.which(program, path=str(beside)) for program in PROGRAMS)
    return next((program for program in found if program), "")


def hand_over_to(program: str, notebook: Path) -> NoReturn:
    """Become the program, which stays until the reader ends it, so that Ctrl-C is its own."""
    sys.stdout.flush()
    os.execv(program, [program, str(notebook)])  # noqa: S606  found beside this Python
