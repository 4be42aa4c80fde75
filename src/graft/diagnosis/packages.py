"""The packages that graft needs: their versions, whether they can be imported, and why not."""

import importlib
import re
import traceback
from dataclasses import dataclass
from importlib import metadata

# Where the name to import is not the name to install.
MODULES = {"pillow": "PIL", "scikit-learn": "sklearn"}
# Others are built on these: an error of theirs is told where it began.
FIRST = ("numpy", "torch", "torchvision")
# Not needed by graft itself, and of interest where they are installed.
ALSO = ("huggingface_hub", "tensorboardX")


@dataclass(frozen=True)
class Package:
    """An installed package, or one that is missing (no version).

    `problem` says why it cannot be imported, `culprit` in which package that began.
    """

    name: str
    version: str | None
    problem: str | None = None
    culprit: str | None = None


def packages() -> list[Package]:
    """What graft needs, each imported to see whether it can be, and what is of interest besides."""
    needed = [_name(line) for line in metadata.requires("graft") or () if "extra ==" not in line]
    names = [*(name for name in FIRST if name in needed), *sorted({*needed} - {*FIRST})]
    also = [Package(name, _version(name)) for name in ALSO]
    return [_package(name) for name in names] + [package for package in also if package.version]


def broken(error: BaseException) -> str | None:
    """The package whose import failed with this error; None for any other error.

    An error belongs to an import if a module of another package was being executed.
    """
    missing = isinstance(error, ModuleNotFoundError) and error.name
    if missing:
        return _not_ours(missing)
    running = [
        frame.f_globals.get("__name__") or ""
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_name == "<module>"
    ]
    return _not_ours(running[-1]) if running else None


def reason(error: BaseException) -> str:
    """The error in one line."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def remedy(name: str) -> str:
    """What to do about a package that cannot be imported."""
    if name in ("torch", "torchvision"):
        return "install both from the same place: pip install --force-reinstall torch torchvision"
    return f"pip install --force-reinstall {name}"


def torchvision_mismatch() -> str | None:
    """That torchvision was made for another version of torch, by its own account; else None."""
    wanted = [
        found[1]
        for line in _requires("torchvision")
        if (found := re.match(r"torch\s*\(?==\s*([\w.]+)", line))
    ]
    there = (_version("torch") or "").partition("+")[0]
    if not wanted or not there or wanted[0] == there:
        return None
    return f"torchvision {_version('torchvision')} is made for torch {wanted[0]}, not {there}"


def explained(error: BaseException) -> str | None:
    """One line for people about a package whose import failed; None for any other error."""
    name = broken(error)
    if name is None:
        return None
    why = (name == "torchvision" and torchvision_mismatch()) or reason(error)
    return f"{name} cannot be imported ({why}); {remedy(name)}; graft doctor checks the others"


def _package(name: str) -> Package:
    version, module = _version(name), MODULES.get(name, name)
    try:
        importlib.import_module(module)
    # A package made for another system or another version of its neighbor can raise anything.
    except Exception as error:
        culprit = broken(error) or module
        culprit = next((n for n, m in MODULES.items() if m == culprit), culprit)
        return Package(name, version, reason(error), culprit)
    return Package(name, version)


def _not_ours(module: str) -> str | None:
    package = module.partition(".")[0]
    return None if package in ("graft", "__main__") else package


def _name(requirement: str) -> str:
    return (re.match(r"[\w.-]+", requirement) or [requirement])[0]


def _requires(name: str) -> list[str]:
    try:
        return metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
