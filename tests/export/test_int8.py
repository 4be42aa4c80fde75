"""Eight bits are for the encoder alone, and only where they are shown to be as good."""

import copy

import numpy as np
import pytest

from graft.data.decode import Preprocess
from graft.errors import ModelError
from graft.export.int8 import judge, quantize, refuse_if_worse
from graft.export.programs import open_program
from graft.export.write import export_run
from graft.runs.run import Run
from graft.utils.progress import Progress

GOOD = {
    "images": 500,
    "accuracy": {"float": 0.95, "int8": 0.948},
    "difference": {"value": -0.002, "low": -0.01, "high": 0.006, "p": 1.0},
    "refusals_changed": 3,
    "times_as_fast": 1.8,
}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"difference": {"value": -0.01, "low": -0.03, "high": 0.0, "p": 0.1}}, "may lose more"),
        ({"refusals_changed": 11}, "of refusals change"),
        ({"times_as_fast": 0.9}, "no faster"),
    ],
)
def test_int8_is_refused_for_each_limit_with_the_figures(change, why):
    refuse_if_worse(GOOD)
    with pytest.raises(ModelError, match=why) as caught:
        refuse_if_worse(copy.deepcopy(GOOD) | change)
    assert "94.8% against 95.0%" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_the_encoder_alone_is_in_int8(onnx_folder, finished, tmp_path):
    import onnx

    run = Run(finished)
    fed = Preprocess.from_json(run.model["preprocess"])
    source, target = onnx_folder[0] / "model.onnx", tmp_path / "eight.onnx"
    quantize(source, target, run, fed, False)
    graph = onnx.load(target).graph
    made_by = {output: node for node in graph.node for output in node.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 6
    assert all(made_by[node.input[0]].op_type == "DequantizeLinear" for node in convolutions)
    for node in graph.node:  # resize, head and OOD score
        if node.op_type in ("MatMul", "Gemm"):
            inputs = [made_by[name].op_type for name in node.input if name in made_by]
            assert "DequantizeLinear" not in inputs, node.name
    found = judge(open_program(source), open_program(target), run, fed, Progress())
    assert found["labels_changed"] <= 0.1 * found["images"]
    assert np.isfinite(found["times_as_fast"])


@pytest.mark.slow
def test_a_few_validation_images_can_show_nothing(finished, tmp_path):
    with pytest.raises(ModelError, match="--int8 is refused: it may lose more than 2% of accuracy"):
        export_run(finished, "onnx", out=tmp_path / "out", int8=True, most=5)
    assert list(tmp_path.iterdir()) == []
