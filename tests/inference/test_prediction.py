"""A prediction: told in a line, as JSON, as HTML in a notebook, and sent to another process."""

import base64
import gc
import io
import json
import pickle
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

import graft as package
from graft.inference.neighbors import Neighbor
from graft.inference.prediction import Picture, Prediction

HOSTILE = "<script>alert(1)</script>&\"'\n\x1b[31m"


def prediction(label="cat", reason="", classes=("cat", "dog"), path="", **more):
    shares = {name: 0.9 if i == 0 else 0.1 / (len(classes) - 1) for i, name in enumerate(classes)}
    return Prediction(path, label, classes[0], 0.9, shares, reason, None, 0.5, **more)


def test_a_prediction_is_told_in_one_line():
    assert repr(prediction(path="a.jpg")) == (
        "Prediction(label='cat', probability=0.9000, path='a.jpg')"
    )
    assert repr(prediction(None, "unlike the training images")) == (
        "Prediction(label=None, reason='unlike the training images', best_guess='cat', "
        "probability=0.9000)"
    )
    assert "\n" not in repr(prediction(HOSTILE, classes=(HOSTILE, "dog"), path=HOSTILE))
    assert len(repr(prediction(classes=[f"class {i}" for i in range(1000)]))) < 100


def test_a_class_called_none_of_these_is_told_from_a_refusal():
    names = ("None of these", "dog")
    answer, refused = prediction(names[0], classes=names), prediction(None, "unlike", names)
    assert (answer.abstained, refused.abstained) == (False, True)
    assert refused.refusal.casefold() not in map(str.casefold, names)
    assert answer.headline[0] == "None of these"
    assert refused.headline == ("no label, not even 'none of these'", "unlike")
    assert refused.to_json()["label"] is None
    assert prediction(None, "unlike").refusal == "none of these"


class Tags(HTMLParser):
    """The tags and the text of a page; an error where they do not close one another."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.images, self.text = [], [], [], ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        if tag == "img":
            self.images.append(dict(attrs)["src"])
        else:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_in_a_notebook_names_and_paths_are_text_and_the_bars_are_as_long_as_the_shares():
    names = (HOSTILE, *(f"<b>{i}" for i in range(7)))
    page = Tags(prediction(HOSTILE, HOSTILE, names)._repr_html_())
    assert "script" not in page.seen
    assert page.text.count("<script>alert(1)</script>") == 3
    assert "and 3 less probable" in page.text
    html = prediction()._repr_html_()
    assert re.findall(r"width:([\d.]+)%", html) == ["90.0", "10.0"]


def test_in_a_notebook_the_image_is_shown_as_long_as_it_is_there(tmp_path):
    image = Image.new("RGB", (400, 200), "red")
    image.save(tmp_path / "a.png")
    from_file = prediction(picture=Picture(tmp_path / "a.png"))
    from_memory = prediction(picture=Picture(image))
    from_pixels = np.full((200, 400, 3), (255, 0, 0), np.uint8)
    for answer in (from_file, from_memory, prediction(picture=Picture(from_pixels))):
        (source,) = Tags(answer._repr_html_()).images
        shown = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))
        assert (shown.size, shown.getpixel((3, 3))) == ((160, 80), (255, 0, 0))
    del image
    gc.collect()
    (tmp_path / "a.png").unlink()
    for answer in (from_file, from_memory, prediction(picture=Picture(b"bytes")), prediction()):
        assert Tags(answer._repr_html_()).images == []


def test_a_prediction_can_be_sent_and_compared():
    near = (Neighbor("a.png", "cat", 0.9),)
    for picture in (Picture("a.png"), Picture(Image.new("RGB", (2, 2))), Picture(b"")):
        answer = prediction(nearest=near, picture=picture)
        assert pickle.loads(pickle.dumps(answer)) == answer
        assert json.loads(json.dumps(answer.to_json()))["nearest"][0]["label"] == "cat"


def test_an_explanation_in_a_notebook_shows_the_image_and_the_map(untrained, noise):
    predictor = untrained("base_cnn", 16, classes=("a", "<b>", "c"))
    found = package.explain(predictor, noise, method="gradients")
    page = Tags(found._repr_html_())
    assert len(page.images) == 2
    assert found.sentence in page.text
    assert "<b>" in page.text


@pytest.mark.parametrize("name", ["__version__"])
def test_the_version_is_the_packages(name):
    assert re.fullmatch(r"\d+\.\d+.*", getattr(package, name))
