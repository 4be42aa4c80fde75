import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from sklearn.metrics import f1_score

from graft.evaluation.calibration_interval import ece_interval
from graft.evaluation.intervals import (
    percentile,
    resample_confusion,
    wilson,
)


def trials():
    return st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@settings(deadline=None)
@given(trials(), st.floats(0.5, 0.999))
def test_wilson_limits_are_the_roots_of_the_score_test(trial, confidence):
    successes, n = trial
    z = stats.norm.isf((1 - confidence) / 2)
    share = successes / n

    def score(p):
        return n * (share - p) ** 2 - z * z * p * (1 - p)

    low, high = wilson(successes, n, confidence)
    if successes > 0:
        assert low == pytest.approx(
            optimize.brentq(score, 0, share - 1e-9 * share, xtol=1e-15), abs=1e-9
        )
    if successes < n:
        assert high == pytest.approx(
            optimize.brentq(score, share + 1e-9 * (1 - share), 1, xtol=1e-15), abs=1e-9
        )
    assert 0 <= low <= share <= high <= 1


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_agrees_with_the_table_of_newcombe_1998(successes, n, low, high):
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_is_exact_at_the_ends():
    for n in range(1, 400):
        assert wilson(0, n)[0] == 0
        assert wilson(n, n)[1] == 1


def test_without_a_trial_wilson_says_that_nothing_is_known():
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("n", [10, 40, 200])
def test_wilson_covers_the_truth_about_95_times_in_100(n):
    limits = np.array([wilson(x, n) for x in range(n + 1)])
    truths = np.linspace(0.01, 0.99, 99)
    held = (limits[:, :1] <= truths) & (truths <= limits[:, 1:])  # (n + 1, 99)
    coverage = (stats.binom.pmf(np.arange(n + 1)[:, None], n, truths) * held).sum(axis=0)
    assert coverage.mean() == pytest.approx(0.95, abs=0.01)
    assert coverage.min() > 0.82


@pytest.mark.parametrize(
    "arguments", [(-1, 5), (6, 5), (0, -1), (1, 2, 0.0), (1, 2, 1.0), (0, 0, 2.0)]
)
def test_wilson_refuses_what_is_no_proportion(arguments):
    with pytest.raises(ValueError, match="expected"):
        wilson(*arguments)


def test_percentile_cuts_equal_tails():
    assert percentile(np.arange(1001) / 1000) == pytest.approx((0.025, 0.975))
    assert percentile(np.arange(1001) / 1000, 0.5) == pytest.approx((0.25, 0.75))


@pytest.mark.parametrize(
    "confusion", [[[9, 0], [0, 11]], [[3, 1], [2, 5]], [[4, 1, 0], [0, 0, 0], [2, 2, 3]]]
)
def test_the_resampled_accuracy_has_jeffreys_distribution(confusion):
    confusion = np.array(confusion)
    hits, actual, _ = resample_confusion(confusion, repeats=4000)
    right = np.trace(confusion)
    jeffreys = stats.beta(right + 0.5, confusion.sum() - right + 0.5)
    assert stats.kstest(hits.sum(1) / actual.sum(1), jeffreys.cdf).pvalue > 0.001


def test_resampled_counts_are_the_counts_and_the_made_up_image_on_average():
    confusion = np.array([[40, 3, 0, 7], [0, 0, 0, 0], [1, 0, 25, 2], [0, 9, 4, 11]])
    present, k = np.array([0, 2, 3]), 4
    with_made_up_image = confusion.astype(float)
    for c in present:
        with_made_up_image[c, c] += 0.5 / len(present)
        for other in set(range(k)) - {c}:
            with_made_up_image[c, other] += 0.5 / len(present) / (k - 1)
    hits, actual, predicted = resample_confusion(confusion, repeats=20000)
    for draws, expected in (
        (hits, with_made_up_image.diagonal()),
        (actual, with_made_up_image.sum(axis=1)),
        (predicted, with_made_up_image.sum(axis=0)),
    ):
        error = draws.std(axis=0) / np.sqrt(len(draws))
        assert np.all(np.abs(draws.mean(axis=0) - expected) <= 4.5 * error)


def test_resampling_cells_is_the_same_as_weighting_images():
    confusion = np.array([[12, 2, 1], [0, 9, 1], [2, 0, 4]])
    labels, predictions = (np.repeat(i, confusion.ravel()) for i in np.divmod(np.arange(9), 3))
    rng = np.random.default_rng(7)
    one_by_one = []
    for _ in range(200):
        c, step = rng.integers(3), rng.integers(1, 3)
        one_by_one.append(
            f1_score(
                [*labels, c, c],
                [*predictions, c, (c + step) % 3],
                average="macro",
                sample_weight=[*rng.exponential(size=len(labels)), *rng.gamma(0.5, size=2)],
            )
        )
    hits, actual, predicted = resample_confusion(confusion, repeats=4000)
    f1 = (2 * hits / (actual + predicted)).mean(axis=1)
    assert stats.ks_2samp(one_by_one, f1).pvalue > 0.001


def test_the_made_up_image_is_mistaken_for_another_class():
    hits, actual, predicted = resample_confusion(np.diag([5, 3, 8]))
    missed, wrongly = actual - hits > 1e-12, predicted - hits > 1e-12
    seen = (missed.sum(axis=1) == 1) & (wrongly.sum(axis=1) == 1)
    assert seen.mean() > 0.99  # a Gamma(1/2) weight can be too small to see
    assert not (missed & wrongly).any()
    assert missed.any(axis=0).all()
    assert wrongly.any(axis=0).all()


def test_no_class_drops_out_of_a_resample():
    _, actual, _ = resample_confusion(np.array([[500, 0, 0], [0, 1, 0], [0, 0, 0]]))
    assert (actual[:, :2] > 0).all()
    assert (actual[:, 2] == 0).all()


def test_resamples_depend_on_the_seed_alone():
    confusion = np.array([[5, 1], [2, 6]])
    first, again, other = (resample_confusion(confusion, repeats=9, seed=s) for s in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("confusion", [[[5]], [[0, 0], [0, 0]]])
def test_nothing_to_resample_is_refused(confusion):
    with pytest.raises(ValueError, match="at least 2 classes and 1 image"):
        resample_confusion(np.array(confusion))


@pytest.mark.parametrize(
    ("sizes", "accuracies", "least"),
    [
        ((30, 20, 12), (0.95, 0.9, 0.85), 0.9),
        pytest.param((20, 20), (0.98, 0.98), 0.9, marks=pytest.mark.slow),
        pytest.param((60, 60), (0.7, 0.8), 0.91, marks=pytest.mark.slow),
    ],
)
def test_macro_intervals_cover_the_truth_about_95_times_in_100(sizes, accuracies, least):
    k = len(sizes)
    rng = np.random.default_rng(11)
    chances = np.array([np.full(k, (1 - a) / (k - 1)) for a in accuracies])
    np.fill_diagonal(chances, accuracies)
    expected = chances * np.array(sizes)[:, None]
    f1 = (2 * expected.diagonal() / (expected.sum(axis=0) + expected.sum(axis=1))).mean()
    held = []
    for _ in range(250):
        confusion = np.array([rng.multinomial(n, c) for n, c in zip(sizes, chances, strict=True)])
        hits, actual, predicted = resample_confusion(confusion, repeats=300)
        for draws, truth in (
            ((hits / actual).mean(axis=1), np.mean(accuracies)),
            ((2 * hits / (actual + predicted)).mean(axis=1), f1),
        ):
            low, high = percentile(draws)
            held.append(low <= truth <= high)
    assert least <= np.mean(held) <= 0.995


def sample(n, excess, rng):
    """Images whose chance to be right is their confidence, less `excess` of its worth."""
    confidence = 1 - 0.5 * rng.random(n) ** 3
    correct = (rng.random(n) < confidence - excess * (confidence - 0.25)).astype(float)
    return np.ceil(confidence * 15).astype(np.int64) - 1, confidence, correct


SIMULATED = [
    (40, 0.0),
    (40, 0.3),
    pytest.param(200, 0.0, marks=pytest.mark.slow),
    pytest.param(200, 0.3, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("n", "excess"), SIMULATED)
def test_ece_intervals_cover_the_truth_about_95_times_in_100(n, excess):
    rng = np.random.default_rng(5)
    bin_of, confidence, _ = sample(200_000, excess, rng)
    truth = np.abs(np.bincount(bin_of, excess * (confidence - 0.25))).sum() / len(confidence)
    limits = [ece_interval(*sample(n, excess, rng), repeats=200) for _ in range(120)]
    assert 0.89 <= np.mean([low <= truth <= high for low, high in limits]) <= 1
    # An interval that always holds the truth is easily had; this one must also say something.
    assert np.mean([high - low for low, high in limits]) < (0.35 if n == 40 else 0.15)


@pytest.mark.parametrize("mistakes", [5, 9, 15])
def test_where_every_image_is_sure_the_ece_interval_is_jeffreys_for_the_error_rate(mistakes):
    correct = np.r_[np.zeros(mistakes), np.ones(30 - mistakes)]
    limits = ece_interval(np.full(30, 14), np.full(30, 1 - 1e-6), correct, repeats=4000)
    jeffreys = stats.beta(mistakes + 0.5, 30 - mistakes + 0.5)
    assert limits == pytest.approx((jeffreys.ppf(0.025), jeffreys.ppf(0.975)), abs=0.025)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 60), st.integers(0, 2**32), st.floats(0, 1))
def test_the_ece_interval_holds_what_was_seen(n, seed, excess):
    bin_of, confidence, correct = sample(n, excess, np.random.default_rng(seed))
    seen = np.abs(np.bincount(bin_of, correct - confidence)).sum() / n
    low, high = ece_interval(bin_of, confidence, correct, repeats=50)
    assert 0 <= low <= seen + 1e-12
    assert seen - 1e-12 <= high <= 1


def test_twenty_sure_images_all_right_do_not_prove_perfect_calibration():
    right = np.ones(20)
    low, high = ece_interval(np.full(20, 14), right, right)
    jeffreys = stats.beta(0.5, 20.5).ppf(0.975)
    assert low == 0
    assert high == pytest.approx(jeffreys, abs=0.02)


def test_an_ece_interval_widens_with_confidence_and_repeats_itself():
    data = sample(100, 0.3, np.random.default_rng(1))
    narrow, wide = ece_interval(*data, confidence=0.6), ece_interval(*data, confidence=0.99)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
    assert ece_interval(*data, confidence=0.6) == narrow
    assert ece_interval(*data, confidence=0.6, seed=1) != narrow


@pytest.mark.parametrize("confidence", [0.0, 1.0, float("nan")])
def test_an_impossible_confidence_is_refused(confidence):
    with pytest.raises(ValueError, match="confidence between 0 and 1"):
        ece_interval(*sample(5, 0, np.random.default_rng(0)), confidence=confidence)
    with pytest.raises(ValueError, match="confidence between 0 and 1"):
        percentile(np.arange(5.0), confidence)
