"""What step Use it hands over as a file: the lines as a notebook or a script, exports as a zip."""

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO

from graft.runs.repeat_lines import RepeatLine

IN_MEMORY = 16 * 2**20  # bytes of a zip file; a larger one is written to the disk


def as_notebook(lines: Sequence[RepeatLine]) -> str:
    """A Jupyter notebook (nbformat 4.5) with a cell for each line; the server is not asked."""
    some = [line for line in lines if line.python and line.step != "serve"]
    texts = [("code", "import graft")]
    for line in some:
        texts += [("markdown", f"## {line.step.capitalize()}"), ("code", line.python)]
    cells = [_cell(number, kind, text) for number, (kind, text) in enumerate(texts)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    book = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "cells": cells,
    }
    return json.dumps(book, indent=1, ensure_ascii=False) + "\n"


def as_script(lines: Sequence[RepeatLine]) -> str:
    """A shell script with the commands, each under its name; serving, which does not end, last."""
    said = ["#!/bin/sh", "set -e"]
    for line in lines:
        if line.command:
            said += ["", f"# {line.step}", line.command]
    return "\n".join(said) + "\n"


def as_zip(folder: Path) -> IO[bytes]:
    """A folder as an open zip file, at its beginning."""
    packed: IO[bytes] = SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - the caller reads it
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, f"{folder.name}/{file.relative_to(folder).as_posix()}")
    packed.seek(0)
    return packed


def _cell(number: int, kind: str, text: str) -> dict[str, object]:
    cell: dict[str, object] = {
        "cell_type": kind,
        "id": f"cell-{number}",
        "metadata": {},
        "source": text.splitlines(keepends=True),
    }
    return cell | {"execution_count": None, "outputs": []} if kind == "code" else cell
