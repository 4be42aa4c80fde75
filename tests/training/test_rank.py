import csv

import numpy as np
import pytest

import graft as package
from graft.data.sources import load_dataset
from graft.errors import DataError, ModelError
from graft.evaluation.folds import deal
from graft.training.rank import FOLDS, rank
from graft.utils.cache_folder import cache_folder
from graft.utils.progress import Progress


def ranked(source, *backbones, **options):
    dataset = load_dataset(source, cache_folder() / "sources")
    return rank(dataset, [str(b) for b in backbones], cache_folder(), Progress(), **options)


@pytest.fixture
def table(digits, tmp_path):
    """The function that writes the digits as a table, of rows made of number and class."""

    def write(row_of):
        file = tmp_path / "table.csv"
        with file.open("w", newline="") as stream:
            rows = csv.writer(stream)
            rows.writerow(["image", "label", "split", "group"])
            for number, image in enumerate(sorted(digits.rglob("*.png"))):
                rows.writerow([image, *row_of(number, image.parent.name)])
        return file

    return write


SPLITS = ["train", "train", "val", "test"]


def test_the_best_backbone_comes_first_and_one_that_cannot_be_had_last(digits, finished):
    gone, best = ranked(digits, finished, "nowhere")[::-1]
    assert best["backbone"] == str(finished)
    assert best["n"] == 120
    assert best["accuracy"]["low"] < best["accuracy"]["value"] <= best["accuracy"]["high"]
    assert best["accuracy"]["value"] > 0.8
    assert "nowhere" in gone["problem"]
    with pytest.raises(ModelError):
        ranked(digits, "nowhere")


def test_one_name_is_one_backbone_and_not_its_letters(digits, finished):
    rows = package.rank(digits, str(finished))
    assert [row["backbone"] for row in rows] == [str(finished)]


def test_no_further_backbone_is_begun_once_the_time_is_spent(digits, finished):
    first, second = ranked(digits, finished, "nowhere", seconds=0)
    assert first["accuracy"]["value"] > 0.8
    assert second == {"backbone": "nowhere", "problem": "not begun: the time budget was spent"}


def test_images_of_a_given_test_split_choose_no_backbone(table, finished):
    def row(number, label):
        split = SPLITS[number % 4]
        wrong = {"0": "1", "1": "2", "2": "0"}[label]
        return [wrong if split == "test" else label, split, ""]

    (found,) = ranked(table(row), finished)
    assert found["n"] == 90
    assert found["accuracy"]["value"] > 0.8
    assert found["accuracy"]["method"].startswith("leave-one-out")


def test_a_group_is_told_by_other_groups_only(table, finished):
    # The zeros are one group and all there is of "a": the other groups cannot know them.
    grouped = table(lambda n, label: ["a" if label == "0" else "b", SPLITS[n % 4], f"g{label}"])
    (found,) = ranked(grouped, finished)
    assert found["accuracy"]["value"] < 0.7
    assert found["accuracy"]["low"] < 0.4
    assert found["accuracy"]["method"].startswith("3-fold over groups")
    alone = table(lambda n, label: ["a" if label == "0" else "b", SPLITS[n % 4], "one"])
    with pytest.raises(DataError, match="of one group"):
        ranked(alone, finished)


def test_folds_hold_whole_groups_and_every_class_is_dealt_to_many():
    random = np.random.default_rng(0)
    groups = random.permutation(np.arange(900) // 3)
    labels = groups % 5
    groups[:7] = -1
    fold, count = deal(groups, labels, FOLDS, 0)
    assert count == len(set(groups.tolist()) - {-1})
    assert (fold[:7] == -1).all()
    assert all(len(set(fold[groups == number])) == 1 for number in set(groups[7:].tolist()))
    assert set(fold[7:]) == set(range(FOLDS))
    assert all(len(set(fold[7:][labels[7:] == number])) == FOLDS for number in range(5))
