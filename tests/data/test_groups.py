from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft.data.dataset import Dataset, Example
from graft.data.groups import regrouped, split_by_time, times
from graft.errors import DataError, UsageError


def dataset(*paths: str, **columns: list[str]) -> Dataset:
    examples = []
    for n, path in enumerate(paths):
        row = {name: values[n] for name, values in columns.items()} or None
        examples.append(Example(path, Path(path), path.split("/")[0], columns=row))
    return Dataset("source", tuple(examples))


def groups(found: Dataset) -> list[str | None]:
    return [example.group for example in found.examples]


def test_a_group_may_be_the_folder_a_column_or_a_split_of_the_name() -> None:
    paths = ("a/x/p1_001.jpg", "a/x/p1_002.jpg", "b/y/p2_001.jpg")
    assert groups(regrouped(dataset(*paths), "folder")) == ["a/x", "a/x", "b/y"]
    assert groups(regrouped(dataset(*paths), "^[^_]+")) == ["p1", "p1", "p2"]
    assert groups(regrouped(dataset(*paths), r"_(\d+)")) == ["001", "002", "001"]
    table = dataset(*paths, patient=["7", "", "7"])
    assert groups(regrouped(table, "patient")) == ["7", None, "7"]


def test_a_name_that_does_not_match_is_a_group_of_its_own() -> None:
    assert groups(regrouped(dataset("a/p1.jpg", "a/other.jpg"), r"p\d")) == ["p1", None]


@pytest.mark.parametrize("by", ["(", "nowhere"])
def test_what_groups_nothing_is_refused(by: str) -> None:
    with pytest.raises(UsageError, match="--group-by"):
        regrouped(dataset("a/1.jpg", "b/2.jpg"), by)


@given(st.lists(st.integers(0, 1000), min_size=10, max_size=200))
def test_no_image_of_train_is_newer_than_one_of_val_or_test(moments: list[int]) -> None:
    when = np.array(moments, np.float64)
    splits = split_by_time(when, [])
    for older, newer in (("train", "val"), ("val", "test"), ("train", "test")):
        if (splits == older).any() and (splits == newer).any():
            assert when[splits == older].max() < when[splits == newer].min()
    if len(set(moments)) == len(moments):
        assert abs((splits == "train").mean() - 0.7) <= 1 / len(moments)


def test_what_belongs_together_goes_with_its_newest_image() -> None:
    splits = split_by_time(np.arange(100.0), [[0, 99], [5, 6]])
    assert splits[0] == splits[99] == "test"
    assert splits[5] == "train"


def test_times_are_numbers_dates_or_what_the_camera_wrote() -> None:
    table = dataset("a/1.jpg", "a/2.jpg", when=["2024-05-31", "2024-06-01"], n=["3", "1.5"])
    none = np.zeros(2, np.int64)
    assert np.diff(times(table, "when", none, [0, 1])) == 24 * 3600
    assert times(table, "n", none, [1, 0]).tolist() == [1.5, 3]
    assert times(table, "exif", np.array([5, 9]), [0, 1]).tolist() == [5, 9]


@pytest.mark.parametrize("by", ["exif", "when", "other"])
def test_a_image_without_a_time_is_named(by: str) -> None:
    table = dataset("a/1.jpg", "a/2.jpg", when=["2024-05-31", "soon"])
    with pytest.raises(DataError, match=r"1\.jpg|2\.jpg"):
        times(table, by, np.array([5, 0]), [0, 1])


def test_groups_and_times_of_a_table_decide_the_splits(tmp_path, make_digits, graft_here) -> None:
    import csv

    source = make_digits(tmp_path / "source", "012", each=30)
    files = sorted(source.rglob("*.png"))
    table = tmp_path / "table.csv"
    rows = [f"{f},{f.parent.name},{int(f.stem) % 10},{int(f.stem)}" for f in files]
    table.write_text("\n".join(["image,label,patient,day", *rows]))
    small = ["--model", "base_cnn", "--image-size", "16", "--epochs", "1", "--views", "1"]

    def splits_by(option: str, column: str) -> dict[str, set[str]]:
        out = tmp_path / column
        ended = graft_here("train", table, *small, option, column, "--out", out)
        assert ended.code == 0, ended.err
        found: dict[str, set[str]] = {}
        with (out / "dataset.csv").open(newline="") as stream:
            for row in csv.DictReader(stream):
                stem = int(Path(row["path"]).stem)
                key = str(stem % 10) if column == "patient" else row["split"]
                found.setdefault(key, set()).add(row["split"] if column == "patient" else str(stem))
        return found

    assert all(len(splits) == 1 for splits in splits_by("--group-by", "patient").values())
    days = splits_by("--time-by", "day")
    assert max(map(int, days["train"])) < min(map(int, days["test"]))
