"""Cross-validation, repeats, a learning curve and leaks, of a finished frozen run."""

import hashlib
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from graft.config import SplitConfig
from graft.data.dataset import Dataset, Example
from graft.data.groups import group_ids
from graft.data.split import Split
from graft.errors import DataError, UsageError
from graft.features.table import FeatureTable
from graft.models.runtime import detect_runtime
from graft.runs.run import Run
from graft.training import validation
from graft.training.refit import Refit, load_refit
from graft.training.validation import fold_splits, leaky_split, repeat, repeat_splits, validate
from graft.utils.progress import Progress


@pytest.fixture(scope="module")
def measured(frozen_run, tmp_path_factory):
    """A frozen run with folds, repeats and a learning curve, and what `validate` gave."""
    run = Run(shutil.copytree(frozen_run, tmp_path_factory.mktemp("again") / "run"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation, "TRIES", (2, 1, 1, 1, 1))
        return run, validate(run, Progress(), folds=3, repeats=2, learning_curve=True)


def test_what_was_found_is_kept_in_the_run_and_what_comes_later_is_added(measured):
    run, found = measured
    assert set(found) == {"folds", "repeats", "learning_curve"}
    assert Run(run.path).validation == found
    later = validate(Run(run.path), Progress(), repeats=1)
    assert len(later["repeats"]["each"]) == 1
    assert {name: later[name] for name in ("folds", "learning_curve")} == {
        name: found[name] for name in ("folds", "learning_curve")
    }
    run.write_validation(found)


def test_cross_validation_tests_every_image_once(measured):
    run, all_found = measured
    found = all_found["folds"]
    assert (found["n"], found["left_out"]) == (len(run.images), 0)
    assert len(found["each"]) == found["folds"] == 3
    accuracy = found["accuracy"]
    assert min(found["each"]) <= accuracy["value"] <= max(found["each"])
    assert accuracy["low"] < accuracy["value"] < accuracy["high"] or accuracy["value"] == 1
    assert accuracy["value"] > 0.8


def test_repeats_are_other_splits(measured):
    found = measured[1]["repeats"]
    assert len(found["each"]) == 2
    assert found["mean"] == pytest.approx(sum(found["each"]) / 2)
    assert found["low"] < found["mean"] <= found["high"]
    assert found["what"] == "splits"


def test_the_learning_curve_grows_to_the_whole_training_split(measured):
    run, found = measured
    sizes = [point["images"] for point in found["learning_curve"]["points"]]
    assert sizes == sorted(sizes)
    assert sizes[-1] == sum(row["split"] == "train" for row in run.images)
    assert {row["class"] for row in found["learning_curve"]["next"]} == set(run.classes)


def test_a_head_fitted_again_on_the_runs_own_split_is_the_runs_own(measured):
    run, _ = measured
    refit = load_refit(run, Progress())
    rows, found = refit.test(refit.split.assignment, refit.config.seed)
    paths, _, expected = run.predictions("test")
    assert [refit.table.dataset.examples[i].path for i in rows] == paths
    # A run computes close calls again in float32.
    np.testing.assert_allclose(found, expected, atol=5e-3)
    assert refit.score(rows, found)["n"] == len(rows)


def test_a_run_that_trained_more_than_a_head_is_refused(finished):
    with pytest.raises(UsageError, match="frozen features"):
        validate(Run(finished), Progress(), folds=3)


def test_a_run_whose_images_are_gone_is_refused(frozen_run, digits, tmp_path):
    run = Run(shutil.copytree(frozen_run, tmp_path / "run"))
    source = shutil.copytree(digits, tmp_path / "digits")
    first = sorted(source.rglob("*.png"))[0]
    first.unlink()
    run.write_config(run.config | {"source": str(source)})
    with pytest.raises(DataError, match=f"1 images of the run are missing .*{first.name}"):
        validate(run, Progress(), folds=3)


# What stands here is known of a refit without an image.
def refit(labels, groups=None, splits=None, run=None, near=(), **settings):
    groups, splits = groups or [None] * len(labels), splits or [None] * len(labels)
    examples = tuple(
        Example(f"{i}.png", Path(f"{i}.png"), str(label), split, group)
        for i, (label, group, split) in enumerate(zip(labels, groups, splits, strict=True))
    )
    digests = [hashlib.sha256(b"%d" % i).digest() for i in range(len(labels))]
    table = FeatureTable(Dataset("here", examples), digests, {}, None)
    classes = table.dataset.classes
    numbers = np.array([classes.index(e.label) for e in examples])
    assignment = np.array([str(split) for split in run or splits], "<U5")
    split = Split(assignment, numbers, classes, tuple(group_ids(examples, digests, near)))
    config, progress = SplitConfig(**settings), Progress()
    return Refit(SimpleNamespace(), table, split, config, progress, detect_runtime())


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
    made = fold_splits(refit(labels, groups), count)
    assert len(made) == count
    times_tested = sum((splits == "test").astype(int) for splits in made)
    assert (times_tested == 1).all()
    for splits in made:
        assert set(splits) == {"train", "val", "test"}
        for group in set(groups or []):
            assert len({p for p, g in zip(splits, groups, strict=True) if g == group}) == 1


def test_folds_are_even_in_their_classes_and_train_on_seven_tenths():
    labels = [0] * 500 + [1] * 100 + [2] * 7
    for splits in fold_splits(refit(labels), 5):
        tested, trained = (np.bincount(np.array(labels)[splits == p]) for p in ("test", "train"))
        assert tested[:2].tolist() == [100, 20]
        assert tested[2] in (1, 2)
        assert 0.68 < (splits == "train").mean() < 0.72
        assert len(trained) == 3


@pytest.mark.parametrize("groups", [["a", "b", "c"] * 6, ["a"] * 18])
def test_fewer_groups_than_folds_are_refused(groups):
    with pytest.raises(UsageError, match="--folds 4 needs more groups"):
        fold_splits(refit([0] * 9 + [1] * 9, groups), 4)


def test_a_given_test_split_stays_out_of_the_folds():
    labels, given = [0, 1] * 20, ["train"] * 30 + ["test"] * 10
    for splits in fold_splits(refit(labels, splits=given), 3):
        assert set(splits[30:]) == {"out"}
        assert set(splits[:30]) == {"train", "val", "test"}


def test_time_refuses_folds_and_lets_repeats_change_the_seed_only():
    run = ["train"] * 30 + ["val"] * 5 + ["test"] * 5
    found = refit([0, 1] * 20, run=run, time_by="exif")
    with pytest.raises(UsageError, match="--time-by"):
        fold_splits(found, 3)
    assert [splits.tolist() for splits in repeat_splits(found, 2)] == [run, run]


def test_repeats_whose_splits_leave_a_split_empty_are_refused():
    with pytest.raises(UsageError, match=r"leaves .* empty"):
        repeat_splits(refit([0, 1] * 5, ["a", "b"] * 5), 3)


def test_what_the_images_do_not_allow_is_refused_before_anything_is_fitted(monkeypatch):
    monkeypatch.setattr(validation, "load_refit", lambda *_: refit([0, 1] * 5, ["a", "b"] * 5))
    monkeypatch.setattr(Refit, "test", lambda *_: 1 / 0)
    for asked in ({"folds": 4}, {"repeats": 3}, {"folds": 2, "repeats": 3}):
        with pytest.raises(UsageError):
            validate(SimpleNamespace(), Progress(), **asked)


def test_repeats_on_given_splits_are_seeds_and_a_sure_mean_has_an_interval(monkeypatch):
    given = ["train"] * 20 + ["val"] * 10 + ["test"] * 10
    monkeypatch.setattr(Refit, "test", lambda *_: (np.arange(30, 40), np.eye(2)[[0, 1] * 5]))
    result = repeat(refit([0, 1] * 20, splits=given), 3)
    assert (result["what"], result["n"], result["each"]) == ("seeds", [10] * 3, [1.0] * 3)
    assert result["low"] < 0.85 < result["mean"] == result["high"] == 1


def test_a_leak_is_sought_only_where_near_duplicates_could_have_been_torn(monkeypatch):
    labels = [0, 1] * 100
    pairs = [(i, i + 2) for i in range(0, 160, 4)]
    assert leaky_split(refit(labels)) is None
    assert leaky_split(refit(labels, near=pairs, time_by="exif")) is None
    assert leaky_split(refit(labels, splits=["train"] * 200, near=pairs)) is None

    def right(self, assignment, seed):
        rows = np.flatnonzero(assignment == "test")
        return rows, np.eye(2)[self.split.labels[rows]]

    monkeypatch.setattr(Refit, "test", right)
    found = leaky_split(refit(labels, near=pairs))
    assert found["near"] == 80
    assert 0 < found["test_seen"] < found["n"]
    assert found["accuracy"]["value"] == 1
    few = leaky_split(refit([0, 1] * 1000, near=[(0, 2)]))
    assert (few["near"], few["accuracy"]) == (2, None)


def test_near_duplicates_stay_in_one_split_and_the_leaky_split_is_measured(
    digits, finished, fit, tmp_path
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
    run = fit(source, tmp_path / "run", model=str(finished), epochs=2, views=1)
    row = {row["path"]: row for row in run.images}
    pairs = [(path, path.replace("s.png", ".png")) for path in row if path.endswith("s.png")]
    assert len(pairs) > 20
    for one, other in pairs:
        assert row[one]["group_id"] == row[other]["group_id"]
        assert row[one]["split"] == row[other]["split"]
    leak = validate(run, Progress())["leaky_split"]
    assert leak["near"] == 2 * len(pairs)
    assert leak["test_seen"] > 0
