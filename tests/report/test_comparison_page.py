"""A comparison of two small runs: its data, its page and its slides."""

import json

import pytest

from graft.evaluation.comparison import read_comparison
from graft.report import comparison_sentences as sentences
from graft.report.comparison_page import write_comparison
from graft.report.slides import cells


@pytest.fixture
def comparison(tmp_path, make_run):
    """A run with 9 mistakes on 30 test images beside one with 1 of the same."""
    folders = []
    for name, wrong in (("worse", 9), ("better", 1)):
        (tmp_path / name).mkdir()
        settings = {"settings": {"model": name, "unfreeze": "none"}}
        run = make_run(tmp_path / name, each=50, wrong=wrong, config=settings)
        (run.path / "model.safetensors").write_bytes(b"0" * 2_000_000)
        ends = {key: [0.5, 0.7] for key in ("macro_precision", "macro_recall", "macro_f1", "ece")}
        metrics = run.metrics | {"intervals": ends | {"method": "bootstrap"}}
        (run.path / "metrics.json").write_text(json.dumps(metrics))
        folders.append(run.path)
    return read_comparison(folders)


def test_images_that_one_run_alone_classifies_correctly_are_counted_by_the_test(comparison):
    (pair,) = comparison.pairs
    assert (pair.n, pair.only_first, pair.only_second) == (30, 0, 8)
    assert pair.p == pytest.approx(2 * 0.5**8)
    assert pair.verdict == "better"
    (_, nothing), (run, images) = comparison.correct_alone()
    assert (nothing, run.name, len(images)) == ([], "better", 8)


def test_the_data_for_programs_names_the_best_and_those_not_shown_to_be_worse(comparison):
    found = comparison.to_json()
    assert found["conclusion"] == {"best": "better", "not_shown_worse": [], "fastest": None}
    assert found["same_training_images"]
    assert [model["bytes"] for model in found["models"]] == [2_000_000] * 2


def test_page_slides_and_data_are_written_and_say_the_same(comparison, tmp_path):
    page = write_comparison(comparison, tmp_path / "out").read_text(encoding="utf-8")
    assert "<script" not in page
    for sentence in sentences.the_conclusion(comparison):
        assert sentence in page
    assert "better is better than worse by 26.7 percentage points on 30\u00a0images" in page
    assert json.loads((tmp_path / "out" / "comparison.json").read_text()) == {
        "generator": "graft",
        **comparison.to_json(),
    }
    slides = (tmp_path / "out" / "comparison.pdf").read_bytes()
    assert slides.startswith(b"%PDF")
    assert slides.count(b"/Type /Page ") + slides.count(b"/Type /Page\n") == 10


def test_each_figure_on_the_slides_has_its_interval_below(comparison):
    run = comparison.runs[0]
    figures, under = sentences.cells(run), sentences.small_print(run)
    for name in ("accuracy", "precision", "recall", "F1", "ECE"):
        shown = [f"{text}\u00a0%" for text in cells(run)[name].split("\n")]
        assert shown == [figures[name], under[name]]
