"""`graft verify`: by the run, by the vectors alone, and of files that strangers made."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from graft.errors import DataError, ModelError, UsageError
from graft.export.contract import MOST_BYTES, read_contract
from graft.export.verify import verify_file


@pytest.fixture
def copied(onnx_folder, tmp_path):
    """An export's folder, to spoil."""
    return shutil.copytree(onnx_folder[0], tmp_path / "copy")


def rewritten(folder, change):
    """The model with something changed by change(model)."""
    import onnx

    model = onnx.load(folder / "model.onnx")
    change(model)
    onnx.save(model, folder / "model.onnx")


def test_an_export_agrees_with_its_run_and_its_vectors(onnx_folder, finished, graft_here):
    folder, _ = onnx_folder
    ended = graft_here("verify", folder / "model.onnx", finished, "--json")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert found["problems"] == []
    assert found["parity"]["labels_changed"] == 0
    ended = graft_here("verify", folder)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.endswith("it agrees\n")


def test_other_weights_are_found_by_the_vectors_and_by_the_run(copied, finished, graft_here):
    def change(model):
        import onnx

        bias = next(i for i in model.graph.initializer if i.dims == [3])
        values = onnx.numpy_helper.to_array(bias).copy()
        values[0] += 1
        bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))

    rewritten(copied, change)
    ended = graft_here("verify", copied)
    assert ended.code == 4
    assert "turned-pixels.png: a probability is" in ended.out
    ended = graft_here("verify", copied, finished, "--json")
    assert ended.code == 4
    assert json.loads(ended.out)["problems"]


def test_another_runs_export_is_named(copied, frozen_run, finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    model = json.loads((run / "model.json").read_text())
    model["classes"] = ["x", "y", "z"]
    (run / "model.json").write_text(json.dumps(model))
    for name in ("predictions.csv", "digests.json"):
        (run / name).unlink()
    with pytest.raises(ModelError, match="its classes are not those of"):
        verify_file(copied, run)
    assert any("weights_sha256" in line for line in verify_file(copied, frozen_run)["problems"])


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x08" * 500])
@pytest.mark.parametrize("name", ["model.onnx", "model.xml", "model.pt2"])
def test_bytes_that_are_no_model_are_one_clear_line(content, name, tmp_path, graft_here):
    (tmp_path / name).write_bytes(content)
    ended = graft_here("verify", tmp_path / name, "--trust")
    assert ended.code == 3, ended.err
    assert ended.out == ""
    assert ended.err.count("\n") == 1
    assert "export the run again" in ended.err


def test_a_pt2_file_is_not_read_unless_it_is_trusted(tmp_path):
    (tmp_path / "model.pt2").write_bytes(b"anything")
    with pytest.raises(UsageError, match="--trust"):
        verify_file(tmp_path / "model.pt2")


HOSTILE = [
    "",
    "[]",
    "{}",
    "null",
    "[" * 100_000,
    '{"format": 99}',
    '{"format": 1, "classes": [1], "input": {"square": false}, "ood_limit": null}',
    '{"format": 1, "classes": [], "input": {"square": false}, "ood_limit": null}',
    '{"format": 1, "classes": ["a"], "input": {"square": "x"}, "ood_limit": null}',
    '{"format": 1, "classes": ["a"], "input": {"square": true}, "ood_limit": -1}',
    "x" * (MOST_BYTES + 1),
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:30])
def test_hostile_metadata_is_refused_in_one_line(text, tmp_path):
    with pytest.raises(DataError, match="expected a model made by graft export") as caught:
        read_contract(text, tmp_path / "m.onnx")
    assert len(str(caught.value)) < 500


def test_a_model_of_others_is_refused(copied, graft_here):
    rewritten(copied, lambda model: model.metadata_props.pop())
    ended = graft_here("verify", copied)
    assert ended.code == 3
    assert "its metadata has no 'graft'" in ended.err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"file": "../secret.png"}, "no file's name"),
        ({"pixels": "/etc/hostname"}, "no file's name"),
        ({"probabilities": [1.0]}, "probabilities of other classes"),
        ({"file": "absent.png"}, "cannot be read"),
        ({"file": "huge.png"}, "huge.png is 5000"),
    ],
)
def test_hostile_vectors_are_refused(change, words, copied):
    Image.fromarray(np.zeros((10, 5000, 3), np.uint8)).save(copied / "vectors" / "huge.png")
    file = copied / "vectors" / "vectors.json"
    stored = json.loads(file.read_text())
    stored["vectors"][0] |= change
    file.write_text(json.dumps(stored))
    with pytest.raises(DataError, match=words):
        verify_file(copied)


def test_vectors_that_are_missing_are_asked_for(copied):
    shutil.rmtree(copied / "vectors")
    with pytest.raises(DataError, match="expected test vectors"):
        verify_file(copied)


def test_a_folder_for_model_servers_is_verified_by_the_model_in_it(copied, tmp_path):
    version = tmp_path / "models" / "flowers" / "1"
    version.parent.mkdir(parents=True)
    shutil.copytree(copied, version)
    for folder in (version, version.parent, version.parent.parent):
        found = verify_file(folder)
        assert (found["file"], found["problems"]) == (str(version / "model.onnx"), [])
    shutil.copytree(version, version.with_name("2"))
    with pytest.raises(DataError, match=r"found 1/model\.onnx, 2/model\.onnx; name one of them"):
        verify_file(version.parent)
    with pytest.raises(DataError, match="expected a folder that graft export wrote"):
        verify_file(tmp_path)


def test_a_run_is_held_against_its_digests_its_schemas_and_itself(finished, graft_here, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    ended = graft_here("verify", run)
    assert (ended.code, ended.out) == (0, "it is whole, and as graft wrote it\n"), ended.err
    (run / "findings.json").write_text("[]")
    ended = graft_here("verify", run, "--json")
    assert ended.code == 4
    said = json.loads(ended.out)["problems"]
    assert "findings.json was changed after the run was finished" in said
