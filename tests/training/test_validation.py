import hashlib
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from graft.training.prepare import Prepared
from graft.training.stage import Job
from PIL import Image

from graft.config import TrainConfig
from graft.data.dataset import Example
from graft.errors import UsageError
from graft.training import validation
from graft.training.validation import check_feasible
from graft.utils.progress import Progress


@pytest.fixture(scope="module")
def measured(digits, finished, tmp_path_factory, graft_here):
    """A frozen run with folds, repeats and a learning curve."""
    out = tmp_path_factory.mktemp("again") / "run"
    more = ["--folds", "3", "--repeats", "2", "--learning-curve"]
    settings = ["--model", finished, "--epochs", "3", "--views", "2"]
    ended = graft_here("train", digits, *settings, *more, "--out", out, "--json")
    assert ended.code == 0, ended.err
    return out, json.loads(ended.out)


def test_cross_validation_tests_every_image_once(measured):
    found = measured[1]["folds"]
    with (measured[0] / "dataset.csv").open() as stream:
        assert found["n"] == len(stream.readlines()) - 1
    assert len(found["each"]) == found["folds"] == 3
    accuracy = found["accuracy"]
    assert min(found["each"]) <= accuracy["value"] <= max(found["each"])
    assert accuracy["low"] < accuracy["value"] < accuracy["high"] or accuracy["value"] == 1


def test_repeats_are_other_splits(measured):
    found = measured[1]["repeats"]
    assert len(found["each"]) == 2
    assert found["mean"] == pytest.approx(sum(found["each"]) / 2)
    assert found["low"] < found["mean"] <= found["high"]
    assert found["what"] == "splits"


def test_the_learning_curve_grows_to_the_whole_training_split(measured):
    found = measured[1]["learning_curve"]
    sizes = [point["images"] for point in found["points"]]
    assert sizes == sorted(sizes)
    with (measured[0] / "dataset.csv").open() as stream:
        assert sizes[-1] == sum(",train," in line for line in stream)
    assert {row["class"] for row in found["next"]} == set(measured[1]["classes"])


def test_five_folds_of_nine_images_a_class_end_well(finished, make_digits, tmp_path, graft_here):
    source, out = make_digits(tmp_path / "few", "01", 9), tmp_path / "run"
    settings = ["--model", finished, "--epochs", "2", "--views", "1", "--folds", "5"]
    ended = graft_here("train", source, *settings, "--out", out, "--json")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)["folds"]
    assert (found["n"], len(found["each"]), found["left_out"]) == (18, 5, 0)


# What stands here is known of `Prepared` without an image.
def prepared(labels, groups=None, splits=None, run=None):
    groups, splits = groups or [None] * len(labels), splits or [None] * len(labels)
    examples = tuple(
        Example(f"{i}.png", Path(f"{i}.png"), str(label), split, group)
        for i, (label, group, split) in enumerate(zip(labels, groups, splits, strict=True))
    )
    digests = tuple(hashlib.sha256(b"%d" % i).digest() for i in range(len(labels)))
    classes = tuple(sorted({e.label for e in examples}))
    numbers = np.array([classes.index(e.label) for e in examples])
    run = np.array(run or splits, "<U5")
    return Prepared(None, examples, digests, classes, numbers, run, (), (), None)


@pytest.mark.parametrize(
    ("labels", "groups", "count"),
    [
        ([0] * 9 + [1] * 9, None, 5),
        ([0] * 5 + [1] * 5, None, 8),
        ([i % 2 for i in range(48)], [f"patient{i // 6}" for i in range(48)], 5),
        ([0, 1] * 2, ["a", "b", "c", "d"], 2),
    ],
)
def test_folds_are_made_of_as_many_units_as_folds(labels, groups, count):
    made = validation._fold_splits(prepared(labels, groups), TrainConfig(folds=count), count)
    assert len(made) == count
    times_tested = sum((splits == "test").astype(int) for splits in made)
    assert (times_tested == 1).all()
    for splits in made:
        assert set(splits) == {"train", "val", "test"}
        for group in set(groups or []):
            assert len({p for p, g in zip(splits, groups, strict=True) if g == group}) == 1


def test_folds_are_even_in_their_classes_and_train_on_seven_tenths():
    labels = [0] * 500 + [1] * 100 + [2] * 7
    for splits in validation._fold_splits(prepared(labels), TrainConfig(folds=5), 5):
        tested, trained = (np.bincount(np.array(labels)[splits == p]) for p in ("test", "train"))
        assert tested[:2].tolist() == [100, 20]
        assert tested[2] in (1, 2)
        assert 0.68 < (splits == "train").mean() < 0.72
        assert len(trained) == 3


@pytest.mark.parametrize("groups", [["a", "b", "c"] * 6, ["a"] * 18])
def test_fewer_units_than_folds_are_refused_before_training(groups):
    config = TrainConfig(folds=4)
    with pytest.raises(UsageError, match="--folds 4 needs more groups"):
        check_feasible(prepared([0] * 9 + [1] * 9, groups), config)


def test_a_given_test_split_stays_out_of_the_folds():
    labels, given = [0, 1] * 20, ["train"] * 30 + ["test"] * 10
    for splits in validation._fold_splits(prepared(labels, splits=given), TrainConfig(folds=3), 3):
        assert set(splits[30:]) == {"out"}
        assert set(splits[:30]) == {"train", "val", "test"}


def test_time_refuses_folds_and_lets_repeats_change_the_seed_only():
    run = ["train"] * 30 + ["val"] * 5 + ["test"] * 5
    found = prepared([0, 1] * 20, run=run)
    with pytest.raises(UsageError, match="--time-by"):
        check_feasible(found, TrainConfig(folds=3, time_by="exif"))
    made = validation._repeat_splits(found, TrainConfig(repeats=2, time_by="exif"), 2)
    assert [splits.tolist() for splits in made] == [run, run]


def test_repeats_whose_splits_leave_a_split_empty_are_refused_before_training():
    with pytest.raises(UsageError, match=r"leaves .* empty"):
        check_feasible(prepared([0, 1] * 5, ["a", "b"] * 5), TrainConfig(repeats=3))


def test_repeats_on_given_splits_are_seeds_and_a_sure_mean_has_an_interval(monkeypatch, tmp_path):
    given = ["train"] * 20 + ["val"] * 10 + ["test"] * 10
    found = prepared([0, 1] * 20, splits=given)
    monkeypatch.setattr(validation, "refit", lambda *_: (np.arange(30, 40), np.eye(2)[[0, 1] * 5]))
    found = replace(found, frozen=SimpleNamespace(views=1))
    result = validation.repeats(
        Job(found, None, TrainConfig(repeats=3), tmp_path, Progress(), False), 3
    )
    assert (result["what"], result["n"], result["each"]) == ("seeds", [10] * 3, [1.0] * 3)
    assert result["low"] < 0.85 < result["mean"] == result["high"] == 1


def test_the_report_says_what_they_showed(measured):
    page = (measured[0] / "report.html").read_text()
    for words in ("3-fold cross-validation", "2\u00a0other splits", "Would more images help?"):
        assert words in page
    assert "What you may ask of it" in page


def test_what_needs_frozen_features_is_refused_for_others(digits, tmp_path, graft_here):
    ended = graft_here("train", digits, "--model", "base_cnn", "--folds", "3", "--out", tmp_path)
    assert (ended.code, "frozen features" in ended.err) == (2, True)


def test_near_copies_stay_in_one_split_and_the_leaky_split_is_measured(
    digits, finished, tmp_path, graft_here
):
    source = tmp_path / "source"
    for number, file in enumerate(sorted(digits.rglob("*.png"))):
        folder = source / file.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        image = Image.open(file).convert("RGB").resize((96, 96), Image.Resampling.BICUBIC)
        image = Image.blend(image, Image.effect_noise((96, 96), 90).convert("RGB"), 0.4)
        image.save(folder / f"{number}.png")
        if number % 4 == 0:
            image.resize((70, 70)).save(folder / f"{number}s.png")
    out = tmp_path / "run"
    settings = ["--model", finished, "--epochs", "2", "--views", "1"]
    ended = graft_here("train", source, *settings, "--out", out, "--json")
    assert ended.code == 0, ended.err
    with (out / "dataset.csv").open() as stream:
        split = {line.split(",")[0]: line.split(",")[2] for line in stream}
    pairs = [(path, path.replace("s.png", ".png")) for path in split if path.endswith("s.png")]
    assert len(pairs) > 20
    assert all(split[copy] == split[original] for copy, original in pairs)
    leak = json.loads(ended.out)["leaky_split"]
    assert leak["near"] == 2 * len(pairs)
    assert leak["test_seen"] > 0
    assert "near copies" in (out / "report.html").read_text()


def test_rank_judges_backbones_on_the_users_images(digits, finished, frozen_run, graft_here):
    ended = graft_here("rank", digits, "--backbones", f"{finished},nowhere", "--json")
    assert ended.code == 0, ended.err
    best, gone = json.loads(ended.out)
    assert best["backbone"] == str(finished)
    assert best["accuracy"]["low"] < best["accuracy"]["value"] <= best["accuracy"]["high"]
    assert best["accuracy"]["value"] > 0.8
    assert "nowhere" in gone["problem"]
    assert "95 % interval" in graft_here("rank", digits, "--backbones", finished).out
    assert graft_here("rank", digits, "--backbones", "nowhere").code == 4
