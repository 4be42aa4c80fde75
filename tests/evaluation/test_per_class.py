import numpy as np
import pytest
import sklearn.metrics as reference

from graft.evaluation.intervals import resample_groups, wilson
from graft.evaluation.metrics import evaluate
from graft.evaluation.per_class import (
    ENOUGH,
    NAMES,
    WORST,
    class_calibration_error,
    class_errors,
    class_rows,
    precision_recall_f1,
)

CONFUSION = np.array([[50, 6, 4], [3, 60, 7], [0, 2, 28]])


def test_the_interval_of_f1_is_that_of_a_proportion_checked_by_simulation():
    # A classifier of known quality, many test splits: how often does the interval hold its F1?
    rng = np.random.default_rng(0)
    share = np.array([[0.40, 0.05], [0.10, 0.45]])
    truth = precision_recall_f1((share * 1e6).astype(np.int64))
    held = dict.fromkeys(NAMES, 0)
    for _ in range(1500):
        confusion = rng.multinomial(60, share.ravel()).reshape(2, 2)
        row = class_rows(confusion, ["a", "b"])["a"]
        for name, value in zip(NAMES, truth, strict=True):
            held[name] += row[f"{name}_low"] <= value[0] <= row[f"{name}_high"]
    for name, times in held.items():
        assert 0.93 <= times / 1500 <= 0.97, name


def test_every_score_lies_in_its_interval_and_agrees_with_scikit_learn():
    labels, answers = (
        np.repeat(axis, CONFUSION.ravel()) for axis in np.indices((3, 3)).reshape(2, -1)
    )
    precision, recall, f1, n = reference.precision_recall_fscore_support(labels, answers)
    for i, row in enumerate(class_rows(CONFUSION, ["a", "b", "c"]).values()):
        assert [row[name] for name in NAMES] == pytest.approx([precision[i], recall[i], f1[i]])
        assert row["n"] == n[i]
        assert all(row[f"{name}_low"] < row[name] < row[f"{name}_high"] for name in NAMES)


def test_groups_of_one_image_give_about_wilsons_intervals():
    labels, answers = (
        np.repeat(axis, CONFUSION.ravel()) for axis in np.indices((3, 3)).reshape(2, -1)
    )
    draws = resample_groups(labels, answers, np.arange(len(labels)), 3, repeats=4000)
    plain = class_rows(CONFUSION, ["a", "b", "c"])
    grouped = class_rows(CONFUSION, ["a", "b", "c"], draws)
    for name, row in plain.items():
        for key, value in row.items():
            assert grouped[name][key] == pytest.approx(value, abs=0.03), (name, key)


def test_images_in_pairs_give_wider_intervals_than_as_many_single_ones():
    labels = np.repeat([0, 0, 1, 1], [40, 10, 35, 15])
    answers = np.repeat([0, 1, 1, 0], [40, 10, 35, 15])
    probabilities = np.eye(2)[answers] * 0.8 + 0.1
    groups = [str(i // 2) for i in range(100)]
    alone = evaluate(probabilities, labels, ["a", "b"])["per_class"]["a"]
    paired = evaluate(probabilities, labels, ["a", "b"], groups=groups)["per_class"]["a"]
    for name in NAMES:
        wide, narrow = (r[f"{name}_high"] - r[f"{name}_low"] for r in (paired, alone))
        assert wide > 1.2 * narrow


def test_a_class_never_called_has_a_precision_of_which_nothing_is_known():
    row = class_rows(np.array([[5, 0], [3, 0]]), ["a", "b"])["b"]
    assert (row["precision_low"], row["precision_high"]) == (0.0, 1.0)
    assert (row["recall"], row["recall_low"]) == (0.0, 0.0)
    assert row["recall_high"] == pytest.approx(wilson(0, 3)[1])


def test_the_classes_with_the_worst_calibration_come_first_where_enough_images_tell():
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 8, 4000)
    targets[targets == 7] = np.where(np.arange((targets == 7).sum()) < ENOUGH - 1, 7, 6)
    p = rng.dirichlet(np.ones(8), len(targets))
    classes = [f"class {i}" for i in range(8)]
    rows = class_errors(p, targets, classes, repeats=50)
    errors = {
        name: class_calibration_error(p[:, i], targets == i) for i, name in enumerate(classes[:7])
    }
    assert [row["class"] for row in rows] == sorted(errors, key=lambda name: -errors[name])[:WORST]
    for row in rows:
        assert row["low"] <= row["value"] == errors[row["class"]] <= row["high"]


@pytest.mark.parametrize(
    ("bias", "runs"), [(0.08, 60), pytest.param(0.0, 200, marks=pytest.mark.slow)]
)
def test_the_interval_of_a_class_error_holds_the_truth_checked_by_simulation(bias, runs):
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(runs):
        # One of two classes has this probability, in truth less by the bias everywhere.
        claimed = rng.uniform(0.2, 0.9, 300)
        targets = (rng.random(300) >= claimed - bias).astype(np.int64)
        p = np.column_stack((claimed, 1 - claimed))
        (row,) = (r for r in class_errors(p, targets, ["a", "b"], repeats=200) if r["class"] == "a")
        held += row["low"] <= bias <= row["high"]
    assert held >= 0.92 * runs


def test_the_calibration_error_of_a_class_is_that_of_a_loop():
    random = np.random.default_rng(0)
    p, is_class = random.random(400), random.random(400) < 0.4
    total = 0.0
    for low in np.arange(15) / 15:
        inside = (p >= low) & (p < low + 1 / 15)
        if inside.any():
            total += inside.mean() * abs(is_class[inside].mean() - p[inside].mean())
    assert class_calibration_error(p, is_class) == pytest.approx(total)
