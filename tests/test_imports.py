"""Imports point one way only: a module imports from its own folder and from those below it."""

import ast
from collections import Counter
from pathlib import Path

import pytest

import graft

ROOT = Path(graft.__file__).parent
# From the top; one line a folder or module of graft.
LEVELS = [
    "__main__",
    "cli",
    "demo",
    "diagnosis",
    "app",
    "serve",
    "mcp_server",
    "api",
    "export",
    "chat",
    "lessons",
    "review",
    "report",
    "explanation",
    "tuning",
    "training",
    "inference",
    "evaluation",
    "quality",
    "features",
    "models",
    "runs",
    "cluster",
    "data",
    "config",
    "choices",
    "utils",
    "errors",
]
MODULES = sorted(
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for file in ROOT.rglob("*.py")
    if file != ROOT / "__init__.py"
)


def level(module):
    return LEVELS.index(module.partition(".")[0])


def imported_by(text, module):
    """The modules of graft that a module's text imports, wherever in it, as names below graft."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"graft.{module}, line {node.lineno}: a relative import"
            # `from graft.data import split` names a module, `from graft.data.split import x` not.
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            words = name.split(".")
            if words[0] != "graft":
                continue
            while words[1:] and ".".join(words[1:]) not in MODULES:
                words.pop()
            if words[1:]:
                found.add(".".join(words[1:]))
    return found


def source(module):
    file = ROOT.joinpath(*module.split("."))
    file = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
    return file.read_text(encoding="utf-8")


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_from_its_folder_and_below(module):
    upward = [m for m in imported_by(source(module), module) if level(m) < level(module)]
    assert not upward, f"graft.{module} imports {upward}, which stand above it"


def test_no_modules_import_each_other_in_a_circle():
    above = {module: imported_by(source(module), module) - {module} for module in MODULES}
    while free := [m for m, imported in above.items() if not imported & set(above)]:
        for module in free:
            del above[module]
    assert not above, f"these import each other: {sorted(above)}"


def test_no_two_modules_have_one_name():
    names = Counter(module.rpartition(".")[2] for module in MODULES)
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("file", sorted(ROOT.rglob("*.py")), ids=lambda f: f.name)
def test_files_and_functions_stay_short(file):
    text = file.read_text(encoding="utf-8")
    assert text.count("\n") <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 60, f"{file.name}: {node.name}"


@pytest.mark.parametrize("folder", ["data", "evaluation", "runs"])
def test_folders_that_the_tables_of_a_run_need_import_no_torch(folder):
    """At the top of a module, that is: inside a function it is imported where it is used."""
    for module in (m for m in MODULES if m.split(".")[0] == folder):
        for node in ast.parse(source(module)).body:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert not [n for n in names if n.split(".")[0] in ("torch", "timm")], module


def test_the_reader_of_imports_sees_every_form():
    text = """
import graft.cli
from graft import api
from graft.data import split
from graft.data.sources import find_images
def later():
    import graft.models.backbone as b
    from graft.training.recipe import train_run
"""
    assert imported_by(text, "x") == {
        "cli",
        "api",
        "data.split",
        "data.sources",
        "models.backbone",
        "training.recipe",
    }
    assert len(MODULES) > 30
