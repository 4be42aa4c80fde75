"""What a pretrained network says before any training: graft classify."""

import json

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Six images, one of them in a folder below, and a file that is none."""
    place = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(1)
    (place / "below").mkdir()
    for i in range(6):
        pixels = random.integers(0, 256, (8, 8, 3), np.uint8)
        file = place / ("below" if i == 5 else "") / f"{i}.jpg"
        Image.fromarray(pixels).resize((240, 230), Image.Resampling.BICUBIC).save(file)
    (place / "broken.jpg").write_bytes(b"no image")
    return place


def test_files_and_folders_get_names_with_probabilities(folder, graft_here):
    ended = graft_here("classify", folder / "0.jpg", folder / "below", "--json", "--top", "2")
    assert ended.code == 0, ended.err
    first, second = (json.loads(line) for line in ended.out.splitlines())
    assert (first["path"], second["path"]) == (
        str(folder / "0.jpg"),
        str(folder / "below" / "5.jpg"),
    )
    for answer in (first, second):
        assert set(answer) == {"path", "label", "probability", "top"}
        assert len(answer["top"]) == 2
        assert (
            answer["top"][answer["label"]] == answer["probability"] == max(answer["top"].values())
        )


def test_what_cannot_be_read_is_named_and_the_exit_code_is_3(folder, graft_here, tmp_path):
    ended = graft_here("classify", folder, "--html", tmp_path / "page.html")
    assert ended.code == 3
    assert len(ended.out.splitlines()) == 6
    assert "broken.jpg" in ended.err
    text = (tmp_path / "page.html").read_text()
    assert text.count("<figure>") == 6
    assert "broken.jpg" in text
    assert "Nothing was trained here" in text


def test_a_path_that_does_not_exist_is_wrong_usage(graft_here):
    ended = graft_here("classify", "nowhere/")
    assert (ended.code, ended.out) == (2, "")


def test_many_images_are_named_as_one_is(folder, graft_here):
    alone = graft_here("classify", folder / "3.jpg", "--json", "--backend", "float32").out
    among = graft_here("classify", folder, "--json", "--backend", "float32").out
    one = json.loads(alone)
    same = next(a for a in map(json.loads, among.splitlines()) if a["path"] == one["path"])
    assert same["label"] == one["label"]
    assert same["probability"] == pytest.approx(one["probability"], abs=1e-3)
