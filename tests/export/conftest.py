import pytest


@pytest.fixture(scope="session")
def onnx_folder(graft, finished, tmp_path_factory):
    """The folder that `graft export RUN` wrote, and how the command ended."""
    pytest.importorskip("onnxscript", reason="needs graft[onnx]")
    folder = tmp_path_factory.mktemp("exports") / "onnx"
    ended = graft("export", finished, "--out", folder, "--json")
    assert ended.code == 0, ended.err
    return folder, ended
