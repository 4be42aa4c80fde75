import csv
import json

import numpy as np
import pytest

from graft.training.rank import FOLDS, _folds


@pytest.fixture
def ranked(digits, finished, tmp_path, graft_here):
    """Rank `finished` on the digits by a table whose rows `row_of` makes of number and class."""

    def rank(row_of):
        table = tmp_path / "table.csv"
        with table.open("w", newline="") as stream:
            rows = csv.writer(stream)
            rows.writerow(["image", "label", "split", "group"])
            for number, file in enumerate(sorted(digits.rglob("*.png"))):
                rows.writerow([file, *row_of(number, file.parent.name)])
        ended = graft_here("rank", table, "--backbones", finished, "--json")
        assert ended.code == 0, ended.err
        (row,) = json.loads(ended.out)
        return row

    return rank


SPLITS = ["train", "train", "val", "test"]


def test_images_of_a_given_test_split_choose_no_backbone(ranked):
    def row(number, label):
        split = SPLITS[number % 4]
        wrong = {"0": "1", "1": "2", "2": "0"}[label]
        return [wrong if split == "test" else label, split, ""]

    found = ranked(row)
    assert 80 <= found["n"] <= 90
    assert found["accuracy"]["value"] > 0.8
    assert found["accuracy"]["method"].startswith("leave-one-out")


def test_images_are_judged_by_other_groups_than_their_own(ranked):
    # The zeros are one group and all there is of "a": the other groups cannot know them.
    found = ranked(lambda n, label: ["a" if label == "0" else "b", SPLITS[n % 4], f"g{label}"])
    assert found["accuracy"]["value"] < 0.7
    assert found["accuracy"]["low"] < 0.4
    assert found["accuracy"]["method"].startswith("3-fold over groups")


def test_folds_hold_whole_groups_and_every_class_is_dealt_to_many():
    random = np.random.default_rng(0)
    groups = random.permutation(np.arange(900) // 3)
    labels = groups % 5
    fold = _folds(groups, labels)
    assert [len(set(fold[groups == number])) for number in range(300)] == [1] * 300
    assert set(fold) == set(range(FOLDS))
    assert all(len(set(fold[labels == number])) == FOLDS for number in range(5))
