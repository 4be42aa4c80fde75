"""The packages that graft needs: their versions, whether they can be imported, and why not."""

import importlib
import re
import traceback
from dataclasses import dataclass
from importlib import metadata

# Where the name to import is not the name to install; a hyphen is an underscore besides.
MODULES = {"pillow": "PIL", "scikit-learn": "sklearn"}
# Others are built on these: an error of theirs is told where it began.
FIRST = ("numpy", "torch", "torchvision")
# Not needed by graft itself, and of interest where they are installed.
ALSO = ("huggingface_hub", "tensorboardX")
# PyTorch's own address of its versions for the CPU alone.
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"


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
    if name not in ("torch", "torchvision"):
        return f"pip install --force-reinstall {name}"
    place = f" --index-url {CPU_WHEELS}" * (_version("torch") or "").endswith("+cpu")
    return f"install both from one place: pip install --force-reinstall torch torchvision{place}"


def torchvision_mismatch() -> str | None:
    """That torchvision was made for another version of torch, by its own account; else None."""
    there = (_version("torch") or "").partition("+")[0]
    for line in _requires("torchvision") if there else ():
        if found := re.match(r"torch\s*\(?\s*(==|>=)\s*([\d.]+)", line):
            sign, wanted = found.groups()
            fits = there == wanted if sign == "==" else _numbers(there) >= _numbers(wanted)
            if not fits:
                own = _version("torchvision")
                return f"torchvision {own} needs torch{sign}{wanted}, {there} is installed"
    return None


def explained(error: BaseException) -> str | None:
    """One line for people about a package whose import failed; None for any other error."""
    name = broken(error)
    if name is None:
        return None
    why = (name == "torchvision" and torchvision_mismatch()) or reason(error)
    return f"{name} cannot be imported ({why}); {remedy(name)}; graft doctor checks the others"


def _package(name: str) -> Package:
    version, module = _version(name), MODULES.get(name, name.replace("-", "_"))
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


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


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
