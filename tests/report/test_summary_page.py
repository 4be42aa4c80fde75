"""The page of graft summary."""

import re

import graft
from graft.report.summary_page import write_summary


def test_the_page_has_every_layer_with_its_arithmetic(tmp_path):
    found = graft.summary("resnet18", image_size=96)
    page = tmp_path / "pages" / "summary.html"
    write_summary(page, found, batch=8)
    text = page.read_text(encoding="utf-8")
    for layer in found.layers:
        assert f"<bdi>{layer.name}</bdi>" in text
    assert text.count("<details>") >= len(found.layers)
    assert "7 × 7 × 3 × 64 = 9,408 weights, no biases = 9,408 parameters" in text
    assert "11,176,512" in text.replace("\u00a0", " ")
    assert "http" not in text.split("</style>")[-1]
    assert "{{" not in text


def test_receptive_fields_are_drawn_to_scale(tmp_path):
    page = tmp_path / "summary.html"
    write_summary(page, graft.summary("base_cnn"))
    rects = re.findall(
        r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)".*?<title>(\S+):',
        page.read_text(encoding="utf-8"),
    )
    drawn = {name: [float(v) for v in values] for *values, name in rects}
    scale = 300 / 64
    assert drawn["blocks.0.0"] == [round(v * scale, 2) for v in (31, 31, 3, 3)]
    assert drawn["mean"] == [0, 0, 300, 300]
