"""Results image by image and at any threshold, against predictions.csv read by hand, scikit-learn
and SciPy.
"""

import csv
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix

import graft
from graft.errors import DataError, UsageError
from graft.evaluation.selective import answered_from

THRESHOLDS = (0.0, 0.35, 0.4, 0.5, 0.7, 0.9, 1.0)


@pytest.fixture(scope="module")
def unsure(finished, tmp_path_factory):
    """A copy of a finished run whose network guesses: other probabilities, many of them wrong."""
    run, random = tmp_path_factory.mktemp("unsure") / "run", np.random.default_rng(0)
    shutil.copytree(finished, run)
    with (run / "predictions.csv").open(newline="", encoding="utf-8") as stream:
        header, *lines = csv.reader(stream)
    with (run / "predictions.csv").open("w", newline="", encoding="utf-8") as stream:
        guessed = [[*line[:3], *random.dirichlet([1] * len(line[3:]))] for line in lines]
        csv.writer(stream).writerows([header, *guessed])
    return run


def rows_of(run, split):
    """The lines of predictions.csv of a split: path, label, predicted class, its probability."""
    with (run / "predictions.csv").open(newline="", encoding="utf-8") as stream:
        header, *lines = csv.reader(stream)
    classes, rows = header[3:], []
    for path, own, label, *numbers in lines:
        if own == split:
            values = [float(each) for each in numbers]
            best = int(np.argmax(values))
            rows.append((path, label, classes[best], values[best]))
    return classes, rows


@pytest.mark.parametrize("split", ["test", "val"])
@pytest.mark.parametrize("least", THRESHOLDS)
def test_the_numbers_at_a_threshold_are_those_of_predictions_csv(unsure, split, least):
    classes, rows = rows_of(unsure, split)
    found = graft.results(unsure, split).answering_from(least)
    answered = [row for row in rows if row[3] >= least]
    assert least or any(label != said for _, label, said, _ in rows)
    left = [row for row in rows if row[3] < least]
    wrong = sum(label != said for _, label, said, _ in answered)
    assert (found["n"], found["answered"], found["wrong"]) == (len(rows), len(answered), wrong)
    assert found["abstained"] == len(left)
    assert found["wrong_abstained"] == sum(label != said for _, label, said, _ in left)
    assert found["abstained_by_class"] == [sum(row[1] == name for row in left) for name in classes]
    if answered:
        labels, said = [row[1] for row in answered], [row[2] for row in answered]
        assert found["confusion"] == confusion_matrix(labels, said, labels=classes).tolist()
        ends = binomtest(wrong, len(answered)).proportion_ci(method="wilson")
        assert found["error_interval"] == pytest.approx([ends.low, ends.high], abs=1e-9)
    else:
        assert np.sum(found["confusion"]) == 0
        assert found["error_interval"] == [0, 1], "nothing answered, nothing known"


def test_without_a_threshold_the_numbers_are_those_of_metrics_json(finished):
    found, metrics = graft.results(finished).answering_from(), graft.Run(finished).metrics
    assert found["confusion"] == metrics["confusion"]
    assert 1 - found["wrong"] / found["n"] == pytest.approx(metrics["accuracy"]["value"])
    assert found["abstained"] == 0


def test_at_the_threshold_of_an_error_budget_the_numbers_are_those_of_the_report(finished):
    run = graft.Run(finished)
    rows = run.metrics["selective_prediction"]["error_budgets"]
    results = graft.results(finished)
    for row in rows:
        if row["min_probability"] is not None:
            found = results.answering_from(row["min_probability"])
            for name in ("answered", "wrong", "answered_interval", "error_interval"):
                assert found[name] == row[name]


@given(st.floats(0, 1))
def test_cells_and_abstentions_hold_each_image_once(unsure, least):
    results = graft.results(unsure)
    table = results.answering_from(least)["confusion"]
    seen = [each.path for each in results.cell(min_probability=least, abstained=True)]
    for i, label in enumerate(results.classes):
        for j, predicted in enumerate(results.classes):
            own = results.cell(label, predicted, min_probability=least)
            assert len(own) == table[i][j]
            assert all(each.correct == (i == j) for each in own)
            seen += [each.path for each in own]
    assert sorted(seen) == sorted(path for path, *_ in rows_of(unsure, "test")[1])


def test_images_come_with_their_own_probabilities_the_most_confident_first(unsure):
    _, rows = rows_of(unsure, "test")
    images = graft.results(unsure).images
    said = [(each.path, each.label, each.predicted, each.probability) for each in images]
    assert said == sorted(rows, key=lambda row: (-row[3], row[0]))


def test_the_curve_only_falls_and_ends_where_hardly_anything_is_answered(unsure):
    curve = graft.results(unsure).curve()
    answered = [row["answered"] for row in curve]
    assert answered == sorted(answered, reverse=True)
    assert curve[0]["answered"] == len(rows_of(unsure, "test")[1])
    assert curve[50] == {
        key: value
        for key, value in graft.results(unsure).answering_from(0.5).items()
        if key in curve[50]
    }


def test_images_of_a_group_make_the_intervals_wider():
    random = np.random.default_rng(0)
    p = np.repeat(random.dirichlet((1, 1), 20), 5, axis=0)
    labels = np.repeat(random.integers(0, 2, 20), 5)
    groups = [f"g{i // 5}" for i in range(100)]
    alone, together = answered_from(p, labels, 0.6), answered_from(p, labels, 0.6, groups)
    assert alone["answered"] == together["answered"] == int((p.max(1) >= 0.6).sum())
    width = [np.diff(each["error_interval"])[0] for each in (alone, together)]
    assert width[1] > width[0]


def test_what_is_impossible_is_told_in_one_line(finished, tmp_path):
    results = graft.results(finished)
    for least in (-0.1, 1.1, float("nan")):
        with pytest.raises(UsageError, match="between 0 and 1"):
            results.answering_from(least)
    with pytest.raises(UsageError, match="no class 'x': expected one of 0, 1, 2"):
        results.cell("x")
    with pytest.raises(UsageError, match="split is one of test, val"):
        graft.results(finished, "train")
    with pytest.raises(DataError, match="expected a finished run"):
        graft.results(tmp_path)
