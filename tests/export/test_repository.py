"""`graft export --to repository`: what a model server reads, checked by its own schema."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import graft as package
from graft.export.repository import repository_name, write_config
from graft.export.write import export_run
from graft.runs.run import Run


def schema():
    """Triton's own message for config.pbtxt, without the gRPC packages beside it."""
    pytest.importorskip("google.protobuf", reason="needs protobuf, of tritonclient")
    found = importlib.util.find_spec("tritonclient")
    if found is None:
        pytest.skip("needs tritonclient")
    file = Path(found.submodule_search_locations[0]) / "grpc" / "model_config_pb2.py"
    if not file.is_file():
        pytest.skip(f"this tritonclient has no {file.name}")
    spec = importlib.util.spec_from_file_location("model_config_pb2", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def exported(finished, tmp_path_factory):
    pytest.importorskip("onnxscript", reason="needs graft[onnx]")
    out = tmp_path_factory.mktemp("server") / "models"
    export_run(finished, "repository", out=out, most=20)
    return out


def test_the_config_is_one_that_triton_reads(exported):
    from google.protobuf import text_format

    triton = schema()
    text = (exported / "finished" / "config.pbtxt").read_text()
    config = text_format.Parse(text, triton.ModelConfig())
    assert config.name == "finished"
    assert config.platform == "onnxruntime_onnx"
    assert config.max_batch_size > 1
    assert config.HasField("dynamic_batching")
    assert [(i.name, i.data_type, list(i.dims)) for i in config.input] == [
        ("image", triton.TYPE_UINT8, [-1, -1, 3])
    ]
    names = [(o.name, o.data_type) for o in config.output]
    assert names == [(n, triton.TYPE_FP32) for n in ("probabilities", "ood_score", "features")]


def test_the_config_says_what_the_graph_has(exported, finished, noise):
    """Shapes as Triton compares them: the batch, then `reshape` if there is one, else `dims`."""
    onnxruntime = pytest.importorskip("onnxruntime")
    from google.protobuf import text_format

    folder = exported / "finished"
    config = text_format.Parse((folder / "config.pbtxt").read_text(), schema().ModelConfig())
    session = onnxruntime.InferenceSession(folder / "1" / "model.onnx")
    assert [i.name for i in session.get_inputs()] == [i.name for i in config.input]
    assert [i.type for i in session.get_inputs()] == ["tensor(uint8)"]
    assert not isinstance(session.get_inputs()[0].shape[0], int)  # any batch
    found = session.run([o.name for o in config.output], {"image": noise[None].repeat(2, 0)})
    for output, value in zip(config.output, found, strict=True):
        shape = output.reshape.shape if output.HasField("reshape") else output.dims
        assert value.shape == (2, *shape), output.name
    expected = package.load(finished, "float32").predict(noise)
    assert found[0][0] == pytest.approx(list(expected.probabilities.values()), abs=1e-3)
    labels = (folder / config.output[0].label_filename).read_text().splitlines()
    assert labels == list(expected.probabilities)


def test_openvino_reads_the_model_where_its_server_looks(exported, noise):
    import openvino

    model = openvino.Core().read_model(exported / "finished" / "1" / "model.onnx")
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled([noise[np.newaxis]])
    assert found["probabilities"].sum() == pytest.approx(1, abs=1e-4)


def test_nothing_but_the_model_lies_in_the_repository(exported):
    assert [entry.name for entry in exported.iterdir()] == ["finished"]
    inside = sorted(entry.name for entry in (exported / "finished").iterdir())
    assert inside == ["1", "config.pbtxt", "labels.txt"]


def test_fixed_sizes_and_strange_names_are_written_as_a_server_takes_them(finished, tmp_path):
    run = Run.finished(finished)
    text = write_config(run, tmp_path, (16, 16), 24).read_text()
    assert "dims: [ 16, 16, 3 ]" in text
    run.path = tmp_path / "my flowers (2)"
    assert repository_name(run) == "my_flowers_2"
