"""TensorBoard's event files, read back."""

import json
import struct


def scalars(file):
    """(tag, step, value) of an event file: records of length, checksum, event, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    data, place = file.read_bytes(), 0
    while place < len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        event = Event.FromString(data[place + 12 : place + 12 + length])
        place += 16 + length
        for value in event.summary.value:
            yield value.tag, event.step, value.simple_value


def test_the_event_files_say_what_the_history_says(graft_here, make_digits, tmp_path):
    images = make_digits(tmp_path / "digits", each=20)
    out = tmp_path / "run"
    small = ["--model", "base_cnn", "--image-size", "16", "--epochs", "3", "--views", "1"]
    ended = graft_here("train", images, *small, "--out", out, "--tensorboard")
    assert ended.code == 0, ended.err
    (file,) = (out / "tensorboard").iterdir()
    found = {(tag, step): value for tag, step, value in scalars(file)}
    history = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    assert len(history) == 3
    for line in history:
        for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy"):
            assert abs(found[name.replace("_", "/"), line["epoch"]] - line[name]) < 1e-6
