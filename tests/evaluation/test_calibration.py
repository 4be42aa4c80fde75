import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import optimize, special

from graft.errors import DataError
from graft.evaluation.calibration import fit_temperature, softmax
from graft.evaluation.metrics import expected_calibration_error, negative_log_likelihood


def classifier(n, k, distance, temperature, rng):
    """Logits whose softmax is right at `temperature`: Gaussian classes, `distance` apart."""
    labels = rng.integers(k, size=n)
    points = rng.normal(size=(n, k))
    points[np.arange(n), labels] += distance
    return points * distance * temperature, labels


def best_by_scipy(logits, labels, prior=1.0):
    def loss(log_b):
        b = np.exp(log_b)
        scaled = b * logits
        nll = special.logsumexp(scaled, axis=1) - scaled[np.arange(len(labels)), labels]
        return nll.sum() + prior * (b - log_b)

    found = optimize.minimize_scalar(
        loss, bounds=(-np.log(20), np.log(20)), method="bounded", options={"xatol": 1e-10}
    )
    return np.exp(-found.x)


@given(
    arrays(
        np.float64, st.tuples(st.integers(1, 4), st.integers(1, 5)), elements=st.floats(-1e6, 1e6)
    ),
    st.floats(0.05, 20),
)
def test_softmax_agrees_with_scipy(logits, temperature):
    ours = softmax(logits, temperature)
    np.testing.assert_allclose(ours, special.softmax(logits / temperature, axis=1), atol=1e-9)
    np.testing.assert_allclose(ours.sum(axis=1), 1, atol=1e-12)


def test_softmax_takes_one_row_or_many_axes():
    logits = np.random.default_rng(0).normal(size=(2, 3, 4))
    np.testing.assert_array_equal(softmax(logits)[1, 2], softmax(logits[1, 2]))


def test_softmax_does_not_overflow():
    np.testing.assert_array_equal(softmax([1e300, 0.0, -1e300], 0.05), [1, 0, 0])


@pytest.mark.parametrize("logits", [[np.nan, 1], [np.inf, 1]])
def test_softmax_refuses_logits_that_are_not_finite(logits):
    with pytest.raises(ValueError, match="finite"):
        softmax(logits)


@pytest.mark.parametrize("temperature", [0, -1, np.nan, np.inf])
def test_softmax_refuses_an_impossible_temperature(temperature):
    with pytest.raises(ValueError, match="temperature above 0"):
        softmax([1.0, 2.0], temperature)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32),
    st.integers(1, 80),
    st.integers(2, 6),
    st.floats(0.3, 4),
    st.floats(0.1, 8),
)
def test_the_temperature_agrees_with_scipy(seed, n, k, distance, temperature):
    logits, labels = classifier(n, k, distance, temperature, np.random.default_rng(seed))
    assert fit_temperature(logits, labels) == pytest.approx(best_by_scipy(logits, labels), rel=1e-5)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_right_temperature_is_found_on_many_images(temperature):
    logits, labels = classifier(20_000, 4, 2, temperature, np.random.default_rng(3))
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(temperature, rel=0.04)
    assert found == pytest.approx(best_by_scipy(logits, labels, prior=0), rel=0.002)


def test_calibration_brings_an_overconfident_classifier_back_on_new_images():
    rng = np.random.default_rng(4)
    temperature = fit_temperature(*classifier(200, 5, 2, 3.0, rng))
    logits, labels = classifier(4000, 5, 2, 3.0, rng)
    before = expected_calibration_error(softmax(logits), labels)
    after = expected_calibration_error(softmax(logits, temperature), labels)
    assert before > 0.1
    assert after < 0.04


def test_twenty_images_all_right_do_not_make_the_classifier_certain():
    labels = np.arange(20) % 2
    modest = 1.0 * np.eye(2)[labels]  # 0.73 sure of each
    sure = 12.0 * np.eye(2)[labels]  # 0.999994 sure of each: nothing speaks against T = 1
    assert 0.88 < softmax(modest, fit_temperature(modest, labels)).max() < 0.98
    assert fit_temperature(sure, labels) == pytest.approx(1, abs=0.01)


def test_the_prior_pays_on_new_images_when_few_were_fitted():
    rng = np.random.default_rng(6)
    new_logits, new_labels = classifier(2000, 3, 3, 1.5, rng)
    with_prior, without = [], []
    for _ in range(40):
        logits, labels = classifier(20, 3, 3, 1.5, rng)
        for losses, t in (
            (with_prior, fit_temperature(logits, labels)),
            (without, best_by_scipy(logits, labels, prior=0)),
        ):
            losses.append(negative_log_likelihood(softmax(new_logits, t), new_labels))
    best = negative_log_likelihood(softmax(new_logits, 1.5), new_labels)
    assert np.mean(with_prior) < 1.3 * best
    assert np.mean(without) > 2 * best


def test_logits_that_say_nothing_leave_the_temperature_at_1():
    assert fit_temperature(np.full((30, 4), 7.0), np.arange(30) % 4) == pytest.approx(1, abs=1e-8)


def test_a_classifier_that_is_always_wrong_gets_the_highest_temperature():
    labels = np.arange(50) % 3
    assert fit_temperature(100 * np.eye(3)[(labels + 1) % 3], labels) == pytest.approx(20, rel=1e-6)


def test_many_images_right_by_a_hair_get_a_low_temperature_within_bounds():
    labels = np.arange(100_000) % 2
    assert fit_temperature(0.1 * np.eye(2)[labels], labels) == pytest.approx(0.05, rel=1e-6)


@given(st.integers(0, 2**32), st.floats(-1e4, 1e4))
def test_what_is_added_to_all_logits_of_an_image_does_not_matter(seed, shift):
    rng = np.random.default_rng(seed)
    logits, labels = classifier(15, 3, 2, 2.0, rng)
    moved = logits + shift * rng.random((15, 1))
    assert fit_temperature(moved, labels) == pytest.approx(
        fit_temperature(logits, labels), rel=1e-6
    )


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        ([1.0, 2.0], [0, 1], "shape"),
        ([[1.0, 2.0]], [0, 1], "one label an image"),
        ([[1.0, 2.0]], [2], "labels 0 to 1"),
        ([[1.0, 2.0]], [0.0], "integer"),
        ([[1.0, np.nan]], [0], "finite"),
    ],
)
def test_logits_and_labels_that_do_not_fit_are_refused(logits, labels, message):
    with pytest.raises(ValueError, match=message):
        fit_temperature(logits, labels)


def test_calibrating_on_nothing_is_a_data_error():
    with pytest.raises(DataError, match="at least one labeled image"):
        fit_temperature(np.empty((0, 3)), np.empty(0, dtype=np.int64))
