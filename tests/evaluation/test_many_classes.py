"""Metrics from the cells of the confusion matrix and from the largest probabilities alone."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.evaluation import calibration_interval
from graft.evaluation.calibration_interval import ece_interval
from graft.evaluation.intervals import resample_confusion, wilson
from graft.evaluation.metrics import brier, confusion_matrix, evaluate
from graft.evaluation.per_class import class_rows, precision_recall_f1
from graft.evaluation.selective import selective_prediction_report
from graft.runs import confusion_counts
from graft.runs.confusion_counts import ConfusionCounts
from graft.runs.schema_results import check_file
from graft.runs.top_probabilities import TopProbabilities


def sample(n=400, k=60, seed=0):
    random = np.random.default_rng(seed)
    labels = random.integers(0, k, n)
    logits = random.normal(size=(n, k))
    logits[np.arange(n), labels] += 3
    p = np.exp(2 * logits)
    return p / p.sum(1, keepdims=True), labels, [f"c{i}" for i in range(k)]


@given(st.integers(0, 2**32 - 1), st.integers(2, 9), st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_cells_say_what_the_matrix_says(seed, k, n):
    random = np.random.default_rng(seed)
    labels, predicted = random.integers(0, k, (2, n))
    matrix, cells = confusion_matrix(labels, predicted, k), ConfusionCounts.of(labels, predicted, k)
    assert (cells.matrix() == matrix).all()
    assert (cells.hits == np.diagonal(matrix)).all()
    assert (cells.of_class == matrix.sum(1)).all()
    assert (cells.predicted == matrix.sum(0)).all()
    assert cells.right == np.trace(matrix)
    for one, other in zip(precision_recall_f1(matrix), precision_recall_f1(cells), strict=True):
        assert (one == other).all()
    drawn = [resample_confusion(c, repeats=3) for c in (matrix, cells)]
    assert all((one == other).all() for one, other in zip(*drawn, strict=True))
    names = [f"c{i}" for i in range(k)]
    rows = class_rows(cells, names)
    assert rows == class_rows(matrix, names)
    for i, name in enumerate(names):  # as a matrix was summed before
        if matrix[i].sum():
            low, high = wilson(int(matrix[i, i]), int(matrix[i].sum()))
            assert (rows[name]["recall_low"], rows[name]["recall_high"]) == (
                min(low, rows[name]["recall"]),
                max(high, rows[name]["recall"]),
            )


@pytest.mark.parametrize("dense", [1, 100])
def test_either_stored_form_is_read_back(monkeypatch, dense):
    monkeypatch.setattr(confusion_counts, "MOST_DENSE", dense)
    p, labels, _ = sample(k=6)
    cells = ConfusionCounts.of(labels, p.argmax(1), 6)
    stored = json.loads(json.dumps(cells.to_json()))
    assert isinstance(stored, list) == (dense == 100)
    found = ConfusionCounts.read(stored)
    assert (found.matrix() == cells.matrix()).all()
    assert (found.of_class == cells.of_class).all()


def test_of_too_many_cells_the_fullest_are_kept_and_the_rest_counted(monkeypatch):
    monkeypatch.setattr(confusion_counts, "MOST_DENSE", 1)
    monkeypatch.setattr(confusion_counts, "MOST_CELLS", 8)
    p, labels, _ = sample(k=6)
    cells = ConfusionCounts.of(labels, p.argmax(1), 6)
    stored = cells.to_json()
    found = ConfusionCounts.read(stored)
    assert found.right == cells.right
    assert (found.of_class == cells.of_class).all()
    assert found.images.sum() + stored["left_out"] == len(labels)


def test_the_brier_score_is_that_of_one_hot_labels_to_the_last_bit():
    p, labels, _ = sample()
    expected = ((p - np.eye(p.shape[1])[labels]) ** 2).sum(axis=1).mean()
    assert brier(p, labels) == float(expected)


@pytest.mark.parametrize("groups", [None, [f"group:{i // 3}" for i in range(400)]])
def test_the_largest_probabilities_give_the_same_metrics_but_those_left_out(groups):
    p, labels, names = sample()
    whole = evaluate(p, labels, names, groups=groups)
    kept = evaluate(TopProbabilities.of(p, labels), labels, names, groups=groups)
    assert set(kept) - set(whole) == {"top_k_accuracy", "left_out"}
    assert set(kept["left_out"]) == {"class_ece"}
    assert kept["class_ece"] == []
    for name in ("accuracy", "per_class", "confusion", "macro_f1", "baseline"):
        assert kept[name] == whole[name]
    for name in ("ece", "nll", "brier"):
        assert kept[name] == pytest.approx(whole[name], abs=1e-6)
    order = np.argsort(-p, axis=1)
    for k, found in kept["top_k_accuracy"].items():
        assert found == (order[:, : int(k)] == labels[:, None]).any(1).mean()
    check_file("metrics.json", json.loads(json.dumps(kept)))


def test_selective_prediction_is_the_same_from_the_largest_probabilities():
    p, labels, _ = sample(n=2000)
    both = (p[:1000], labels[:1000]), (p[1000:], labels[1000:])
    kept = [(TopProbabilities.of(*part), part[1]) for part in both]
    whole, found = (selective_prediction_report(*pair, None) for pair in (both, kept))
    assert [r["answered"] for r in found["error_budgets"] if "answered" in r] == [
        r["answered"] for r in whole["error_budgets"] if "answered" in r
    ]
    for one, other in zip(found["prediction_sets"], whole["prediction_sets"], strict=True):
        assert one["covered"] == other["covered"]
        assert one["mean_size"] in (None, pytest.approx(other["mean_size"]))


def test_sets_that_may_be_larger_than_what_is_kept_have_no_size():
    p = np.full((50, 40), 1 / 40)
    labels = np.arange(50) % 40
    kept = (TopProbabilities.of(p, labels), labels)
    row = selective_prediction_report(kept, kept, None)["prediction_sets"][0]
    assert (row["mean_size"], row["mean_size_interval"]) == (None, None)
    assert row["covered"] == 50


def test_drawing_images_together_gives_the_interval_of_single_ones(monkeypatch):
    random = np.random.default_rng(3)
    confidence = random.uniform(0.3, 1, 5000)
    correct = (random.random(5000) < confidence - 0.04).astype(float)
    bins = np.minimum((confidence * 15).astype(int), 14)
    single = ece_interval(bins, confidence, correct, repeats=2000)
    monkeypatch.setattr(calibration_interval, "MOST_SINGLE", 100)
    together = ece_interval(bins, confidence, correct, repeats=2000)
    assert together != single
    assert together == pytest.approx(single, abs=0.002)
