import numpy as np
import pytest

from graft.evaluation.calibration_interval import ece_interval
from graft.evaluation.intervals import (
    correlations,
    design_effects,
    grouped_fraction,
    resample_confusion,
    resample_groups,
    wilson,
)
from graft.evaluation.metrics import evaluate


def grouped_interval(right, sizes, repeats=400):
    """Of outcomes (N,) in groups of these sizes, one after the other."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    design = design_effects(right, groups, repeats=repeats)
    return grouped_fraction(int(right.sum()), len(right), design)


@pytest.mark.parametrize("equal", [True, False])
@pytest.mark.parametrize(
    ("count", "most"), [(3, 1.0), (10, 0.99), pytest.param(30, 0.985, marks=pytest.mark.slow)]
)
def test_intervals_of_groups_cover_the_truth_about_95_times_in_100(count, most, equal):
    rng = np.random.default_rng(3)
    held = []
    for _ in range(300):
        sizes = np.full(count, 50) if equal else rng.geometric(1 / 50, count)
        accuracy = rng.beta(9 / 3, 1 / 3, count)  # a mean of 0.9
        right = rng.random(sizes.sum()) < np.repeat(accuracy, sizes)
        low, high = grouped_interval(right, sizes)
        held.append(low <= 0.9 <= high)
    assert 0.92 <= np.mean(held) <= most


def test_three_flawless_groups_say_hardly_more_than_three_images():
    low, high = grouped_interval(np.ones(600, bool), [200] * 3)
    assert 0.3 < low < 0.6
    assert high == 1


def test_of_one_group_nothing_is_known():
    right = np.arange(500) % 10 > 0
    assert grouped_interval(right, [500]) == (0.0, 1.0)
    draws = resample_groups(right * 1, np.ones(500, int), np.zeros(500, int), 2)
    assert not np.any(draws)


@pytest.mark.parametrize("wrong", [0, 4, 20])
def test_groups_of_one_image_give_the_interval_of_images(wrong):
    found = grouped_interval(np.arange(60) >= wrong, [1] * 60, repeats=4000)
    assert found == pytest.approx(wilson(60 - wrong, 60), abs=0.02)


def test_the_more_alike_a_group_the_wider_the_interval():
    apart = np.arange(400) % 20 >= 4
    together = np.repeat(np.arange(20) >= 4, 20)
    limits = [grouped_interval(right, [20] * 20) for right in (apart, together)]
    widths = [high - low for low, high in limits]
    assert 2.5 * widths[0] < widths[1]
    images = wilson(320, 400)
    assert widths[0] < 1.35 * (images[1] - images[0])


@pytest.mark.parametrize("true", [0.05, 0.5])
def test_correlations_are_drawn_around_the_true_one(true):
    rng = np.random.default_rng(0)
    strength = (1 - true) / true
    chance = rng.beta(0.8 * strength, 0.2 * strength, 200)
    groups = np.repeat(np.arange(200), 20)
    drawn = correlations(rng.random(4000) < chance[groups], groups)
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    assert drawn.mean() == pytest.approx(true, abs=0.06)
    assert drawn.std() < 0.06


def test_a_design_effect_divides_the_counts_of_a_resample():
    confusion = np.array([[40, 8], [4, 48]])
    plain = resample_confusion(confusion, repeats=2000)
    fewer = resample_confusion(confusion, repeats=2000, design=np.full(2000, 4.0))
    shares = [hits.sum(1) / actual.sum(1) for hits, actual, _ in (plain, fewer)]
    assert shares[1].std() == pytest.approx(2 * shares[0].std(), rel=0.1)


def test_an_ece_interval_widens_with_the_design_effect_to_nothing_known():
    rng = np.random.default_rng(1)
    confidence = 1 - 0.5 * rng.random(200) ** 3
    correct = (rng.random(200) < confidence - 0.2).astype(float)
    data = np.ceil(confidence * 15).astype(np.int64) - 1, confidence, correct
    (low, high), (lower, higher) = (
        ece_interval(*data, repeats=300, design=np.full(300, design)) for design in (1.0, 5.0)
    )
    assert lower < low < high < higher
    assert ece_interval(*data, design=np.full(1000, np.inf)) == (0.0, 1.0)


def test_of_one_group_every_interval_is_0_to_1():
    labels = np.arange(200) % 2
    p = np.eye(2)[np.where(np.arange(200) < 20, 1 - labels, labels)] * 0.8 + 0.1
    found = evaluate(p, labels, ["a", "b"], groups=["one"] * 200)
    rates = [found["accuracy"], found["baseline"]["accuracy"], *found["class_ece"]]
    assert [(rate["low"], rate["high"]) for rate in rates] == [(0, 1)] * 4
    limits = [found["intervals"][name] for name in ("macro_precision", "macro_f1", "ece")]
    assert limits == [[0, 1]] * 3
    for row in found["per_class"].values():
        ends = [row[f"{name}_{end}"] for name in ("recall", "f1") for end in ("low", "high")]
        assert ends == [0, 1] * 2
    assert "1 group, which says nothing of others" in found["accuracy"]["method"]


def test_groups_of_one_image_give_about_the_intervals_of_images():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 150)
    p = rng.dirichlet(np.ones(3), 150) * 0.5 + np.eye(3)[labels] * 0.5
    alone = evaluate(p, labels, ["a", "b", "c"])
    single = evaluate(p, labels, ["a", "b", "c"], groups=[str(i) for i in range(150)])
    for name in ("macro_precision", "macro_recall", "macro_f1", "ece"):
        assert single["intervals"][name] == pytest.approx(alone["intervals"][name], abs=0.02)
    for one, other in ((single, alone), (single["baseline"], alone["baseline"])):
        for end in ("low", "high"):
            assert one["accuracy"][end] == pytest.approx(other["accuracy"][end], abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("nested", [True, False])
def test_intervals_of_groups_cover_macro_and_class_scores_about_95_times_in_100(nested):
    # 16 groups of 20 images, each of one class or of both.
    rng = np.random.default_rng(2)
    macro, recall, truth = [], [], 0.85
    for _ in range(50):
        groups = np.repeat(np.arange(16), 20)
        labels = groups % 2 if nested else np.arange(320) % 2
        right = rng.random(320) < rng.beta(4 * truth, 4 * (1 - truth), 16)[groups]
        p = np.eye(2)[np.where(right, labels, 1 - labels)] * 0.8 + 0.1
        found = evaluate(p, labels, ["a", "b"], groups=[str(g) for g in groups])
        low, high = found["intervals"]["macro_recall"]
        macro.append(low <= truth <= high)
        row = found["per_class"]["a"]
        recall.append(row["recall_low"] <= truth <= row["recall_high"])
    assert np.mean(macro) >= 0.88
    assert np.mean(recall) >= 0.88
