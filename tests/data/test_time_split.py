import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft.config import SplitConfig
from graft.data.dataset import Dataset, Example
from graft.data.groups import group_ids
from graft.data.split import split_dataset
from graft.data.time_split import split_by_time, times
from graft.errors import DataError, UsageError


def dataset(*labels, split=None, **columns) -> Dataset:
    return Dataset(
        "source",
        tuple(
            Example(
                f"{label}/{n}.jpg",
                None,
                label,
                split,
                columns={name: values[n] for name, values in columns.items()} or None,
            )
            for n, label in enumerate(labels)
        ),
    )


@given(st.lists(st.integers(0, 1000), min_size=10, max_size=200))
def test_no_image_of_train_is_newer_than_one_of_val_or_test(moments) -> None:
    when = np.array(moments, np.float64)
    splits = split_by_time(when, [], 0.15, 0.15)
    for older, newer in (("train", "val"), ("val", "test"), ("train", "test")):
        if (splits == older).any() and (splits == newer).any():
            assert when[splits == older].max() < when[splits == newer].min()
    if len(set(moments)) == len(moments):
        assert abs((splits == "train").mean() - 0.7) <= 1 / len(moments)


def test_images_of_one_group_go_with_their_newest() -> None:
    moments = np.arange(100.0)
    splits = split_by_time(moments, [[0, 99], [5, 6]], 0.15, 0.15)
    assert splits[0] == splits[99] == "test"
    assert splits[5] == "train"
    assert moments[0] == 0, "the caller's times stay"


def test_times_are_numbers_dates_or_what_the_camera_wrote() -> None:
    table = dataset("a", "a", when=["2024-05-31", "2024-06-01"], n=["3", "1.5"])
    none = np.zeros(2, np.int64)
    assert np.diff(times(table, "when", none)) == 24 * 3600
    assert times(table, "n", none).tolist() == [3, 1.5]
    assert times(table, "exif", np.array([5, 9])).tolist() == [5, 9]


@pytest.mark.parametrize("by", ["exif", "when", "other"])
def test_an_image_without_a_time_is_named(by) -> None:
    table = dataset("a", "a", when=["2024-05-31", "soon"])
    with pytest.raises(DataError, match=r"first: a/[01]\.jpg"):
        times(table, by, np.array([5, 0]))


def split(of: Dataset, **settings):
    count = len(of.examples)
    ids = group_ids(of.examples, [b"%032d" % n for n in range(count)])
    return split_dataset(of, ids, SplitConfig(**settings), np.zeros(count, np.int64))


def test_a_data_set_is_split_by_a_column_of_its_table() -> None:
    days = [str(n) for n in range(40)]
    found = split(dataset(*"ab" * 20, day=days), time_by="day", val_fraction=0.25)
    assert found.assignment.tolist() == ["train"] * 24 + ["val"] * 10 + ["test"] * 6
    assert found.labels_of("test").tolist() == [0, 1] * 3
    assert found.notes == ("the oldest images are train, the newest test, by day",)


def test_a_split_by_time_that_cannot_be_trained_on_is_refused() -> None:
    with pytest.raises(UsageError, match="--time-by is for"):
        split(dataset(*"ab" * 20, split="train", day=["1"] * 40), time_by="day")
    days = [str(n) for n in range(40)]
    with pytest.raises(DataError, match="train has no b"):
        split(dataset(*["a"] * 30, *["b"] * 10, day=days), time_by="day")
    with pytest.raises(DataError, match="a split is empty"):  # two moments, three splits
        split(dataset(*"ab" * 20, day=["1"] * 28 + ["7"] * 12), time_by="day")
