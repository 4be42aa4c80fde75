"""Imports point one way only: a module imports from its own level and from those below it."""

import ast
from pathlib import Path

import pytest

import graft

ROOT = Path(graft.__file__).parent
# Modules of learning that stand above evaluation, too.
ABOVE = [f"learning.{name}" for name in ("recipe", "learn", "measure", "again", "rank")]
# From the top. A name stands for the module and all below it, unless a longer one says otherwise.
LEVELS = [
    ["cli"],
    ["commands_data", "commands_model"],
    ["api", "compare", "demo", "tables"],
    ["serve", "report", "lessons"],
    ["use"],
    ["runs", *ABOVE],
    ["learning", "evaluation"],
    ["models"],
    ["data"],
    ["options"],
    ["config", "errors", "files", "progress"],
]
# One level, but neither knows the other.
STRANGERS = [("learning", "evaluation"), ("serve", "lessons")]
LEVEL_OF = {name: number for number, names in enumerate(LEVELS) for name in names}
MODULES = sorted(
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for file in ROOT.rglob("*.py")
    if file.parent != ROOT or file.name not in ("__init__.py", "__main__.py")
)


def level(module):
    parts = module.split(".")
    for stop in range(len(parts), 0, -1):
        if ".".join(parts[:stop]) in LEVEL_OF:
            return LEVEL_OF[".".join(parts[:stop])]
    raise AssertionError(f"graft.{module} has no place in the picture; give it one in LEVELS")


def imported_by(text, module):
    """The modules of graft that a module's text imports, wherever in it, as names below graft."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"graft.{module}, line {node.lineno}: a relative import"
            # `from graft.data import scan` names a module, `from graft.data.scan import scan` not.
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] != "graft":
                continue
            while parts[1:] and ".".join(parts[1:]) not in MODULES:
                parts.pop()
            if parts[1:]:
                found.add(".".join(parts[1:]))
    return found


def source(module):
    file = ROOT.joinpath(*module.split("."))
    file = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
    return file.read_text(encoding="utf-8")


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_from_its_level_and_below(module):
    upward = [m for m in imported_by(source(module), module) if level(m) < level(module)]
    assert not upward, f"graft.{module} imports {upward}, which stand above it"


@pytest.mark.parametrize("module", MODULES)
def test_neighbours_of_a_level_do_not_know_each_other(module):
    folder = module.partition(".")[0]
    strangers = {name for pair in STRANGERS for name in pair if folder in pair} - {folder}
    if module in ABOVE:
        return
    assert not {m for m in imported_by(source(module), module) if m.split(".")[0] in strangers}


@pytest.mark.parametrize("folder", ["data", "evaluation"])
def test_the_folders_of_numbers_and_pictures_know_nothing_of_torch(folder):
    for module in (m for m in MODULES if m.split(".")[0] == folder):
        for node in ast.walk(ast.parse(source(module))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert not [n for n in names if n.split(".")[0] in ("torch", "timm")], module


def test_the_reader_of_imports_sees_every_form():
    text = """
import graft.cli
from graft import api
from graft.data import scan
from graft.data.scan import find_images
def later():
    import graft.models.backbone as b
    from graft.learning.recipe import Run
"""
    assert imported_by(text, "x") == {
        "cli",
        "api",
        "data.scan",
        "models.backbone",
        "learning.recipe",
    }
    assert len(MODULES) > 30
    assert level("learning.recipe") < level("learning.cache") < level("models.head")
