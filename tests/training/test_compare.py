"""Several models trained on one split: which earlier runs are reused, and which refused."""

import numpy as np
import pytest
from PIL import Image

from graft.config import SplitConfig
from graft.errors import ModelError, UsageError
from graft.inference.speed import measure_speed
from graft.runs.claim import MARK, TEXT
from graft.training.compare import _folder_names, train_models
from graft.utils.progress import Progress
from graft.utils.time_budget import seconds_of

SETTINGS = {"image_size": 16, "epochs": 1, "views": 1}


@pytest.fixture(scope="module")
def images(make_digits, tmp_path_factory):
    return make_digits(tmp_path_factory.mktemp("compare") / "digits", each=20)


@pytest.fixture(scope="module")
def compared(images, finished, tmp_path_factory):
    """Two models trained on digits, the folder that they are in, and how: again(**changes)."""
    out = tmp_path_factory.mktemp("compared")

    def again(source=images, models=("base_cnn", f"{finished}@1"), split_config=None, **changes):
        settings = SETTINGS | changes
        return train_models(
            source, models, out, Progress(), settings=settings, split_config=split_config
        )

    runs = again()
    for run in runs:
        run.write_report("a page")  # as `graft compare` does
    return runs, out, again


def test_models_are_trained_on_one_split(compared):
    runs, out, _ = compared
    assert [run.path for run in runs] == [out / "base_cnn", out / "finished@1"]
    assert len({(run.path / "dataset.csv").read_bytes() for run in runs}) == 1
    assert [run.config["settings"]["unfreeze"] for run in runs] == ["none", "1"]


def test_a_second_time_nothing_is_trained_again_but_what_is_missing(compared):
    runs, out, again = compared
    weights = [run.weights.stat().st_mtime_ns for run in runs]
    metrics = out / "finished@1" / "metrics.json"
    metrics.unlink()
    (metrics.parent / MARK).write_text(TEXT)  # as of a run that is not finished
    assert [run.metrics["n"] for run in again()] == [runs[0].metrics["n"]] * 2
    first, second = (run.weights.stat().st_mtime_ns for run in runs)
    assert (first, second > weights[1]) == (weights[0], True)
    runs[1].write_report("a page")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 43}, "with seed 42, not 43"),
        ({"flip": False}, "with flip True, not False"),
        ({"image_size": 20}, "with image_size 16, not 20"),
    ],
)
def test_runs_of_other_settings_are_not_taken_for_those_asked_for(compared, changes, said):
    with pytest.raises(UsageError, match=said):
        compared[2](**changes)


@pytest.mark.parametrize(
    ("split", "said"),
    [({"group_by": "folder"}, "with group_by None"), ({"val_fraction": 0.3}, "with val_fraction")],
)
def test_runs_of_another_split_are_not_taken_for_those_asked_for(compared, split, said):
    with pytest.raises(UsageError, match=said):
        compared[2](split_config=SplitConfig(**split))


def test_runs_of_other_images_are_not_taken_for_those_asked_for(compared, make_digits, tmp_path):
    again = compared[2]
    elsewhere = make_digits(tmp_path / "digits", each=20)
    assert len(again(elsewhere)) == 2  # the same images
    extra = next(elsewhere.rglob("*.png"))
    pixels = np.asarray(Image.open(extra)).copy()
    pixels[0] = 255 - pixels[0]
    Image.fromarray(pixels).save(extra.with_name("new.png"))
    with pytest.raises(UsageError, match="of other images than these"):
        again(elsewhere)


def test_models_of_one_name_in_two_places_have_folders_of_their_own():
    names = ["local-dir:/a/v1", "local-dir:/b/v1", "base_cnn", "m@20%"]
    first, second, *others = _folder_names(names)
    assert first != second
    assert first.startswith("v1-")
    assert others == ["base_cnn", "m@20%"]
    assert _folder_names(names) == [first, second, *others]


@pytest.mark.parametrize(
    ("models", "error"),
    [
        (["base_cnn"], UsageError),
        (["base_cnn", "base_cnn "], UsageError),
        (["base_cnn@20%", "deep_cnn"], UsageError),
        (["base_cnn", "local-dir:nowhere"], ModelError),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_trained(models, error, tmp_path):
    with pytest.raises(error):
        train_models("digits", models, tmp_path / "out", Progress())
    assert not (tmp_path / "out").exists()


def test_models_past_the_time_budget_are_left_out_and_named(images, compared, finished, told):
    runs, out, _ = compared
    models = ["base_cnn", f"{finished}@1", str(finished)]
    kept = train_models(images, models, out, told, seconds=1e-9, settings=SETTINGS)
    assert [run.path for run in kept] == [run.path for run in runs]
    assert told.lines[-1] == f"{finished} is left out: the time budget is spent"


def test_budgets_are_seconds_minutes_or_hours():
    assert [seconds_of(b) for b in ("90s", "1.5m", "2h", None)] == [90, 90, 7200, None]
    for budget in ("2 days", "soon", "0m", "-1s"):
        with pytest.raises(UsageError, match="--time-budget"):
            seconds_of(budget)


def test_how_fast_a_run_predicts_is_measured_and_kept(compared, monkeypatch, tmp_path):
    monkeypatch.setattr("graft.inference.speed.TIMED", 40)
    run = compared[0][0]
    measure_speed(run, [*run.files.values(), tmp_path / "gone.png"], Progress())
    assert run.speed > 0
