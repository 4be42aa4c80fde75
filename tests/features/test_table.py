"""What the cache may and may not reuse, told by what a frozen encoder computes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from graft.data.augmentation import Augmentation
from graft.data.decode import UnusableImageError
from graft.features import backends as backends
from graft.features.backends import LazyBackend, choose
from graft.features.table import FeatureTable
from graft.models.backbone import scratch
from graft.models.weights import find_backbone
from graft.utils.progress import Progress

BACKEND = "torch"


def frozen(cache, backbone, views=1, flip=True):
    backend = None if backbone.weights is None else LazyBackend(backbone.build, BACKEND)
    return FeatureTable(cache, backbone, backend, views, Augmentation(flip=flip))


def computed(frozen, files, views=(0,)):
    """How many activations are computed for the files, and the files' digests."""
    digests = {}

    def note(loaded):
        digests[loaded.index] = loaded.digest

    count = frozen.compute(files, lambda index, digest: views, note, Progress())
    return count, [digests[i] for i in range(len(files))]


@pytest.fixture
def files(tmp_path, make_digits):
    return sorted(make_digits(tmp_path / "images", each=12).rglob("*.png"))


@pytest.fixture(params=["features", "pixels"])
def backbone(request, tmp_path):
    if request.param == "pixels":
        return scratch(image_size=16)
    return find_backbone(str(request.getfixturevalue("finished")), tmp_path / "cache")


def test_a_second_run_computes_nothing_and_compiles_no_encoder(tmp_path, files, backbone):
    first = frozen(tmp_path / "cache", backbone)
    count, digests = computed(first, files)
    assert count == len(files) == 36
    second = frozen(tmp_path / "cache", backbone)
    assert computed(second, files) == (0, digests)
    assert second.backend is None or second.backend.ready is None
    rows = np.arange(len(files))
    assert np.array_equal(first.gather(digests)[rows], second.gather(digests)[rows])


def test_features_are_kept_under_the_name_of_the_backend_that_made_them(
    tmp_path, files, finished, monkeypatch
):
    backbone = find_backbone(str(finished), tmp_path / "cache")
    monkeypatch.setattr(backends, "_openvino_backend", lambda *_: 1 / 0)

    def fallen_back():
        return FeatureTable(tmp_path / "cache", backbone, LazyBackend(backbone.build), 1)

    first = fallen_back()
    assert choose().startswith("openvino")
    assert first.backend.name == choose("torch")
    assert "division by zero" in first.backend.ready.note
    assert computed(first, files)[0] == len(files)
    assert computed(fallen_back(), files)[0] == 0
    named = FeatureTable(tmp_path / "cache", backbone, LazyBackend(backbone.build, "torch"), 1)
    assert computed(named, files)[0] == 0


def test_a_image_that_is_kept_is_hashed_and_not_decoded(tmp_path, files, monkeypatch):
    computed(frozen(tmp_path / "cache", scratch(image_size=16)), files)

    def decode(*arguments):
        raise UnusableImageError("unreadable", "must not be decoded")

    monkeypatch.setattr("graft.data.reader.decode", decode)
    assert computed(frozen(tmp_path / "cache", scratch(image_size=16)), files)[0] == 0


def test_a_grown_folder_costs_the_new_files_only(tmp_path, files, backbone, make_digits):
    computed(frozen(tmp_path / "cache", backbone), files)
    grown = make_digits(tmp_path / "images", "9", each=5)
    count, _ = computed(frozen(tmp_path / "cache", backbone), sorted(grown.rglob("*.png")))
    assert count == 5


def test_renamed_and_copied_files_cost_nothing(tmp_path, files, backbone):
    computed(frozen(tmp_path / "cache", backbone), files)
    moved = shutil.copytree(tmp_path / "images", tmp_path / "elsewhere")
    renamed = [file.rename(file.with_name(f"new-{file.name}")) for file in moved.rglob("*.png")]
    assert computed(frozen(tmp_path / "cache", backbone), renamed)[0] == 0


def test_changed_bytes_miss(tmp_path, files, backbone):
    store = frozen(tmp_path / "cache", backbone)
    _, before = computed(store, files)
    old = store.gather(before)[np.array([3])]
    status = files[3].stat()
    pixels = np.asarray(Image.open(files[3]))
    Image.fromarray(255 - pixels).save(files[3])
    os.utime(files[3], (status.st_atime, status.st_mtime))  # a date tells nothing
    again = frozen(tmp_path / "cache", backbone)
    count, after = computed(again, files)
    assert count == 1
    assert not np.array_equal(again.gather(after)[np.array([3])], old)


def changed_run(run, folder, weights=None, preprocess=None):
    """A copy of a run with one weight or the preprocessing changed."""
    shutil.copytree(run, folder)
    if weights:
        state = load_file(folder / "model.safetensors")
        key = next(key for key in state if key.startswith("encoder.") and state[key].ndim == 4)
        state[key] = state[key].copy()
        state[key].flat[0] += weights
        save_file(state, folder / "model.safetensors")
    if preprocess:
        stored = json.loads((folder / "model.json").read_text())
        stored["backbone"]["preprocess"] |= preprocess
        (folder / "model.json").write_text(json.dumps(stored))
    return folder


@pytest.mark.parametrize(
    "change",
    [{"weights": 1e-3}, {"preprocess": {"crop": 0.875}}, {"preprocess": {"mean": [0.4, 0.5, 0.5]}}],
    ids=["weights", "crop", "mean"],
)
def test_another_encoder_misses(tmp_path, files, finished, change):
    cache = tmp_path / "cache"
    same = find_backbone(str(shutil.copytree(finished, tmp_path / "same")), cache)
    other = find_backbone(str(changed_run(finished, tmp_path / "other", **change)), cache)
    computed(frozen(cache, find_backbone(str(finished), cache)), files)
    assert computed(frozen(cache, same), files)[0] == 0, "a copied run is the same encoder"
    assert computed(frozen(cache, other), files)[0] == len(files)


@pytest.mark.parametrize(
    "change", [{"height": 24, "width": 24}, {"interpolation": "bilinear"}, {"crop": 0.5}]
)
def test_other_preprocessing_of_plain_pixels_misses(tmp_path, files, change):
    plain = scratch(image_size=16)
    computed(frozen(tmp_path / "cache", plain), files)
    other = replace(plain, preprocess=replace(plain.preprocess, **change))
    assert computed(frozen(tmp_path / "cache", other), files)[0] == len(files)
    assert computed(frozen(tmp_path / "cache", plain), files)[0] == 0


def test_another_backend_misses(tmp_path, files, finished):
    cache = tmp_path / "cache"
    backbone = find_backbone(str(finished), cache)
    computed(frozen(cache, backbone), files)
    # OpenVINO: PyTorch's fastest precision is float32 itself on some machines.
    other = FeatureTable(cache, backbone, LazyBackend(backbone.build, "openvino"), 1)
    assert computed(other, files)[0] == len(files)


def test_another_view_misses_and_is_another_image(tmp_path, files):
    cache, backbone = tmp_path / "cache", scratch(image_size=16)
    assert computed(frozen(cache, backbone, views=2), files, (0, 1))[0] == 2 * len(files)
    assert computed(frozen(cache, backbone, views=3), files, (0, 1, 2))[0] == len(files)
    mirrored = frozen(cache, backbone, views=2)
    straight = frozen(cache, backbone, views=2, flip=False)
    count, digests = computed(straight, files, (0, 1))
    assert count == len(files), "views that may not be mirrored are others, the plain one is not"
    rows = np.arange(len(files))
    assert not np.array_equal(mirrored.gather(digests)[rows], mirrored.gather(digests, 1)[rows])
    assert not np.array_equal(mirrored.gather(digests, 1)[rows], straight.gather(digests, 1)[rows])


def test_a_damaged_shard_is_computed_again(tmp_path, files, backbone):
    first = frozen(tmp_path / "cache", backbone)
    _, digests = computed(first, files)
    rows = np.arange(len(files))
    right = first.gather(digests)[rows]
    (shard,) = first.stores[0].folder.glob("*.safetensors")
    data = shard.read_bytes()
    shard.unlink()  # the first run has it mapped; a crash would have left a new, shorter file
    shard.write_bytes(data[: len(data) // 2])
    again = frozen(tmp_path / "cache", backbone)
    assert computed(again, files)[0] == len(files)
    assert np.array_equal(again.gather(digests)[rows], right)


def test_an_unusable_image_is_told_and_not_kept(tmp_path, files, backbone):
    files[2].write_bytes(b"no image")
    told = []
    count = frozen(tmp_path / "cache", backbone).compute(
        files, lambda index, digest: (0,), told.append, Progress()
    )
    assert count == len(files) - 1
    assert [loaded.index for loaded in told if loaded.problem] == [2]


@pytest.mark.slow
def test_a_run_killed_while_it_encodes_is_finished_by_the_same_command(tmp_path, finished, graft):
    script = Path(sys.executable).parent / "graft"
    cache = tmp_path / "cache"
    settings = ["--model", finished, "--epochs", "2", "--views", "9"]
    arguments = ["train", "digits", *settings, "--out", tmp_path / "run"]
    (tmp_path / "sitecustomize.py").write_text(
        "import graft.features.cache as cache\ncache.SHARD_ROWS = 64\n"
    )
    environment = os.environ | {"GRAFT_CACHE": str(cache), "PYTHONPATH": str(tmp_path)}
    with subprocess.Popen(
        [script, *map(str, arguments)], env=environment, stderr=subprocess.DEVNULL
    ) as process:
        while process.poll() is None:
            if list((cache / "activations").rglob("*.safetensors")):
                break
            time.sleep(0.001)
        process.kill()
    assert process.returncode == -signal.SIGKILL, "it ended before it could be killed"
    left = [load_file(file) for file in (cache / "activations").rglob("*.safetensors")]
    assert sum(len(shard["digests"]) for shard in left) >= 64
    ended = graft(*arguments, GRAFT_CACHE=str(cache))
    assert ended.code == 0, ended.err
    whole = graft(*arguments[:-1], tmp_path / "whole", GRAFT_CACHE=str(tmp_path / "other"))
    assert whole.code == 0, whole.err
    for name in ("predictions.csv", "model.safetensors", "dataset.csv"):
        one, other = (tmp_path / run / name for run in ("run", "whole"))
        assert one.read_bytes() == other.read_bytes(), f"{name} of the two runs differs"
