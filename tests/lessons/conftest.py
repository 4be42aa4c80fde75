import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """Processes started from now on reach this machine only."""
    before = os.environ.get("PYTHONPATH")
    paths = [str(HERE / "offline"), *([before] if before else [])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
