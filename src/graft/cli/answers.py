"""Answers on stdout, one a line, whatever is in the names of files and classes."""

import json
import sys
from typing import Any

import click

from graft.utils.terminal import json_line, one_line


def print_line(text: str, err: bool = False) -> None:
    """Print one line, in which what could steer a terminal or break the line is escaped."""
    click.echo(one_line(text), err=err)


def print_json(value: Any) -> None:
    """Print one line of JSON; letters as they are where stdout is UTF-8, else escaped."""
    text = json.dumps(value, ensure_ascii=not _is_utf8())
    click.echo(json_line(text))


def _is_utf8() -> bool:
    return (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "") == "utf8"
