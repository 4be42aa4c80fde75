import math
import re
import xml.etree.ElementTree as ElementTree

import pytest

from graft.report.run_plots import confusion_matrix, reliability_diagram, training_curves


def epoch(number, val_loss, **others):
    row = {"epoch": number, "train_loss": 1.0 / number, "val_loss": val_loss}
    row |= {"train_accuracy": 0.9, "val_accuracy": 0.8, "learning_rate": 1e-3, "seconds": 0.1}
    return row | others


def bins(*filled):
    return [
        {"low": i / 10, "high": (i + 1) / 10, "n": n, "confidence": c, "accuracy": a}
        for i, (n, c, a) in enumerate(filled)
    ]


CURVES = training_curves([epoch(1, 0.9), epoch(2, 0.4), epoch(3, 0.5)])
RELIABILITY = reliability_diagram(bins((0, None, None), (4, 0.15, 0.25), (1200, 0.25, 0.3)), 0.05)
MATRIX = confusion_matrix([[3, 1], [0, 4]], ["a", "b"])
DRAWINGS = pytest.mark.parametrize("drawing", [CURVES, RELIABILITY, MATRIX])


@DRAWINGS
def test_a_plot_is_one_well_formed_svg_element_without_prolog(drawing):
    root = ElementTree.fromstring(drawing)
    assert drawing.startswith("<svg ")
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("role") == "img"
    assert root.get("aria-label")
    assert root.get("viewBox")


@DRAWINGS
def test_a_plot_takes_nothing_from_elsewhere_and_styles_nothing_but_itself(drawing):
    assert not re.search(r'(?:href|src)="(?!#|data:)', drawing)
    assert "<style" not in drawing
    assert "<script" not in drawing
    assert "<metadata" not in drawing


def test_two_plots_in_one_page_share_no_id_and_refer_to_their_own():
    ids = [set(re.findall(r' id="([^"]+)"', drawing)) for drawing in (CURVES, RELIABILITY)]
    assert not ids[0] & ids[1]
    for drawing, own in zip((CURVES, RELIABILITY), ids, strict=True):
        assert set(re.findall(r'(?:href="|url\()#([^")]+)', drawing)) == own


def test_a_plot_is_the_same_each_time():
    assert training_curves([epoch(1, 0.9), epoch(2, 0.4), epoch(3, 0.5)]) == CURVES


def test_the_plots_wear_the_colors_of_the_page():
    for drawing in (CURVES, RELIABILITY):
        assert "var(--accent" in drawing
        assert "#01020" not in drawing


def test_the_curves_mark_the_epoch_of_the_lowest_validation_loss():
    assert "best: epoch 2" in CURVES
    assert "those of epoch 2, validation loss 0.400" in CURVES


def test_the_curves_mark_the_epoch_that_was_kept_and_where_fine_tuning_began():
    history = [epoch(1, 0.4) | {"stage": "probe"}, epoch(2, 0.3) | {"stage": "probe"}]
    history += [epoch(3, 0.2) | {"stage": "fine-tune"}]
    drawing = training_curves(history, kept=2)
    assert "best: epoch 2" in drawing
    assert "Fine-tuning begins at epoch 3, of 3." in drawing


def test_the_curves_of_one_epoch_are_points_on_one_tick():
    drawing = training_curves([epoch(1, 0.9)])
    assert "best: epoch 1" in drawing
    assert "0.6<" not in drawing


def test_curves_leave_out_what_was_not_measured():
    drawing = training_curves(
        [epoch(1, None, val_accuracy=None), epoch(2, math.nan, val_accuracy=None)]
    )
    assert "best:" not in drawing


def test_the_reliability_diagram_says_how_many_images_each_bin_holds():
    assert ">1,200</text>" in RELIABILITY
    assert ">4</text>" in RELIABILITY
    assert "5.0\u00a0%" in RELIABILITY


def test_the_reliability_diagram_of_no_image_is_empty():
    assert reliability_diagram(bins((0, None, None)), None).startswith("<svg ")


def test_the_matrix_escapes_names_and_keeps_them_whole_in_a_title():
    hostile = '<script>"&' + "x" * 300
    drawing = confusion_matrix([[1, 0], [0, 1]], [hostile, "犬"])
    assert "<script" not in drawing
    titles = [e.text for e in ElementTree.fromstring(drawing).iter() if e.tag.endswith("title")]
    assert hostile in titles
    assert "犬" in titles


def test_a_large_matrix_names_some_of_its_classes_only():
    names = [f"class {i}" for i in range(120)]
    drawing = confusion_matrix([[int(i == j) for j in range(120)] for i in range(120)], names)
    assert 40 <= drawing.count("<text") <= 60


def test_a_class_without_images_is_an_empty_row():
    assert confusion_matrix([[0, 0], [1, 2]], ["a", "b"]).startswith("<svg ")
