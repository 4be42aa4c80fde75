import numpy as np
import pytest
import timm
import torch
from PIL import Image

from graft.explanation.closer_look import look_closer
from graft.explanation.heat_map import explain
from graft.explanation.stage_maps import first_filters
from graft.inference.saved_model import load
from graft.report.explanation_page import write_explanations


@pytest.fixture
def photo(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (70, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_beside_a_plain_map_stands_the_margin_and_the_other_way_round(finished, digits):
    predictor = load(finished)
    file = next((digits / "0").glob("*.png"))
    plain = look_closer(predictor, explain(predictor, file, method="gradients"))
    runner_up = plain.explanation.prediction.ranked[1][0]
    assert (plain.other.label, plain.other.against) == (plain.explanation.label, runner_up)
    held = look_closer(predictor, plain.other)
    assert held.other.against is None
    assert held.other.map == pytest.approx(plain.explanation.map, abs=1e-6)
    assert len(plain.nearest) == 6
    assert len(plain.stages) == len(plain.evidence) == 3


def test_the_page_of_a_transformer_shows_its_attention(make_predictor, photo, tmp_path):
    torch.manual_seed(0)
    body = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=64, depth=2).eval()
    vit = make_predictor(body, 192, torch.randn(2, 192), ("a <b>", "rest"), 64)
    look = look_closer(vit, explain(vit, photo, method="gradients"))
    assert look.attention is not None
    assert look.nearest == ()
    page = tmp_path / "why.html"
    warned = (["a warning about it"], ["a warning about all"])
    write_explanations(page, "run", [look], None, first_filters(vit), [("x.png", "is bad")], warned)
    text = page.read_text()
    for words in (
        "Where the patches look",
        "the training images are gone",
        "a &lt;b&gt;" if look.explanation.label == "a <b>" else "rest",
        "a warning about it",
        "A warning about all",
        "x.png",
    ):
        assert words in text, words
    assert "<b>a <b>" not in text
    assert 'id="glossary-attention"' in text
    assert "nearest-training-images" not in text


def test_a_network_without_known_stages_is_explained_by_occlusion(corner, photo, monkeypatch):
    monkeypatch.setattr("graft.explanation.stage_outputs.stages", lambda body: [])
    look = look_closer(corner, explain(corner, photo))
    assert look.stages == look.evidence == []
    assert look.explanation.map.max() >= 0
    assert len(look.changes) == 12
