from pathlib import Path

import numpy as np
import pytest
from graft.training.prepare import Prepared

from graft.data.dataset import Dataset, Example

ROWS = np.arange(100)


def prepared(groups=(), near=(), copies=()):
    """A hundred images, of which the first have these groups."""
    examples = tuple(
        Example(f"{i}.jpg", Path(f"{i}.jpg"), "a", group=groups[i] if i < len(groups) else None)
        for i in range(100)
    )
    digests = [b"%d" % i for i in range(100)]
    for one, other in copies:
        digests[other] = digests[one]
    return Prepared(
        *(Dataset("here", examples, ()), examples, tuple(digests), ("a",)),
        *(np.zeros(100, np.int64), np.full(100, "test"), (), (), None, near),
    )


def test_images_without_groups_and_likes_have_no_groups():
    assert prepared().groups(ROWS) is None


@pytest.mark.parametrize(("pairs", "grouped"), [(2, False), (3, True)])
def test_near_duplicates_make_groups_where_more_than_one_image_in_twenty_has_one(pairs, grouped):
    found = prepared(near=tuple((2 * i, 2 * i + 1) for i in range(pairs))).groups(ROWS)
    assert (found is not None) == grouped
    if found:
        assert len(set(found)) == 97
        assert found[0] == found[1] != found[2]


def test_likes_in_another_split_do_not_count():
    near = tuple((i, 99 - i) for i in range(40))
    assert prepared(near=near).groups(ROWS[:50]) is None
    assert len(set(prepared(near=near).groups(ROWS))) == 60


def test_equal_files_and_near_duplicates_tie_groups_together():
    found = prepared(groups=["x", "x", "y", "y"], near=((1, 2),), copies=((3, 50),)).groups(ROWS)
    assert len({found[i] for i in (0, 1, 2, 3, 50)}) == 1
    assert len(set(found)) == 96
