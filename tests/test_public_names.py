import importlib
import subprocess
import sys

import pytest

import graft


def test_the_public_names_are_those_with_a_place():
    assert graft.__all__ == sorted(graft._WHERE)
    assert dir(graft) == graft.__all__


@pytest.mark.parametrize("name", graft.__all__)
def test_each_public_name_is_its_modules_own(name):
    value = getattr(graft, name)
    assert value is getattr(importlib.import_module(graft._WHERE[name]), name)
    assert value.__module__ == graft._WHERE[name], "named where it is defined"
    assert value.__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'graft' has no attribute 'trian'"):
        graft.trian  # noqa: B018


@pytest.mark.parametrize("statement", ["import graft", "from graft import TrainConfig, DataError"])
def test_importing_graft_loads_neither_torch_nor_numpy(statement):
    program = f"import sys; {statement}; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "graft" in loaded, done.stderr
    assert loaded.isdisjoint({"torch", "numpy", "PIL", "timm", "matplotlib", "click", "rich"})


def test_every_error_knows_its_exit_code():
    codes = {
        name: getattr(graft, name).exit_code for name in graft.__all__ if name.endswith("Error")
    }
    assert codes == {
        "GraftError": 1,
        "UsageError": 2,
        "DataError": 3,
        "ModelError": 4,
        "DownloadError": 5,
    }
    for name in codes:
        assert issubclass(getattr(graft, name), graft.GraftError)
