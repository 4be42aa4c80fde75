import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import fisher_exact

from graft.evaluation.slices import fisher_less

COUNT = st.integers(0, 400)


@given(COUNT, COUNT, COUNT, COUNT)
def test_fishers_test_is_scipys(hits, misses, found, lost):
    if not (hits + misses and found + lost):
        return
    expected = fisher_exact([[hits, misses], [found, lost]], alternative="less").pvalue
    assert fisher_less(hits, hits + misses, found, found + lost) == pytest.approx(
        expected, rel=1e-9, abs=1e-300
    )


def test_fishers_test_is_scipys_for_many_images():
    expected = fisher_exact([[9_100, 900], [83_000, 7_000]], alternative="less").pvalue
    assert fisher_less(9_100, 10_000, 83_000, 90_000) == pytest.approx(expected, rel=1e-7)
