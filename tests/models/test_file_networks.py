"""Networks from files of other tools, against what those tools say of them."""

import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import openvino
import pytest
import torch
from openvino import opset13 as ops

from graft.errors import ModelError, UsageError
from graft.features.backends import backend_of, choose
from graft.models.network_file import find_file, read_file
from graft.models.onnx_references import external_files
from graft.models.split_point import find_split_point
from graft.models.weights import find_backbone, find_classifier

FILES = Path(__file__).parent / "files"
TENSORFLOW = np.array(json.loads((FILES / "tiny_tensorflow.json").read_text()))
ONNX = json.loads((FILES / "tiny_onnx.json").read_text())


def images():
    """As in files/make_onnx.py and files/make_tensorflow.py."""
    rows, columns, channels = np.mgrid[0:16, 0:16, 0:3]
    first = (rows * 16 + columns * (channels + 1)) % 256
    return np.stack([first, 255 - first.transpose(1, 0, 2)]).astype(np.uint8)


def features(backbone):
    backend = backend_of(backbone, "float32", batch=2)()
    return backend.submit(images())()


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cards")


@pytest.mark.parametrize(
    ("file", "pixels", "expected"),
    [
        ("tiny.onnx", "torch", ONNX["scores"]),
        ("tiny.onnx#features", "torch", ONNX["features"]),
        ("tiny_saved_model", "tf", TENSORFLOW),
        ("tiny.tflite", "tf", TENSORFLOW),
        ("tiny_uint8.tflite", None, TENSORFLOW),
    ],
)
def test_a_file_gives_the_features_that_its_own_tool_computes(file, pixels, expected, cache):
    backbone = find_backbone(f"file:{FILES / file}", cache, pixels)
    assert (backbone.preprocess.height, backbone.preprocess.width) == (16, 16)
    assert backbone.features == np.shape(expected)[1]
    np.testing.assert_allclose(features(backbone), expected, atol=1e-6)
    again = pickle.loads(pickle.dumps(backbone.build()))  # as PyTorch would run it
    np.testing.assert_allclose(again(torch.from_numpy(images())), expected, atol=1e-6)


def means(folder, shape, channels_last=False, batch_inside=None):
    """An IR, by OpenVINO itself, whose features are the mean of each channel."""
    image = ops.parameter(shape, np.float32, "image")
    x = image
    if batch_inside:
        x = ops.reshape(x, ops.constant(np.array(batch_inside)), special_zero=False)
    over = [1, 2] if channels_last else [2, 3]
    y = ops.reduce_mean(x, ops.constant(np.array(over)), keep_dims=False)
    file = folder / "means.xml"
    openvino.save_model(openvino.Model([ops.result(y)], [image]), file, compress_to_fp16=False)
    return file


def test_caffe_is_bgr_minus_the_means_of_imagenet(tmp_path, cache):
    file = means(tmp_path, [-1, -1, -1, 3], channels_last=True)
    backbone = find_backbone(f"file:{file}", cache, "caffe")
    assert backbone.preprocess.height == 224  # the graph takes any
    fed = backbone.build()(torch.full((1, 224, 224, 3), 100, dtype=torch.uint8))
    np.testing.assert_allclose(fed[0], 100 - np.array([103.939, 116.779, 123.68]), atol=1e-3)


def test_a_graph_for_one_image_at_a_time_gives_each_its_own_features(tmp_path, cache):
    file = means(tmp_path, [1, 3, 16, 16], batch_inside=[1, 3, 16, 16])
    backbone = find_backbone(f"file:{file}", cache, "0-255")
    np.testing.assert_allclose(features(backbone), images().mean((1, 2)), rtol=1e-5)
    assert backend_of(backbone, batch=2)().note == "the network's file takes one image at a time"


def test_equal_files_have_equal_digests_wherever_they_lie_and_others_have_not(tmp_path, cache):
    shutil.copy(FILES / "tiny.tflite", tmp_path / "moved.tflite")
    first, moved, scaled = (
        find_backbone(f"file:{file}", cache, pixels).digest
        for file, pixels in (
            (FILES / "tiny.tflite", "tf"),
            (tmp_path / "moved.tflite", "tf"),
            (FILES / "tiny.tflite", "0-1"),
        )
    )
    assert first == moved
    assert first != scaled


def test_a_file_that_does_not_say_how_it_was_fed_asks_for_it(cache):
    with pytest.raises(ModelError, match="--pixels: tf"):
        find_backbone(f"file:{FILES / 'tiny.onnx'}", cache)


def test_an_unknown_output_is_answered_with_those_that_there_are(cache):
    with pytest.raises(ModelError, match="no output 'logits'; its outputs are scores, features"):
        find_backbone(f"file:{FILES / 'tiny.onnx'}#logits", cache, "torch")


def test_pixels_are_for_files_alone(cache):
    with pytest.raises(UsageError, match="pixels is for a network from a file"):
        find_backbone("tf_efficientnet_lite0", cache, "tf")


def test_only_a_head_can_be_trained_on_a_file(cache):
    encoder = find_backbone(f"file:{FILES / 'tiny.tflite'}", cache, "tf").build()
    for unfreeze in ("all", "20%", "1"):
        with pytest.raises(ModelError, match="computes no gradients") as raised:
            find_split_point(encoder, unfreeze)
        assert "\n" not in str(raised.value)


def test_pytorch_is_not_asked_to_run_a_file():
    with pytest.raises(UsageError, match="leave --backend torch out"):
        choose("torch", True)


def test_the_classes_of_a_file_have_no_names(cache):
    with pytest.raises(ModelError):
        find_classifier(f"file:{FILES / 'tiny.onnx'}", cache)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.onnx", "no such file"),
        ("tiny.keras", "graft import"),
        ("make_onnx.py", "expected a file of .onnx, .tflite, .xml"),
        (".", "expected a folder with saved_model.pb"),
    ],
)
def test_what_is_no_network_is_refused_with_what_is_expected(name, message):
    with pytest.raises(ModelError, match=message):
        find_file(f"file:{FILES / name}")


@pytest.mark.parametrize(
    ("name", "victim", "share"),
    [
        ("tiny.onnx", "", 0.5),
        ("tiny.tflite", "", 0.5),
        ("tiny_saved_model", "saved_model.pb", 0.5),
        # At which OpenVINO's reader ends the process that it is in.
        ("tiny_saved_model", "variables/variables.index", None),
    ],
)
def test_a_damaged_file_is_one_clear_line(tmp_path, name, victim, share):
    place = tmp_path / name
    copy = shutil.copytree if (FILES / name).is_dir() else shutil.copy
    copy(FILES / name, place)
    file = place / victim if victim else place
    data = file.read_bytes()
    damaged = (
        data[: int(share * len(data))] if share else data[:364] + b"\x07\xff\x80\0{" + data[364:]
    )
    file.write_bytes(damaged)
    with pytest.raises(ModelError) as raised:
        read_file(find_file(f"file:{place}"), "tf")
    assert "\n" not in str(raised.value)
    assert name in str(raised.value)


@pytest.mark.parametrize("location", ["/etc/passwd", "../weights.bin", "a/../../weights.bin"])
def test_tensors_outside_of_the_folder_are_never_opened(tmp_path, location):
    onnx = pytest.importorskip("onnx")
    (tmp_path / "weights.bin").write_bytes(bytes(1000))
    model = onnx.load(FILES / "tiny.onnx")
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "x.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="outside of its folder"):
        external_files(folder / "x.onnx")
    tensor.external_data[0].value = "beside.bin"
    (folder / "x.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"beside\.bin, which is not there"):
        external_files(folder / "x.onnx")
    (folder / "beside.bin").symlink_to(tmp_path / "weights.bin")
    with pytest.raises(ModelError, match="outside of its folder"):
        external_files(folder / "x.onnx")


def test_a_graph_that_asks_for_more_memory_than_any_network_is_refused(tmp_path):
    image = ops.parameter([1, 3, 16, 16], np.float32, "image")
    wide = ops.broadcast(
        ops.reduce_mean(image, ops.constant(np.array([1, 2, 3])), True),
        ops.constant(np.array([1, 2**12, 2**12, 2**12])),
    )
    y = ops.reduce_mean(wide, ops.constant(np.array([2, 3])), False)
    openvino.save_model(openvino.Model([ops.result(y)], [image]), tmp_path / "wide.xml")
    with pytest.raises(ModelError, match="a tensor of 1 × 4096 × 4096 × 4096 numbers"):
        read_file(find_file(f"file:{tmp_path / 'wide.xml'}"), "tf")


def test_a_pipe_in_place_of_a_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "x.tflite")
    with pytest.raises(ModelError, match="no such file"):
        find_file(f"file:{tmp_path / 'x.tflite'}")


@pytest.fixture(scope="module")
def file_run(graft_here, tmp_path_factory, digits):
    """A run on a copy of a file that is gone by now. After one epoch its head is not so steep that
    rounding in a resized photo decides.
    """
    folder = tmp_path_factory.mktemp("file-run")
    shutil.copytree(FILES / "tiny_saved_model", folder / "network")
    trained = graft_here(
        *("train", digits, "--model", f"file:{folder / 'network'}", "--pixels", "tf"),
        *("--epochs", "1", "--views", "1", "--out", folder / "run"),
    )
    assert trained.code == 0, trained.err
    shutil.rmtree(folder / "network")
    return folder / "run"


def test_a_run_needs_its_file_no_more(graft_here, file_run, digits, tmp_path):
    moved = shutil.copytree(file_run, tmp_path / "moved")
    said = graft_here("evaluate", moved, digits)
    assert said.code == 0, said.err
    assert graft_here("verify", moved).code == 0
    summary = graft_here("summary", moved)
    assert "one OpenVINO graph of 1,100 parameters" in summary.out


@pytest.mark.slow
def test_the_chat_names_the_file(graft_here, file_run):
    chat = graft_here("chat", file_run, "--ask", "what network are you?")
    assert "network (a file, digest" in " ".join(chat.out.split())


def test_a_run_on_a_file_goes_to_openvino_alone(graft_here, file_run, tmp_path):
    ended = graft_here("export", file_run, "--to", "onnx", "--out", tmp_path / "onnx")
    assert ended.code == 4
    assert "--to openvino, not onnx" in ended.err
    assert ended.err.splitlines()[-1].count("graft:") == 1


def test_a_strangers_graph_in_a_run_has_bounds(file_run, tmp_path):
    from safetensors.torch import load_file, save_file

    import graft

    image = ops.parameter([1, 3, 16, 16], np.float32, "image")
    wide = ops.broadcast(
        ops.reduce_mean(image, ops.constant(np.array([1, 2, 3])), True),
        ops.constant(np.array([1, 12, 2**14, 2**14])),
    )
    y = ops.reduce_mean(wide, ops.constant(np.array([2, 3])), False)
    openvino.save_model(openvino.Model([ops.result(y)], [image]), tmp_path / "wide.xml")
    run = shutil.copytree(file_run, tmp_path / "run")
    state = load_file(run / "model.safetensors")
    for name, ending in (("graph", ".xml"), ("constants", ".bin")):
        data = (tmp_path / f"wide{ending}").read_bytes()
        state[f"encoder.{name}"] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    save_file(state, run / "model.safetensors")
    (run / "digests.json").unlink()
    with pytest.raises(ModelError, match="a tensor of 1 × 12 × 16384 × 16384 numbers") as raised:
        graft.load(run)
    assert "\n" not in str(raised.value)


@pytest.mark.slow
def test_the_export_of_a_run_on_a_file_agrees_with_it(graft_here, file_run, digits, tmp_path):
    photos = next(Path(digits).iterdir())
    ended = graft_here(
        *("export", file_run, "--to", "openvino", "--square", "--out", tmp_path / "out"),
        *("--images", photos),
    )
    assert ended.code == 0, ended.err
    assert (tmp_path / "out" / "model.xml").is_file()


@pytest.mark.slow
def test_files_are_ranked_beside_other_networks(graft_here, digits):
    names = f"file:{FILES / 'tiny.onnx'},file:{FILES / 'tiny_uint8.tflite'}"
    ended = graft_here("rank", digits, "--backbones", names, "--pixels", "torch", "--json")
    rows = json.loads(ended.out)
    assert [row.get("problem") for row in rows] == [None, None], ended.err
    assert sorted(row["features"] for row in rows) == [5, 12]
