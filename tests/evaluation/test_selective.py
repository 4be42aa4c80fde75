import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from graft.errors import UsageError
from graft.evaluation.selective import (
    fewest_images,
    fraction_of,
    grouped_bound,
    prediction_sets,
    probability_for_coverage,
    probability_for_error_budget,
    selective_prediction_report,
    upper_bound,
)


def drawn(n: int, seed: int, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated probabilities, and labels drawn from them."""
    random = np.random.default_rng(seed)
    p = random.dirichlet(np.full(classes, 0.1), n)
    labels = (p.cumsum(1) < random.random((n, 1))).sum(1)
    return p, np.minimum(labels, classes - 1)


@given(st.integers(1, 400), st.floats(0, 1), st.sampled_from([0.9, 0.95, 0.99]))
def test_the_upper_bound_is_where_so_few_mistakes_become_unlikely(n, share, confidence):
    wrong = int(share * n)
    bound = upper_bound(wrong, n, confidence)
    if wrong == n:
        assert bound == 1
    else:
        assert binom.cdf(wrong, n, bound) == pytest.approx(1 - confidence, rel=1e-6)


@pytest.mark.parametrize("max_error", [0.01, 0.02, 0.1])
def test_the_fewest_images_are_just_enough_without_a_mistake(max_error):
    n = fewest_images(max_error)
    assert upper_bound(0, n, 0.95) <= max_error < upper_bound(0, n - 1, 0.95)


def test_an_error_budget_is_kept_in_nineteen_of_twenty_draws():
    broken = tried = 0
    fresh, truth = drawn(200_000, 10_000)
    top, wrong = fresh.max(1), fresh.argmax(1) != truth
    for seed in range(200):
        least = probability_for_error_budget(*drawn(500, seed), 0.05)
        if least is None:
            continue
        tried += 1
        broken += wrong[top >= least].mean() > 0.05
    assert tried > 50
    assert broken <= binom.ppf(0.999, tried, 0.05)


def test_a_budget_that_the_images_cannot_show_gets_no_threshold():
    p, labels = drawn(100, 0)
    assert probability_for_error_budget(p, labels, 0.01) is None  # 299 are needed
    wrong = np.eye(4)[(labels + 1) % 4]
    assert probability_for_error_budget(wrong, labels, 0.1) is None


def test_equal_probabilities_are_answered_together():
    p = np.tile([0.7, 0.3], (400, 1))
    labels = np.r_[np.zeros(300, int), np.ones(100, int)]
    assert probability_for_error_budget(p, labels, 0.05) is None
    assert probability_for_error_budget(p, labels, 0.4) == 0.7


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_sets_hold_the_true_label_as_often_as_promised(coverage):
    held = []
    for seed in range(300):
        p, labels = drawn(101, seed)
        least = probability_for_coverage(p[:100], labels[:100], coverage)
        held.append(p[100, labels[100]] >= least)
    error = (coverage * (1 - coverage) / len(held)) ** 0.5
    # Exact up to the steps of 1 / 101 that 100 images allow.
    assert coverage - 3 * error <= np.mean(held) <= coverage + 0.01 + 3 * error


def test_a_set_is_never_empty_and_too_few_images_give_all_labels():
    p, labels = drawn(30, 1)
    assert probability_for_coverage(p, labels, 0.99) == 0.0
    assert prediction_sets(p, 0.0).all()
    assert (prediction_sets(p, 1.0).sum(1) == 1).all()
    assert (prediction_sets(p, 1.0).argmax(1) == p.argmax(1)).all()


def test_promises_count_what_the_rules_did():
    val, test = drawn(800, 3), drawn(900, 4)
    found = selective_prediction_report(val, test, np.r_[np.full(30, 2.0), np.full(870, 0.5)])
    assert (found["n"], found["abstained_ood"]) == (900, 30)
    row = found["error_budgets"][-1]
    answered = test[0].max(1) >= row["min_probability"]
    assert row["answered"] == answered.sum()
    assert row["wrong"] == (test[0].argmax(1) != test[1])[answered].sum()
    for row in found["prediction_sets"]:
        inside = prediction_sets(test[0], row["set_probability"])
        assert row["covered"] == inside[np.arange(900), test[1]].sum()
        assert row["mean_size"] == pytest.approx(inside.sum() / 900)
    assert selective_prediction_report(val, test, None)["abstained_ood"] is None


@pytest.mark.parametrize(("text", "value"), [("2%", 0.02), ("0.02", 0.02), (0.5, 0.5)])
def test_a_share_may_be_given_in_percent(text, value):
    assert fraction_of(text, "--max-error") == pytest.approx(value)


@pytest.mark.parametrize("text", ["0", "1", "100%", "2 %x", "", "nan", "-1%"])
def test_what_is_no_share_is_refused_by_name(text):
    with pytest.raises(UsageError, match="--coverage"):
        fraction_of(text, "--coverage")


def in_groups(p, labels, size):
    """The same images `size` times over, and what they belong to."""
    groups = np.repeat(np.arange(len(p)), size)
    return np.repeat(p, size, 0), np.repeat(labels, size), [str(g) for g in groups]


def test_a_promise_counts_groups_and_not_their_images():
    p, labels = np.tile([0.9, 0.1], (40, 1)), np.zeros(40, int)
    many, truth, groups = in_groups(p, labels, 20)
    assert probability_for_error_budget(many, truth, 0.05) == 0.9
    assert probability_for_error_budget(many, truth, 0.05, groups=groups) is None
    alone = [str(i) for i in range(800)]
    assert probability_for_error_budget(many, truth, 0.05, groups=alone) == 0.9
    assert probability_for_error_budget(many, truth, 0.05, groups=["one"] * 800) is None


def test_enough_groups_of_several_images_can_promise():
    p, labels, groups = in_groups(np.tile([0.9, 0.1], (120, 1)), np.zeros(120, int), 3)
    assert probability_for_error_budget(p, labels, 0.05, groups=groups) == 0.9


def test_an_error_budget_is_kept_for_images_of_other_groups():
    # Copies: without their groups the budget breaks far more often.
    broken = tried = 0
    fresh, truth = drawn(200_000, 10_000)
    top, wrong = fresh.max(1), fresh.argmax(1) != truth
    for seed in range(60):
        p, labels, groups = in_groups(*drawn(300, seed), 5)
        least = probability_for_error_budget(p, labels, 0.1, groups=groups)
        if least is not None:
            tried += 1
            broken += wrong[top >= least].mean() > 0.1
    assert tried > 30
    assert broken <= binom.ppf(0.999, tried, 0.05)


def test_the_bound_for_groups_is_that_of_images_where_each_stands_alone():
    missed = np.arange(200) < 6
    alone = grouped_bound(missed, np.arange(200), 0.95)
    assert alone == pytest.approx(upper_bound(6, 200, 0.95), abs=0.004)
    assert grouped_bound(missed, np.zeros(200, int), 0.95) == 1
    assert grouped_bound(missed, np.arange(200) // 2, 0.95) > alone


@pytest.mark.parametrize("size", [1, 7])
def test_sets_hold_the_true_label_of_other_groups_as_often_as_promised(size):
    held = []
    for seed in range(300):
        p, labels = drawn(61, seed)
        known, truth, groups = in_groups(p[:60], labels[:60], size)
        least = probability_for_coverage(known, truth, 0.9)
        grouped = probability_for_coverage(known, truth, 0.9, groups)
        assert grouped <= least
        if size == 1:
            assert grouped == least
        held.append(p[60, labels[60]] >= grouped)
    error = (0.9 * 0.1 / len(held)) ** 0.5
    assert 0.9 - 3 * error <= np.mean(held) <= 0.92 + 3 * error


def test_fewer_groups_than_a_coverage_needs_give_all_labels():
    p, labels, groups = in_groups(*drawn(9, 0), 50)
    assert probability_for_coverage(p, labels, 0.95) > 0
    assert probability_for_coverage(p, labels, 0.95, groups) == 0


def test_promises_over_groups_are_fewer_and_their_intervals_wider():
    p, labels, groups = in_groups(*drawn(60, 3), 10)
    plain = selective_prediction_report((p, labels), (p, labels), np.full(600, 0.5))
    grouped = selective_prediction_report(
        (p, labels), (p, labels), np.full(600, 0.5), groups, groups
    )
    for one, other in zip(plain["prediction_sets"], grouped["prediction_sets"], strict=True):
        assert other["set_probability"] <= one["set_probability"]
    assert grouped["abstained_ood_interval"][1] > 2 * plain["abstained_ood_interval"][1]


def test_every_share_of_a_promise_lies_in_its_interval_and_so_does_the_mean_size_of_a_set():
    random = np.random.default_rng(5)
    p = random.dirichlet([0.6] * 4, (2, 300))
    labels = [np.array([random.choice(4, p=row) for row in split]) for split in p]
    groups = [str(i // 30) for i in range(300)]
    widths = []
    for own in (None, groups):
        kept = selective_prediction_report((p[0], labels[0]), (p[1], labels[1]), None, None, own)
        for row in kept["prediction_sets"]:
            low, high = row["mean_size_interval"]
            assert low < row["mean_size"] < high
        widths.append(high - low)
        for row in kept["error_budgets"]:
            if row["min_probability"] is not None:
                low, high = row["answered_interval"]
                assert low <= row["answered"] / 300 <= high
    # The mean size of sets at 99 % by the normal interval.
    sizes = prediction_sets(p[1], kept["prediction_sets"][-1]["set_probability"]).sum(1)
    assert widths[0] == pytest.approx(2 * 1.96 * sizes.std() / 300**0.5, rel=0.15)
