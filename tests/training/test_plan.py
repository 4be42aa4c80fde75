"""What a run will train, and what it keeps on disk, decided before it begins."""

import shutil

import pytest

from graft.config import TrainConfig
from graft.data.sources import load_dataset
from graft.errors import UsageError
from graft.runs.run import Run
from graft.training.cache_or_compute import too_large
from graft.training.defaults import network, resolve
from graft.training.plan import backend_notes, make_plan
from graft.utils.progress import Progress

SILENT = Progress()


@pytest.fixture
def dataset(digits, tmp_path):
    return load_dataset(digits, tmp_path)


@pytest.fixture
def plan(dataset, tmp_path):
    """The function that plans a run: plan(model, progress, **settings)."""

    def made(model, progress=SILENT, **settings):
        config = TrainConfig(model=str(model), **settings)
        backbone = network(config, tmp_path)
        return make_plan(resolve(config, backbone), backbone, dataset, Run(tmp_path), progress)

    return made


@pytest.fixture
def nearly_full(monkeypatch):
    usage = type(shutil.disk_usage("/"))
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage(10**6, 10**6, 10**5))


def test_what_is_unfrozen_decides_what_is_computed_once(plan, finished, told, monkeypatch):
    frozen = plan(finished)
    assert (frozen.cut, frozen.from_pixels, frozen.encoder.views) == (None, False, 1)
    assert frozen.encoder.backend is frozen.backend
    whole = plan(finished, unfreeze="all")
    assert (whole.cut.unit, whole.prefix, whole.cached) == (None, None, False)
    monkeypatch.setattr("graft.training.plan.slower_from_disk", lambda *_: "")
    last = plan(finished, told, unfreeze="1")
    assert (last.cached, last.encoder.cut) == (True, last.cut.unit)
    assert last.encoder.backend is last.prefix
    assert "kept in the cache" in told.lines[-1]
    assert plan(finished, augment="light").encoder.views == 3


def test_small_images_are_augmented_in_memory_and_large_ones_in_views(plan):
    small = plan("base_cnn", image_size=32)
    assert small.from_pixels
    assert (small.encoder.views, small.shift, small.erased) == (1, 4, 0)
    strong = plan("base_cnn", image_size=32, augment="strong")
    assert (strong.shift, strong.erased) == (4, 12)
    large = plan("base_cnn", image_size=64)
    assert (large.encoder.views, large.shift) == (5, 0)
    assert backend_notes(large) == []


def test_a_choice_that_an_interrupted_run_made_is_kept_when_it_resumes(
    plan, finished, tmp_path, monkeypatch
):
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr("graft.training.plan.slower_from_disk", lambda *_: "slower, as measured")
    assert not plan(finished, unfreeze="1").cached
    monkeypatch.setattr("graft.training.plan.slower_from_disk", lambda *_: "")
    assert not plan(finished, unfreeze="1").cached
    Run(tmp_path).remove_unfinished()
    assert plan(finished, unfreeze="1").cached


def test_a_cache_too_small_or_a_disk_too_full_keeps_no_activations(
    plan, finished, nearly_full, monkeypatch
):
    wanted, why = too_large(1000, 100, 3)
    assert wanted == pytest.approx(1000 * 240, rel=0.01)
    assert "the disk has left" in why
    assert not plan(finished, unfreeze="1").cached
    monkeypatch.setenv("GRAFT_CACHE_LIMIT", "0.0001")
    assert "GRAFT_CACHE_LIMIT" in too_large(1000, 100, 3)[1]
    assert too_large(1000, 30, 1) == (30_000, "")


def test_the_disk_that_pixels_take_is_said_or_refused_before_it_is_taken(
    plan, told, monkeypatch, request
):
    plan("base_cnn", told, image_size=64)
    assert told.lines == []
    monkeypatch.setattr("graft.training.cache_or_compute.WORTH_SAYING", 1000)
    plan("base_cnn", told, image_size=64)
    assert "in 5 views: about 0.0" in told.lines[0]
    request.getfixturevalue("nearly_full")
    with pytest.raises(UsageError, match="fewer --views"):
        plan("base_cnn", told, image_size=64)
