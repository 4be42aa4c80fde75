"""Sums over shards against NumPy and scikit-learn on the whole."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from graft.features.feature_sums import FeatureSums


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(2, 4), st.integers(1, 6), st.integers(2, 30))
def test_the_parts_add_up_to_the_whole_in_any_order(seed, classes, width, count):
    random = np.random.default_rng(seed)
    x = (random.normal(size=(count, width)) * 10 + random.normal(size=width) * 30).astype(
        np.float16
    )
    y = random.integers(0, classes, count)
    cuts = np.sort(random.integers(0, count, 3))
    parts = [
        FeatureSums.of(part, labels, classes)
        for part, labels in zip(np.split(x, cuts), np.split(y, cuts), strict=True)
    ]
    random.shuffle(parts)
    summed = sum(parts[1:], parts[0])
    whole = x.astype(np.float64)
    assert summed.count == count
    np.testing.assert_allclose(summed.mean(), whole.mean(0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(summed.std(), whole.std(0), rtol=1e-7, atol=1e-5)
    np.testing.assert_allclose(summed.gram, whole.T @ whole, rtol=1e-12)
    once = FeatureSums.of(x, y, classes)
    for one, other in zip(summed.ridge(0.1), once.ridge(0.1), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-10)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.floats(1e-3, 10))
def test_the_ridge_is_that_of_scikit_learn_on_standardized_features(seed, strength):
    random = np.random.default_rng(seed)
    x, y = (random.normal(size=(40, 5)) + 3).astype(np.float16), random.integers(0, 3, 40)
    weights, biases = FeatureSums.of(x, y, 3).ridge(strength)
    whole = x.astype(np.float64)
    std = whole.std(0)
    scale = std + 1e-3 * std.mean() + 1e-12
    model = Ridge(alpha=strength * 40).fit((whole - whole.mean(0)) / scale, np.eye(3)[y])
    expected = model.predict((whole - whole.mean(0)) / scale)
    np.testing.assert_allclose(whole @ weights.T + biases, expected, rtol=1e-8, atol=1e-9)
