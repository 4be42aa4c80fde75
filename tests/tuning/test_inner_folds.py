import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.errors import DataError
from graft.tuning.inner_folds import inner_folds


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 2)), min_size=12, max_size=80))
def test_every_image_is_held_once_and_groups_stay_together(images):
    unit = np.unique([g for g, _ in images], return_inverse=True)[1]
    labels = np.array([label for _, label in images])
    if unit.max() < 3:
        with pytest.raises(DataError, match="4 groups"):
            inner_folds(unit, labels, 0)
        return
    folds = inner_folds(unit, labels, 0)
    assert sorted(np.concatenate([f.held for f in folds])) == list(range(len(unit)))
    for fold in folds:
        parts = [set(unit[rows]) for rows in (fold.train, fold.val, fold.held)]
        assert all(parts), "none is empty"
        assert len(parts[0] | parts[1] | parts[2]) == sum(map(len, parts))
        assert sum(map(len, (fold.train, fold.val, fold.held))) == len(unit)


def test_the_folds_of_a_seed_are_always_the_same():
    unit, labels = np.arange(60), np.arange(60) % 3
    one, other = inner_folds(unit, labels, 7), inner_folds(unit, labels, 7)
    assert all((a.held == b.held).all() for a, b in zip(one, other, strict=True))
    assert any(
        (a.held != b.held).any() for a, b in zip(one, inner_folds(unit, labels, 8), strict=True)
    )
