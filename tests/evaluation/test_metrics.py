import json
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.errors import DataError
from graft.evaluation.intervals import wilson
from graft.evaluation.metrics import (
    brier,
    confusion_matrix,
    evaluate,
    expected_calibration_error,
    negative_log_likelihood,
    reliability,
)
from graft.evaluation.per_class import NAMES, precision_recall_f1


@st.composite
def splits(draw, least_classes=2):
    """Probabilities (N, K), labels (N,): few images, so that classes are missing now and then."""
    k = draw(st.integers(least_classes, 6))
    n = draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    probabilities = rng.dirichlet(np.full(k, draw(st.sampled_from([0.05, 0.5, 3.0]))), size=n)
    if draw(st.booleans()):  # values that lie on the edges of bins, and ties
        probabilities = np.round(probabilities * 5) / 5
        probabilities[:, -1] = np.clip(1 - probabilities[:, :-1].sum(axis=1), 0, 1)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
    return probabilities, rng.integers(k, size=n)


def names(k):
    return [f"class {i}" for i in range(k)]


@given(splits())
def test_the_confusion_matrix_agrees_with_scikit_learn(split):
    probabilities, labels = split
    k, predictions = probabilities.shape[1], probabilities.argmax(axis=1)
    ours = confusion_matrix(labels, predictions, k)
    assert ours.dtype == np.int64
    np.testing.assert_array_equal(
        ours, reference.confusion_matrix(labels, predictions, labels=range(k))
    )


@given(splits())
def test_per_class_scores_agree_with_scikit_learn(split):
    probabilities, labels = split
    k, predictions = probabilities.shape[1], probabilities.argmax(axis=1)
    theirs = reference.precision_recall_fscore_support(
        labels, predictions, labels=range(k), zero_division=0
    )
    ours = precision_recall_f1(confusion_matrix(labels, predictions, k))
    for mine, scikit in zip(ours, theirs[:3], strict=True):
        np.testing.assert_allclose(mine, scikit, atol=1e-15)


def loop(probabilities, labels, bins):
    """ECE one image and one bin at a time."""
    total = 0.0
    edges = np.linspace(0, 1, bins + 1)
    for low, high in pairwise(edges):
        inside = [
            (max(row), float(np.argmax(row) == label))
            for row, label in zip(probabilities, labels, strict=True)
            if low < max(row) <= high or (high == 1 < max(row))
        ]
        if inside:
            confidence = sum(c for c, _ in inside) / len(inside)
            accuracy = sum(right for _, right in inside) / len(inside)
            total += len(inside) / len(labels) * abs(confidence - accuracy)
    return total


@settings(deadline=None)
@given(splits(), st.integers(1, 30))
def test_the_calibration_error_agrees_with_a_loop(split, bins):
    assert expected_calibration_error(*split, bins) == pytest.approx(loop(*split, bins), abs=1e-12)


def test_reliability_of_a_case_done_by_hand():
    probabilities = [[0.5, 0.5], [0.7, 0.3], [0.2, 0.8], [0.1, 0.9], [0.0, 1.0]]
    count, confidence, accuracy = reliability(probabilities, [1, 0, 0, 1, 1], bins=4)
    np.testing.assert_array_equal(count, [0, 1, 1, 3])  # 0.5 belongs to the bin that it ends
    np.testing.assert_allclose(confidence, [np.nan, 0.5, 0.7, 0.9])
    np.testing.assert_allclose(accuracy, [np.nan, 0, 1, 2 / 3])
    expected = (0.5 + 0.3 + 3 * (0.9 - 2 / 3)) / 5
    assert expected_calibration_error(probabilities, [1, 0, 0, 1, 1], bins=4) == pytest.approx(
        expected
    )


def test_without_a_bin_there_is_no_reliability():
    with pytest.raises(ValueError, match="at least one bin"):
        reliability([[0.5, 0.5]], [0], bins=0)


@given(splits())
def test_log_loss_agrees_with_scikit_learn(split):
    probabilities, labels = split
    theirs = reference.log_loss(labels, probabilities, labels=range(probabilities.shape[1]))
    assert negative_log_likelihood(*split) == pytest.approx(theirs, abs=1e-12)


def test_a_true_class_held_impossible_costs_much_but_not_everything():
    assert negative_log_likelihood([[1.0, 0.0]], [1]) == pytest.approx(36.0437, abs=1e-4)


@given(splits())
def test_the_brier_score_agrees_with_scikit_learn(split):
    probabilities, labels = split
    theirs = reference.brier_score_loss(
        labels, probabilities, labels=range(probabilities.shape[1]), scale_by_half=False
    )
    assert brier(*split) == pytest.approx(theirs, abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(splits())
def test_evaluate_agrees_with_scikit_learn_on_the_classes_that_have_images(split):
    probabilities, labels = split
    predictions = probabilities.argmax(axis=1)
    result = evaluate(probabilities, labels, names(probabilities.shape[1]))
    theirs = reference.precision_recall_fscore_support(
        labels, predictions, labels=np.unique(labels), average="macro", zero_division=0
    )
    ours = [result[f"macro_{name}"] for name in NAMES]
    assert ours == pytest.approx(theirs[:3], abs=1e-12)
    assert result["accuracy"]["value"] == reference.accuracy_score(labels, predictions)
    for name in (*(f"macro_{name}" for name in NAMES), "ece"):
        low, high = result["intervals"][name]
        assert 0 <= low <= result[name] + 1e-12
        assert result[name] - 1e-12 <= high <= 1


def plain(value):
    if isinstance(value, dict):
        return all(type(key) is str and plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(plain, value))
    return type(value) in (str, int, float)


@settings(deadline=None, max_examples=20)
@given(splits())
def test_evaluate_returns_plain_json(split):
    result = evaluate(*split, names(split[0].shape[1]))
    assert plain(result)  # numpy's float64 is a float to json, but not here
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_evaluate_of_a_case_done_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6], [0.45, 0.55]])
    result = evaluate(probabilities, [0, 0, 0, 1, 1], ["cat", "dog"], split="val")
    assert (result["split"], result["n"], result["classes"]) == ("val", 5, ["cat", "dog"])
    assert result["confusion"] == [[2, 1], [0, 2]]
    low, high = wilson(4, 5)
    assert result["accuracy"] == {"value": 0.8, "low": low, "high": high, "method": "Wilson, 95 %"}
    low, high = wilson(2, 3)
    assert result["per_class"]["cat"] == {
        "precision": 1.0,
        "recall": pytest.approx(2 / 3),
        "f1": pytest.approx(0.8),
        "n": 3,
        "precision_low": wilson(2, 2)[0],
        "precision_high": 1.0,
        "recall_low": low,
        "recall_high": high,
        # Two of the three that are cats or were called so are both: J = 2/3, F1 = 2J / (1 + J).
        "f1_low": pytest.approx(2 * low / (1 + low)),
        "f1_high": pytest.approx(2 * high / (1 + high)),
    }
    assert result["per_class"]["dog"]["precision"] == pytest.approx(2 / 3)
    assert result["macro_precision"] == pytest.approx(5 / 6)
    assert result["nll"] == pytest.approx(-np.log([0.9, 0.8, 0.3, 0.6, 0.55]).mean())
    squares = np.square([0.1, 0.2, 0.7, 0.4, 0.45])
    assert result["brier"] == pytest.approx(2 * squares.mean())
    assert [row["n"] for row in result["reliability"]] == [2, 1, 1, 1]
    assert result["reliability"][0] == {
        "low": pytest.approx(8 / 15),
        "high": pytest.approx(9 / 15),
        "n": 2,
        "confidence": pytest.approx(0.575),
        "accuracy": 1.0,
    }
    assert result["classes_without_images"] == []
    assert "1,000 resamples, 95 %" in result["intervals"]["method"]


def test_the_baseline_is_the_majority_of_the_training_split():
    probabilities, labels = np.full((10, 3), 1 / 3), [0] * 5 + [1] * 3 + [2] * 2
    low, high = wilson(2, 10)
    assert evaluate(probabilities, labels, names(3), majority="class 2")["baseline"] == {
        "majority_class": "class 2",
        "chosen_on": "train",
        "accuracy": {"value": 0.2, "low": low, "high": high, "method": "Wilson, 95 %"},
    }


def test_without_a_training_majority_the_baseline_says_that_it_was_chosen_here():
    baseline = evaluate(np.full((4, 2), 0.5), [0, 1, 1, 1], names(2))["baseline"]
    assert baseline["majority_class"] == "class 1"
    assert baseline["chosen_on"] == "this split"
    assert baseline["accuracy"]["value"] == 0.75


def test_a_class_without_images_neither_raises_nor_lowers_the_macro_scores():
    labels = np.array([0, 0, 0, 1, 1])
    flawless = evaluate(np.eye(3)[labels], labels, names(3))
    assert flawless["macro_f1"] == 1
    assert flawless["intervals"]["macro_recall"][0] > 0.5
    assert flawless["classes_without_images"] == ["class 2"]
    assert flawless["per_class"]["class 2"] == {
        "precision": 0.0,
        "recall": 0.0,
        "f1": 0.0,
        "n": 0,
        **{f"{score}_low": 0.0 for score in NAMES},
        **{f"{score}_high": 1.0 for score in NAMES},
    }
    # An image taken for the missing class counts against its own class, and only there.
    astray = evaluate(np.eye(3)[[0, 0, 2, 1, 1]], labels, names(3))
    assert astray["macro_recall"] == pytest.approx((2 / 3 + 1) / 2)
    assert astray["macro_precision"] == 1


def test_five_flawless_images_leave_wide_intervals():
    labels = np.array([0, 1, 0, 1, 0])
    intervals = evaluate(np.eye(2)[labels], labels, names(2))["intervals"]
    for name in NAMES:
        low, high = intervals[f"macro_{name}"]
        assert 0.4 < low < 0.8
        assert high == 1
    assert intervals["ece"][0] == 0
    assert 0.2 < intervals["ece"][1] < 0.6


def test_more_images_narrow_every_interval():
    rng = np.random.default_rng(2)
    labels = np.repeat(np.arange(4), 15)
    probabilities = 0.6 * np.eye(4)[rng.permuted(labels)] + 0.4 * np.eye(4)[labels]
    few = evaluate(probabilities, labels, names(4))["intervals"]
    many = evaluate(np.tile(probabilities, (9, 1)), np.tile(labels, 9), names(4))["intervals"]
    for name in (*(f"macro_{name}" for name in NAMES), "ece"):
        ratio = (many[name][1] - many[name][0]) / (few[name][1] - few[name][0])
        assert ratio == pytest.approx(1 / 3, abs=0.08)


def test_the_same_predictions_give_the_same_numbers():
    rng = np.random.default_rng(0)
    probabilities, labels = rng.dirichlet(np.ones(3), size=50), rng.integers(3, size=50)
    assert evaluate(probabilities, labels, names(3)) == evaluate(probabilities, labels, names(3))


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        ([0.5, 0.5], [0], r"shape \(N, K\)"),
        ([[0.5, 0.5]], [0, 1], "one label an image"),
        ([[0.5, 0.5]], [[0]], "one label an image"),
        ([[0.5, 0.5]], [2], "labels 0 to 1"),
        ([[0.5, 0.5]], [-1], "labels 0 to 1"),
        ([[0.5, 0.5]], [0.0], "integer labels"),
        ([[np.nan, 0.5]], [0], "NaN"),
        ([[np.inf, -np.inf]], [0], "NaN or infinity"),
        ([[0.5, 0.5], [0.5, 0.502]], [0, 0], "row 1 .* sum 1.002"),
        ([[1.2, -0.2]], [0], "row 0 with smallest -0.2"),
    ],
)
@pytest.mark.parametrize(
    "measure",
    [
        reliability,
        expected_calibration_error,
        negative_log_likelihood,
        brier,
        lambda probabilities, labels: evaluate(probabilities, labels, names(2)),
    ],
)
def test_input_that_is_no_prediction_is_refused(measure, probabilities, labels, message):
    with pytest.raises(ValueError, match=message):
        measure(probabilities, labels)


def test_rounded_probabilities_are_welcome():
    result = evaluate([[0.3333, 0.3333, 0.3333], [1.0005, 0, 0]], [0, 1], names(3))
    assert result["reliability"][-1]["n"] == 1


@pytest.mark.parametrize(
    ("classes", "majority", "message"),
    [
        (["a"], None, "2 different class names"),
        (["a", "a"], None, "2 different class names"),
        (["a", "b", "c"], None, "2 different class names"),
        (["a", "b"], "c", "got 'c'"),
    ],
)
def test_class_names_that_do_not_fit_are_refused(classes, majority, message):
    with pytest.raises(ValueError, match=message):
        evaluate([[0.5, 0.5]], [0], classes, majority=majority)


def test_one_class_is_no_classification():
    with pytest.raises(ValueError, match="2 different class names"):
        evaluate([[1.0]], [0], ["only"])


def test_predictions_out_of_range_are_refused():
    with pytest.raises(ValueError, match="labels 0 to 1"):
        confusion_matrix([0, 1], [0, 2], 2)
    with pytest.raises(ValueError, match="one label an image"):
        confusion_matrix([0, 1], [0], 2)


def test_evaluating_nothing_is_a_data_error():
    with pytest.raises(DataError, match="at least one labeled image"):
        evaluate(np.empty((0, 2)), [], names(2))


def test_evaluation_imports_neither_torch_nor_scikit_learn_nor_scipy():
    code = (
        "import sys, graft.evaluation.metrics, graft.evaluation.calibration; "
        "print({'torch', 'sklearn', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_interval_over_groups_is_wider_than_over_images():
    random = np.random.default_rng(1)
    groups = [f"g{n // 20}" for n in range(400)]
    right = np.repeat(random.random(20) < 0.8, 20)  # all of a group, or none
    labels = np.arange(400) % 2
    p = np.where(right[:, None], np.eye(2)[labels], np.eye(2)[1 - labels]) * 0.8 + 0.1
    alone = evaluate(p, labels, ["a", "b"])["accuracy"]
    grouped = evaluate(p, labels, ["a", "b"], groups=groups)
    assert grouped["accuracy"]["value"] == alone["value"]
    width = grouped["accuracy"]["high"] - grouped["accuracy"]["low"]
    assert width > 2.5 * (alone["high"] - alone["low"])
    assert "20 groups" in grouped["accuracy"]["method"]
    assert "20 groups" in grouped["intervals"]["method"]
