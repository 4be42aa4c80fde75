"""What `graft export` writes says what the run says, and is refused where it does not."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import graft as package
from graft.data.decode import center_view
from graft.errors import DataError, ModelError, UsageError
from graft.export.odd_images import drawing, write_odd_images
from graft.export.programs import open_program
from graft.export.write import export_run

TOLERANCE = 0.005


def said(predictor, files):
    found = [result.prediction for result in predictor.predict_files(files)]
    return np.array([list(each.probabilities.values()) for each in found]), found


def standalone(folder, files):
    """What predict.py prints, in a process where neither torch nor graft can be imported."""
    program = f"""
import runpy, sys
class Refuses:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "graft", "timm"):
            raise ImportError(name)
sys.meta_path.insert(0, Refuses())
runpy.run_path({str(folder / "predict.py")!r}, run_name="__main__")
assert not {{"torch", "graft", "timm"}} & {{n.partition(".")[0] for n in sys.modules}}
"""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, files)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_command_writes_the_model_and_what_goes_with_it(onnx_folder):
    folder, ended = onnx_folder
    found = json.loads(ended.out)
    assert found["folder"] == str(folder)
    assert set(found["files"]) >= {"model.onnx", "parity.json", "predict.py", "preprocess.json"}
    assert all((folder / name).stat().st_size == size for name, size in found["files"].items())
    parity = json.loads((folder / "parity.json").read_text())
    assert parity == found["parity"]
    assert parity["images"] > 20
    assert parity["probability"]["worst"] < TOLERANCE
    assert parity["labels_changed"] == parity["differing"] == 0
    # News of graft's own, and no line of the exporters'.
    own = ("exporting", "comparing")
    assert all(line.startswith(own) for line in ended.err.splitlines()), ended.err
    assert not list(folder.parent.glob(".*")), "nothing half-written is left"


def test_the_metadata_says_what_a_program_must_know(onnx_folder, finished):
    import onnx

    folder, _ = onnx_folder
    model = onnx.load(folder / "model.onnx")
    [entry] = [prop for prop in model.metadata_props if prop.key == "graft"]
    contract = json.loads(entry.value)
    assert contract["classes"] == ["0", "1", "2"]
    assert contract["preprocess"]["height"] == 16
    assert contract["ood_limit"] == 1.0
    assert contract["parity"]["labels_changed"] == 0
    assert "differ" not in contract["parity"], "no names of the user's images travel"
    assert contract == json.loads((folder / "preprocess.json").read_text())
    [image] = model.graph.input
    dims = [d.dim_param or d.dim_value for d in image.type.tensor_type.shape.dim]
    assert dims == ["batch", "height", "width", 3]
    assert {each.domain for each in model.opset_import} == {""}, "standard operators alone"
    assert not {node.op_type for node in model.graph.node} & {"Resize", "If", "Loop"}


def test_it_says_what_predict_says_of_images_of_any_size(onnx_folder, finished, tmp_path):
    program = open_program(onnx_folder[0] / "model.onnx")
    predictor = package.load(finished, backend="float32")
    sizes = [(1, 1), (1, 90), (90, 1), (16, 16), (300, 41), (40, 333), (257, 129)]
    for seed, size in enumerate(sizes):
        image = drawing(*size, seed)
        probabilities, ood_score, features = program.run(image[None])
        expected = predictor.predict(image)
        apart = np.abs(probabilities[0] - list(expected.probabilities.values())).max()
        assert apart < TOLERANCE, size
        assert ood_score[0] == pytest.approx(expected.ood_score, rel=0.01)
        assert features.shape == (1, 128)
    batch = np.stack([drawing(50, 60, seed) for seed in range(5)])
    together = program.run(batch)[0]
    alone = np.concatenate([program.run(each[None])[0] for each in batch])
    assert np.abs(together - alone).max() < 1e-5


def test_predict_py_says_what_predict_says_without_torch_or_graft(onnx_folder, finished, tmp_path):
    folder, _ = onnx_folder
    files = write_odd_images(tmp_path)
    Image.fromarray(drawing(700, 500, 1)).save(tmp_path / "large.jpg")
    Image.fromarray(drawing(64, 64, 2)).convert("LA").save(tmp_path / "la.png")
    files += [tmp_path / "large.jpg", tmp_path / "la.png"]
    answers = standalone(folder, files)
    expected, predictions = said(package.load(finished, backend="float32"), files)
    for file, answer, row, prediction in zip(files, answers, expected, predictions, strict=True):
        assert answer["path"] == str(file)
        assert np.abs(np.array(list(answer["probabilities"].values())) - row).max() < TOLERANCE, (
            file
        )
        assert answer["label"] == prediction.label
        assert answer["ood_score"] == pytest.approx(prediction.ood_score, rel=0.01)
    text = (folder / "predict.py").read_text()
    assert text.count("\n") <= 60


def by_itself(folder, program, *words):
    command = [sys.executable, folder / program, *words]
    return subprocess.run(command, capture_output=True, text=True)


def test_predict_py_names_what_it_cannot_read_and_answers_the_rest(onnx_folder, tmp_path):
    folder, _ = onnx_folder
    (tmp_path / "text.jpg").write_text("no image")
    cut = tmp_path / "cut.png"
    Image.fromarray(drawing(64, 64, 1)).save(tmp_path / "whole.png")
    cut.write_bytes((tmp_path / "whole.png").read_bytes()[:900])
    files = [tmp_path / name for name in ("gone.jpg", "text.jpg", "cut.png", "whole.png")]
    done = by_itself(folder, "predict.py", *files)
    assert done.returncode == 1
    [answer] = [json.loads(line) for line in done.stdout.splitlines()]
    assert answer["path"] == str(files[-1])
    lines = done.stderr.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [str(file) for file in files[:-1]]
    assert "No such file" in lines[0]
    helped = by_itself(folder, "predict.py")
    assert helped.returncode == 1
    assert "python predict.py IMAGE" in helped.stderr


def test_check_py_checks_the_model_by_its_test_vectors(onnx_folder, tmp_path):
    folder = shutil.copytree(onnx_folder[0], tmp_path / "model")
    done = by_itself(folder, "check.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[1] for line in done.stdout.splitlines()] == ["agrees:"] * 3
    Image.fromarray(drawing(301, 200, 9)).convert("L").save(folder / "vectors" / "gray.png")
    done = by_itself(folder, "check.py")
    assert done.returncode == 1
    assert "gray.png differs: probabilities within" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("to", ["openvino", "torch"])
def test_openvino_and_torch_say_the_same(to, finished, tmp_path):
    found = export_run(finished, to, out=tmp_path / to, most=20)
    assert found["parity"]["probability"]["worst"] < TOLERANCE
    assert (tmp_path / to / "predict.py").read_text().count("\n") <= 60
    done = subprocess.run(
        [sys.executable, tmp_path / to / "predict.py", tmp_path / to / "vectors" / "turned.jpg"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    vectors = json.loads((tmp_path / to / "vectors" / "vectors.json").read_text())["vectors"]
    [row] = [each for each in vectors if each["file"] == "turned.jpg"]
    assert np.allclose(list(answer["probabilities"].values()), row["probabilities"], atol=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("to", ["onnx", "openvino", "torch"])
def test_a_square_export_takes_pixels_of_its_own_size(to, finished, tmp_path):
    found = export_run(finished, to, out=tmp_path / to, square=True, most=20)
    assert found["parity"]["labels_changed"] == 0
    [file] = (tmp_path / to).glob("model.[opx]*[!n]")
    program = open_program(file, trusted=True)
    assert program.run(drawing(16, 16, 0)[None])[0].shape == (1, 3)
    assert (tmp_path / to / "predict.py").read_text().count("\n") <= 60
    files = write_odd_images(tmp_path / "odd")
    if to != "torch":
        answers = standalone(tmp_path / to, files)
        expected, _ = said(package.load(finished, backend="float32"), files)
        got = np.array([list(each["probabilities"].values()) for each in answers])
        assert np.abs(got - expected).max() < TOLERANCE


NETWORKS = [
    ("deep_cnn", 32),
    ("tf_efficientnet_lite0", 64),
    ("mobilenetv2_050", 64),
    ("resnet18", 64),
    ("test_vit", 160),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), NETWORKS)
def test_every_family_of_networks_can_be_exported(name, size, untrained, tmp_path):
    from graft.export.contract import contract_of
    from graft.export.graph import graph_of
    from graft.export.writers import onnx_saver, openvino_saver, torch_program

    predictor = untrained(name, size)
    graph = graph_of(predictor)
    images = [drawing(100, 130, 0), drawing(size, size, 1), drawing(333, 90, 2)]
    # A program of its own for each: converting one leaves its symbols in disorder.
    saved = {tmp_path / "m.onnx": onnx_saver(torch_program(graph, None))}
    if name == "test_vit":  # has an operator that OpenVINO reads from ONNX only
        with pytest.raises(ModelError, match="export it to onnx, which OpenVINO reads, too"):
            openvino_saver(torch_program(graph, None))
    else:
        saved[tmp_path / "m.xml"] = openvino_saver(torch_program(graph, None))
    for file, save in saved.items():
        save(file, contract_of(predictor, "onnx", False))
        loaded = open_program(file)
        for image in images:
            pixels = center_view(Image.fromarray(image), predictor.backbone.preprocess)
            with torch.no_grad():
                expected = predictor.classifier(torch.from_numpy(pixels.copy())[None])[0].numpy()
            probabilities, ood_score, _ = loaded.run(image[None])
            assert np.abs(probabilities[0] - expected).max() < TOLERANCE, (file, image.shape)
            assert ood_score[0] == 0, "there is no detector"


def test_an_export_that_differs_is_refused_and_nothing_is_left(finished, tmp_path, monkeypatch):
    """The exporter's mistake is one in the graph: its colors are in the wrong order."""
    from graft.export import write
    from graft.export.graph import Graph

    class Wrong(Graph):
        def forward(self, image):
            return super().forward(image.flip(3) // 2)

    def wrong(predictor, square):
        graph = original(predictor, square)
        graph.__class__ = Wrong
        return graph

    original = write.graph_of
    monkeypatch.setattr(write, "graph_of", wrong)
    with pytest.raises(ModelError, match=r"refused: it differs .* on .* images .*0/") as caught:
        export_run(finished, "torch", out=tmp_path / "out", most=10)
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_wishes_that_cannot_be_met_are_refused_before_any_work(finished, tmp_path, graft_here):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    cases = [
        (["--out", tmp_path / "mine"], 2, "in use"),
        (["--to", "coreml"], 2, "coreml"),
        (["--to", "torch", "--int8"], 2, "--int8 is for --to onnx"),
        (["--half"], 2, "--half is for --to openvino"),
    ]
    for arguments, code, words in cases:
        ended = graft_here("export", finished, *arguments)
        assert (ended.code, ended.out) == (code, ""), ended.err
        assert words in ended.err
        assert ended.err.count("\n") == 1
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"
    assert graft_here("export", tmp_path / "mine").code == 4


def test_without_the_extra_the_message_says_what_to_install(finished, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UsageError, match=r"pip install 'graft\[onnx\]'"):
        export_run(finished, "onnx", out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_run_whose_images_are_gone_asks_for_others(digits, finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    config["source"] = str(tmp_path / "gone")
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match="--images FOLDER"):
        export_run(run, "torch", out=tmp_path / "out")


@pytest.mark.slow
def test_a_run_can_be_compared_on_other_images(digits, finished, tmp_path):
    run = finished
    found = export_run(run, "torch", out=tmp_path / "out", images=[digits / "0"], most=5)
    assert found["parity"]["images"] > 5
    assert "mcnemar" not in found["parity"], "no labels are known"


def test_the_default_folder_is_a_free_one(finished, tmp_path, monkeypatch):
    from graft.export.write import _free

    monkeypatch.chdir(tmp_path)
    assert _free(None, "birds", "onnx") == Path("exports/birds-onnx")
    Path("exports/birds-onnx").mkdir(parents=True)
    assert _free(None, "birds", "onnx") == Path("exports/birds-onnx-2")
