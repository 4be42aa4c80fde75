"""The Open Inference Protocol, by its public client and by hand."""

import json
import struct

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def triton(client):
    """tritonclient's HTTP client. Its threads are gevent's, which warns where SSL is older."""
    api = pytest.importorskip("tritonclient.http", reason="needs tritonclient[http]")
    with api.InferenceServerClient(f"127.0.0.1:{client.port}") as found:
        yield api, found


def input_of(api, array, kind, binary=True):
    found = api.InferInput("image", array.shape, kind)
    found.set_data_from_numpy(array, binary_data=binary)
    return found


def test_tritonclient_finds_the_server_and_the_model(triton, client):
    _, found = triton
    assert found.is_server_live()
    assert found.is_server_ready()
    assert found.is_model_ready("digits")
    assert not found.is_model_ready("other")
    assert found.get_server_metadata()["name"] == "graft"
    metadata = found.get_model_metadata("digits")
    assert metadata["parameters"]["classes"] == ["0", "1", "2"]
    assert found.is_model_ready("digits", metadata["versions"][0])
    assert not found.is_model_ready("digits", "7")


def test_tritonclient_gets_the_same_answers_from_bytes_and_from_pixels(triton, client, digit_files):
    api, found = triton
    expected = [client.predict(file.read_bytes()).json for file in digit_files]
    sent = np.array([file.read_bytes() for file in digit_files], np.object_)
    pixels = np.stack([np.asarray(Image.open(f).convert("RGB")) for f in digit_files])
    answers = [
        found.infer("digits", [input_of(api, sent, "BYTES")], request_id="7"),
        found.infer("digits", [input_of(api, pixels, "UINT8")]),
        found.infer("digits", [input_of(api, pixels, "UINT8", binary=False)]),
    ]
    for answer in answers:
        probabilities = answer.as_numpy("probabilities")
        assert probabilities.dtype == np.float32
        for row, one in zip(probabilities, expected, strict=True):
            assert row == pytest.approx(list(one["probabilities"].values()), abs=2e-3)
        labels = [text.decode() for text in answer.as_numpy("label")]
        assert labels == [one["label"] or "" for one in expected]
        scores = [one["ood_score"] or 0 for one in expected]
        assert answer.as_numpy("ood_score") == pytest.approx(scores, abs=5e-3)
    assert answers[0].get_response()["id"] == "7"


def test_tritonclient_may_ask_for_some_outputs_as_json(triton, digit_files):
    api, found = triton
    sent = np.array([digit_files[0].read_bytes()], np.object_)
    wanted = [
        api.InferRequestedOutput("best_guess", binary_data=False),
        api.InferRequestedOutput("probabilities", binary_data=True),
    ]
    answer = found.infer("digits", [input_of(api, sent, "BYTES")], outputs=wanted)
    assert answer.as_numpy("label") is None
    assert answer.as_numpy("best_guess").tolist()[0] in ("0", "1", "2")
    assert answer.as_numpy("probabilities").shape == (1, 3)


def test_tritonclient_is_told_what_is_wrong(triton):
    api, found = triton
    sent = np.array([_png(), b"no image"], np.object_)
    with pytest.raises(api.InferenceServerException, match="image 1 cannot be decoded"):
        found.infer("digits", [input_of(api, sent, "BYTES")])
    with pytest.raises(api.InferenceServerException, match="no such model"):
        found.infer("other", [input_of(api, np.array([b"x"], np.object_), "BYTES")])


def test_json_alone_does(client, digit_files, base64_of):
    asked = {
        "id": "a",
        "inputs": [
            {
                "name": "image",
                "datatype": "BYTES",
                "shape": [1],
                "data": [base64_of(digit_files[0].read_bytes())],
            }
        ],
    }
    version = client.get("/v2/models/digits").json["versions"][0]
    for path in ("/v2/models/digits/infer", f"/v2/models/digits/versions/{version}/infer"):
        reply = client.ask("POST", path, json.dumps(asked))
        assert reply.status == 200
        assert reply.json["model_version"] == version
        shapes = {one["name"]: one["shape"] for one in reply.json["outputs"]}
        assert shapes["probabilities"] == [1, 3]
        assert len(reply.json["outputs"][3]["data"]) == 3


def tensor(**changed):
    return {"name": "image", "datatype": "BYTES", "shape": [1], "data": ["eA=="]} | changed


@pytest.mark.parametrize(
    ("asked", "rest", "length"),
    [
        ({}, b"", None),
        ({"inputs": []}, b"", None),
        ({"inputs": [tensor(), tensor()]}, b"", None),
        ({"inputs": [tensor(name="x")]}, b"", None),
        ({"inputs": [tensor(datatype="FP32")]}, b"", None),
        ({"inputs": [tensor(shape=[2])]}, b"", None),
        ({"inputs": [tensor(shape=[True])]}, b"", None),
        ({"inputs": [tensor(shape=[1, 1])]}, b"", None),
        ({"inputs": [tensor(shape=[10**9])]}, b"", None),
        ({"inputs": [tensor(data=[1])]}, b"", None),
        ({"inputs": [tensor(data="eA==")]}, b"", None),
        ({"inputs": [tensor(datatype="UINT8", shape=[1, 1, 1, 3], data=[1, 2, 256])]}, b"", None),
        ({"inputs": [tensor(datatype="UINT8", shape=[1, 1, 1, 3], data=[1, 2])]}, b"", None),
        ({"inputs": [tensor(datatype="UINT8", shape=[1, 1, 1, 3], data=[[1], 2, 3])]}, b"", None),
        ({"inputs": [tensor(datatype="UINT8", shape=[1, 1, 1, 4], data=[1] * 4)]}, b"", None),
        ({"inputs": [tensor(parameters=3)]}, b"", None),
        ({"inputs": [tensor(parameters={"binary_data_size": 9})]}, b"12345678", 0),
        (
            {"inputs": [tensor(parameters={"binary_data_size": 8})]},
            struct.pack("<I", 99) + b"1234",
            0,
        ),
        ({"inputs": [tensor(parameters={"binary_data_size": 2})]}, b"12", 0),
        ({"inputs": [tensor()]}, b"", 999),
        ({"inputs": [tensor()]}, b"", "x"),
        ({"inputs": [tensor()], "outputs": [{"name": "features"}]}, b"", None),
        ({"inputs": [tensor()], "outputs": 3}, b"", None),
        ({"inputs": [tensor()], "outputs": [{"name": {}}]}, b"", None),
        ({"inputs": [tensor(name={}, datatype=[], data={})]}, b"", None),
        ({"inputs": [tensor()], "id": 3}, b"", None),
    ],
)
def test_what_is_no_infer_request_is_refused_with_one_line(client, asked, rest, length):
    text = json.dumps(asked).encode()
    headers = {}
    if length is not None:
        sent = str(len(text) + length) if isinstance(length, int) else length
        headers["Inference_Header_Content_Length"] = sent
    reply = client.ask("POST", "/v2/models/digits/infer", text + rest, **headers)
    assert reply.status in (400, 413), reply.body
    assert "\n" not in reply.json["error"]


def _png():
    import io

    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "PNG")
    return file.getvalue()
