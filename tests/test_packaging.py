"""What is installed is what is in the checkout; `make installed` then builds and runs it."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "graft"


def files_of_the_package():
    found = [file for file in PACKAGE.rglob("*") if file.is_file()]
    return {file for file in found if "__pycache__" not in file.parts}


def test_every_file_that_is_no_python_is_among_the_package_data():
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    named = {file for pattern in data["package-data"]["graft"] for file in PACKAGE.glob(pattern)}
    others = {file for file in files_of_the_package() if file.suffix != ".py"}
    assert PACKAGE / "py.typed" in others
    assert len(others) > 5
    assert sorted(others - named) == []


def test_every_folder_of_the_package_is_a_package():
    folders = {file.parent for file in files_of_the_package() if file.suffix == ".py"}
    assert [f for f in sorted(folders) if not (f / "__init__.py").is_file()] == []
