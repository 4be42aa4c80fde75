"""McNemar, Holm and Newcombe, against scipy and published examples."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from scipy.stats import binomtest

from graft.evaluation.paired_tests import (
    compare_pairs,
    difference_interval,
    holm,
    mcnemar,
    ratio_interval,
    sign_flip,
)

FEW = some.integers(0, 400)


@settings(deadline=None)
@given(FEW, FEW)
def test_mcnemar_is_the_exact_binomial_test(only_first, only_second):
    expected = 1.0
    if only_first + only_second:
        expected = binomtest(only_first, only_first + only_second, 0.5).pvalue
    assert mcnemar(only_first, only_second) == pytest.approx(expected, rel=1e-9)
    assert mcnemar(only_first, only_second) == mcnemar(only_second, only_first)


def test_mcnemar_is_exact_for_many_images_too():
    assert mcnemar(5000, 5200) == pytest.approx(binomtest(5000, 10200, 0.5).pvalue, rel=1e-9)
    assert mcnemar(100, 9000) == pytest.approx(0, abs=1e-300)


def test_holm_is_that_of_its_definition():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


@given(some.lists(some.floats(0, 1), min_size=1, max_size=12))
def test_holm_never_lowers_a_value_and_keeps_their_order(values):
    corrected = holm(values)
    assert all(c >= v for c, v in zip(corrected, values, strict=True))
    order = np.argsort(values, kind="stable")
    assert all(np.diff(np.array(corrected)[order]) >= 0)
    assert max(corrected) <= 1


def test_the_interval_of_a_difference_is_that_of_newcombes_paper():
    # Newcombe 1998, table III, method 10: 36 of both, 12 and 2 of one alone, none of neither.
    assert difference_interval(36, 12, 2, 50) == pytest.approx((0.0569, 0.3404), abs=5e-5)


def test_the_interval_of_a_difference_covers_the_truth_as_often_as_it_says():
    random = np.random.default_rng(1)
    shares = np.array([0.85, 0.06, 0.03, 0.06])  # both, only first, only second, neither
    covered = 0
    for both, first, second, neither in random.multinomial(300, shares, size=2000):
        low, high = difference_interval(both, first, second, both + first + second + neither)
        covered += low <= shares[1] - shares[2] <= high
    assert 0.935 <= covered / 2000 <= 0.975


@settings(deadline=None, max_examples=50)
@given(some.lists(some.tuples(*[some.booleans()] * 3), min_size=1, max_size=200))
def test_pairs_are_counted_as_a_loop_counts_them(rows):
    right = np.array(rows).T
    pairs = compare_pairs(list(right))
    assert [(p.first, p.second) for p in pairs] == [(0, 1), (0, 2), (1, 2)]
    for pair in pairs:
        a, b = right[pair.first], right[pair.second]
        assert pair.only_first == sum(x and not y for x, y in zip(a, b, strict=True))
        assert pair.only_second == sum(y and not x for x, y in zip(a, b, strict=True))
        assert pair.difference == pytest.approx(b.mean() - a.mean())
        assert pair.low - 1e-12 <= pair.difference <= pair.high + 1e-12
        assert pair.corrected >= pair.p
        assert (pair.verdict == "no difference shown") == (pair.corrected >= 0.05)


def test_equal_models_are_rarely_called_different():
    random = np.random.default_rng(0)
    called = 0
    for _ in range(300):
        common = random.random(400) < 0.85
        models = [np.where(random.random(400) < 0.1, ~common, common) for _ in range(4)]
        called += any(p.verdict != "no difference shown" for p in compare_pairs(models))
    assert called / 300 <= 0.08, "the chance of any false alarm is at most 5 %, and noise"


@given(some.lists(some.integers(-6, 6), min_size=1, max_size=12))
def test_the_sign_flip_test_counts_every_assignment_of_signs(gains):
    signs = np.array(np.meshgrid(*[[-1, 1]] * len(gains))).reshape(len(gains), -1)
    sums = np.abs(signs.T @ np.array(gains))
    assert sign_flip(gains) == pytest.approx((sums >= abs(sum(gains))).mean())


@given(some.integers(0, 40), some.integers(0, 40))
def test_of_single_images_the_sign_flip_test_is_mcnemars(worse, better):
    gains = [-1] * worse + [1] * better + [0] * 5
    assert sign_flip(gains) == pytest.approx(mcnemar(worse, better))


def test_groups_of_one_image_give_about_newcombes_interval():
    random = np.random.default_rng(0)
    first, second = random.random((2, 500)) < [[0.8], [0.85]]
    (alone,) = compare_pairs([first, second])
    (grouped,) = compare_pairs([first, second], [str(i) for i in range(500)])
    assert (grouped.p, grouped.difference) == pytest.approx((alone.p, alone.difference))
    assert (grouped.low, grouped.high) == pytest.approx((alone.low, alone.high), abs=0.004)
    assert (alone.groups, grouped.groups) == (None, 500)


def test_the_interval_over_groups_holds_the_truth_checked_by_simulation():
    random = np.random.default_rng(1)
    held = 0
    for _ in range(1000):
        sizes = random.integers(5, 40, 12)
        gains = random.binomial(sizes, np.clip(random.normal(0.3, 0.1, 12), 0, 1))
        low, high = ratio_interval(gains - np.round(0.2 * sizes), sizes)
        held += low <= 0.1 <= high
    assert 0.92 <= held / 1000 <= 0.98
    assert ratio_interval([5], [9]) == (-1.0, 1.0)


def test_groups_that_all_agree_are_few_all_the_same():
    right = np.ones(600, bool)
    right[:60] = False
    groups = [str(i % 3) for i in range(600)]
    (pair,) = compare_pairs([right, right.copy()], groups)
    assert pair.low < -0.1 < 0.1 < pair.high
    (alone,) = compare_pairs([right, right.copy()])
    assert pair.high - pair.low > 5 * (alone.high - alone.low)
    (one,) = compare_pairs([right, ~right], ["one"] * 600)
    assert (one.low, one.high) == (-1.0, 1.0)
