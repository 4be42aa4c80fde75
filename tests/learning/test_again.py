import json

import pytest
from PIL import Image


@pytest.fixture(scope="module")
def measured(digits, finished, tmp_path_factory, graft_here):
    """A frozen run with folds, repeats and a learning curve."""
    out = tmp_path_factory.mktemp("again") / "run"
    more = ["--folds", "3", "--repeats", "2", "--learning-curve"]
    settings = ["--model", finished, "--epochs", "3", "--views", "2"]
    ended = graft_here("train", digits, *settings, *more, "--out", out, "--json")
    assert ended.code == 0, ended.err
    return out, json.loads(ended.out)


def test_cross_validation_tests_every_picture_once(measured):
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


def test_the_learning_curve_grows_to_the_whole_training_part(measured):
    found = measured[1]["learning_curve"]
    sizes = [point["pictures"] for point in found["points"]]
    assert sizes == sorted(sizes)
    with (measured[0] / "dataset.csv").open() as stream:
        assert sizes[-1] == sum(",train," in line for line in stream)
    assert {row["class"] for row in found["next"]} == set(measured[1]["classes"])


def test_the_report_says_what_they_showed(measured):
    page = (measured[0] / "report.html").read_text()
    for words in ("3-fold cross-validation", "2\u00a0other splits", "Would more pictures help?"):
        assert words in page
    assert "What you may ask of it" in page


def test_what_needs_frozen_features_is_refused_for_others(digits, tmp_path, graft_here):
    ended = graft_here("train", digits, "--model", "base_cnn", "--folds", "3", "--out", tmp_path)
    assert (ended.code, "frozen features" in ended.err) == (2, True)


def test_near_copies_stay_in_one_part_and_the_leaky_split_is_measured(
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
        part = {line.split(",")[0]: line.split(",")[2] for line in stream}
    pairs = [(path, path.replace("s.png", ".png")) for path in part if path.endswith("s.png")]
    assert len(pairs) > 20
    assert all(part[copy] == part[original] for copy, original in pairs)
    leak = json.loads(ended.out)["leaky_split"]
    assert leak["near"] == 2 * len(pairs)
    assert leak["test_seen"] > 0
    assert "near copies" in (out / "report.html").read_text()


def test_rank_judges_backbones_on_the_users_pictures(digits, finished, frozen_run, graft_here):
    ended = graft_here("rank", digits, "--backbones", f"{finished},nowhere", "--json")
    assert ended.code == 0, ended.err
    best, gone = json.loads(ended.out)
    assert best["backbone"] == str(finished)
    assert best["accuracy"]["low"] < best["accuracy"]["value"] <= best["accuracy"]["high"]
    assert best["accuracy"]["value"] > 0.8
    assert "nowhere" in gone["problem"]
    assert "95 % interval" in graft_here("rank", digits, "--backbones", finished).out
    assert graft_here("rank", digits, "--backbones", "nowhere").code == 4
