"""Training on the shards of `graft features`, against training on the images themselves."""

import csv
import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file

import graft
from graft.errors import DataError, UsageError
from graft.training import block_shuffle


@pytest.fixture(scope="module")
def exact(digits, finished, tmp_path_factory):
    """The features of `digits` in five shards; the folder of their images is gone meanwhile."""
    out = tmp_path_factory.mktemp("features") / "digits"
    graft.extract_features(digits, out, shards=5, model=str(finished))
    return out


@pytest.fixture(scope="module")
def runs(digits, finished, exact, tmp_path_factory):
    """A run on the images and one on their features, without close calls."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("graft.inference.predictor.CLOSE_CALL", -1.0)
        ordinary = graft.train(digits, out=folder / "images", model=str(finished), epochs=4)
        return ordinary, graft.train(exact, out=folder / "features", epochs=4)


def rows(file):
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_run_is_that_of_the_images(runs):
    images, features = runs
    for name in ("dataset.csv", "predictions.csv"):
        assert rows(images.path / name) == rows(features.path / name)
    weights = [load_file(run.path / "model.safetensors") for run in runs]
    assert set(weights[0]) == set(weights[1])
    assert all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[0])
    clock = {"seconds", "from_cache"}
    known = [{k: v for k, v in run.metrics.items() if k not in clock} for run in runs]
    assert known[0] == known[1]
    assert json.loads((images.path / "findings.json").read_text()) == json.loads(
        (features.path / "findings.json").read_text()
    )


def test_the_report_says_that_there_were_no_images(runs):
    _, features = runs
    assert any("without the images" in note for note in features.config["training_notes"])
    assert "without the images" in (features.path / "report.html").read_text()


def test_its_classifier_predicts_images(runs, digits):
    file = next((digits / "1").iterdir())
    answers = [graft.load(run.path).predict(file).probabilities for run in runs]
    assert answers[0] == pytest.approx(answers[1])


def test_the_head_can_be_validated_without_the_images(runs):
    _, features = runs
    found = graft.validate(features.path, repeats=2)
    assert len(found["repeats"]["each"]) == 2


def test_the_features_are_audited_as_the_images_are(exact, digits, finished):
    told = [
        [(f.kind, f.paths) for f in graft.check(source, model=model).findings]
        for source in (exact, digits)
        for model in (None, str(finished))
    ]
    assert told[0] == told[2]
    assert told[1] == told[3]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"unfreeze": "20%"}, "trains from the images"),
        ({"model": "base_cnn"}, "--model base_cnn: the features in .* were computed with"),
        ({"image_size": 64}, "--image-size 64"),
        ({"views": 3}, "--views 3"),
    ],
)
def test_what_needs_the_images_is_refused(exact, tmp_path, settings, said):
    with pytest.raises(UsageError, match=said):
        graft.train(exact, out=tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").iterdir())


def test_verbs_that_look_at_images_refuse_features(exact, finished):
    with pytest.raises(UsageError, match="needs the images themselves"):
        graft.evaluate(finished, exact)


def test_a_folder_that_lacks_a_shard_is_not_trained_on(exact, tmp_path):
    partial = shutil.copytree(exact, tmp_path / "partial")
    next(iter(sorted(partial.glob("*.safetensors")))).unlink()
    with pytest.raises(DataError, match="4 of 5 shards are there, 1 missing"):
        graft.train(partial, out=tmp_path / "run")


def test_another_network_than_that_of_the_features_is_refused(exact, tmp_path, frozen_run):
    changed = shutil.copytree(exact, tmp_path / "changed")
    job = json.loads((changed / "features.json").read_text())
    with pytest.raises(UsageError, match="were computed with"):
        graft.train(changed, out=tmp_path / "run", model=str(frozen_run))
    assert job["model"] != str(frozen_run)


def test_features_beyond_memory_give_a_head_as_good(digits, exact, runs, tmp_path, monkeypatch):
    monkeypatch.setattr(block_shuffle, "MEMORY_SHARE", 0.0)
    run = graft.train(exact, out=tmp_path / "run", epochs=4)
    assert any("shuffled by blocks" in note for note in run.config["training_notes"])
    accuracy = [each.metrics["accuracy"]["value"] for each in (run, runs[0])]
    assert accuracy[0] == pytest.approx(accuracy[1], abs=0.2)
    again = graft.train(exact, out=tmp_path / "again", epochs=4)
    one, other = (load_file(each.path / "model.safetensors") for each in (run, again))
    assert all(np.array_equal(one[name], other[name]) for name in one)
