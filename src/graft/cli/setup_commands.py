"""Commands about the installation: doctor, completion."""

import faulthandler
import os
import sys
import textwrap
from typing import Any

import click

from graft.cli.answers import print_json
from graft.cli.options import JSON

WIDTH, LABEL = 92, 12
TOGETHER = "\u00a0"  # a space at which no line is broken


@click.command()
@JSON
def doctor(as_json: bool) -> None:
    """Show what a bug report should tell, and find what is wrong with the installation.

    Asks nothing of the network. Exits with 1 if it found a problem.
    """
    from graft.diagnosis.doctor import Doctor

    if sys.__stderr__:  # a package made for another processor ends Python itself: say which
        faulthandler.enable(sys.__stderr__)
    found = Doctor().diagnose()
    if as_json:
        print_json(found)
    else:
        # Without console.py, which needs packages that may be what is broken.
        for label, text in _rows(found):
            click.echo(_aligned(label, text))
    if found["problems"]:
        sys.exit(1)


def _aligned(label: str, text: str) -> str:
    lines = textwrap.fill(
        text,
        WIDTH,
        initial_indent=label.ljust(LABEL),
        subsequent_indent=" " * LABEL,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines.replace(TOGETHER, " ")


def _rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [
        ("graft", f"{found['graft']['version'] or 'not installed'}, {found['graft']['folder']}"),
        ("Python", f"{found['python']}, {found['system']}"),
        ("packages", _packages(found)),
    ]
    if processor := found["processor"]:
        sets = ", ".join(processor["instructions"]) or "no AVX2"
        physical = processor["physical_cores"] or "unknown"
        rows.append(("processor", f"{processor['name']}: {sets}"))
        rows.append(("cores", f"{processor['cores']} usable, {physical} physical"))
    if found["memory"]:
        rows.append(("memory", _gigabytes(found["memory"])))
    if gpu := found["gpu"]:
        each = [
            device["name"] + (f", {_gigabytes(device['memory'])}" if device["memory"] else "")
            for device in gpu["devices"]
        ]
        built = f"PyTorch for CUDA {gpu['cuda']}" if gpu["cuda"] else "PyTorch without CUDA"
        rows.append(("GPU", f"{'; '.join(each) or 'none'} ({built})"))
    if backend := found["backend"]:
        rows.append(("backend", f"{backend['name']}: {backend['why']}"))
    if found["weights"] is not None:
        rows.append(("weights", f"on this machine: {', '.join(found['weights']) or 'none'}"))
    if cache := found["cache"]:
        limit = "" if cache["limit"] is None else f", at most {_gigabytes(cache['limit'])}"
        rows.append(("cache", f"{cache['folder']}{limit}, {_gigabytes(cache['free'])} free there"))
        for kind, entry in cache["held"].items():
            rows.append(("", f"{kind}: {entry['bytes'] / 1e6:,.1f} MB in {entry['files']:,} files"))
    rows += [("set", f"{name}={value}") for name, value in found["environment"].items()]
    rows.append(("not checked", "the network: downloads of weights and datasets"))
    rows += [("PROBLEM", f"{it['what']} -> {it['todo']}") for it in found["problems"]]
    home = os.environ.get("HOME", "")
    rows = [(label, text.replace(home, "~") if len(home) > 1 else text) for label, text in rows]
    return rows if found["problems"] else [*rows, ("", "no problem found")]


def _packages(found: dict[str, Any]) -> str:
    named = [
        TOGETHER.join((name, version or "missing", *["(broken)"] * (name in found["broken"])))
        for name, version in found["packages"].items()
    ]
    return ", ".join(named)


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that completes graft's commands and options in a SHELL.

    To install it: graft completion bash >> ~/.bashrc, or graft completion zsh >> ~/.zshrc, or
    graft completion fish > ~/.config/fish/completions/graft.fish; then open a new terminal.
    """
    from click.shell_completion import get_completion_class

    root = click.get_current_context().find_root()
    made = get_completion_class(shell)
    assert made is not None, "click knows the three shells above"  # noqa: S101
    click.echo(made(root.command, {}, "graft", "_GRAFT_COMPLETE").source())


COMMANDS = (doctor, completion)
