"""What the cache may and may not reuse, told by what a frozen encoder computes."""

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from graft.data.augmentation import Augmentation
from graft.data.decode import UnusableImageError
from graft.features import backends
from graft.features.backends import LazyBackend, choose
from graft.features.cached_encoder import CachedEncoder
from graft.models.backbone import scratch
from graft.models.weights import find_backbone
from graft.utils.progress import Progress

BACKEND = "torch"


def encoder(cache, backbone, views=1, flip=True):
    backend = None if backbone.weights is None else LazyBackend(backbone.build, BACKEND)
    return CachedEncoder(cache, backbone, backend, views, Augmentation(flip=flip))


def computed(encoder, files, views=(0,)):
    """How many activations are computed for the files, and the files' digests."""
    digests, before = {}, sum(map(len, encoder.stores))

    def note(loaded):
        digests[loaded.index] = loaded.digest

    encoder.compute(files, lambda index, digest: views, note, Progress())
    count = sum(map(len, encoder.stores)) - before
    # `from_cache` says whether any was there: all of these files are different.
    assert encoder.from_cache == (count < len(files) * len(views))
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
    first = encoder(tmp_path / "cache", backbone)
    count, digests = computed(first, files)
    assert count == len(files) == 36
    second = encoder(tmp_path / "cache", backbone)
    assert computed(second, files) == (0, digests)
    assert second.backend is None or second.backend.ready is None
    rows = np.arange(len(files))
    assert np.array_equal(first.gather(digests)[rows], second.gather(digests)[rows])


def test_features_are_kept_under_the_name_of_the_backend_that_made_them(
    tmp_path, files, finished, monkeypatch
):
    backbone = find_backbone(str(finished), tmp_path / "cache")
    monkeypatch.setattr(backends, "openvino_submit", lambda *_: 1 / 0)

    def fallen_back():
        return CachedEncoder(tmp_path / "cache", backbone, LazyBackend(backbone.build), 1)

    first = fallen_back()
    assert choose().startswith("openvino")
    assert computed(first, files)[0] == len(files)
    assert first.backend.name == choose("torch")
    assert "division by zero" in first.backend.ready.note
    assert computed(fallen_back(), files)[0] == 0
    named = CachedEncoder(tmp_path / "cache", backbone, LazyBackend(backbone.build, "torch"), 1)
    assert computed(named, files)[0] == 0


def test_a_image_that_is_kept_is_hashed_and_not_decoded(tmp_path, files, monkeypatch):
    computed(encoder(tmp_path / "cache", scratch(image_size=16)), files)

    def decoded(*arguments):
        raise UnusableImageError("unreadable", "must not be decoded")

    monkeypatch.setattr("graft.data.reader.decoded", decoded)
    assert computed(encoder(tmp_path / "cache", scratch(image_size=16)), files)[0] == 0


def test_a_grown_folder_costs_the_new_files_only(tmp_path, files, backbone, make_digits):
    computed(encoder(tmp_path / "cache", backbone), files)
    grown = make_digits(tmp_path / "images", "9", each=5)
    count, _ = computed(encoder(tmp_path / "cache", backbone), sorted(grown.rglob("*.png")))
    assert count == 5


def test_renamed_and_copied_files_cost_nothing(tmp_path, files, backbone):
    computed(encoder(tmp_path / "cache", backbone), files)
    moved = shutil.copytree(tmp_path / "images", tmp_path / "elsewhere")
    renamed = [file.rename(file.with_name(f"new-{file.name}")) for file in moved.rglob("*.png")]
    assert computed(encoder(tmp_path / "cache", backbone), renamed)[0] == 0


def test_changed_bytes_miss(tmp_path, files, backbone):
    store = encoder(tmp_path / "cache", backbone)
    _, before = computed(store, files)
    old = store.gather(before)[np.array([3])]
    status = files[3].stat()
    pixels = np.asarray(Image.open(files[3]))
    Image.fromarray(255 - pixels).save(files[3])
    os.utime(files[3], (status.st_atime, status.st_mtime))  # a date tells nothing
    again = encoder(tmp_path / "cache", backbone)
    count, after = computed(again, files)
    assert count == 1
    assert not np.array_equal(again.gather(after)[np.array([3])], old)


def changed_run(run, folder, weights=None, preprocess=None):
    """A copy of a run with one weight or the preprocessing changed."""
    shutil.copytree(run, folder)
    (folder / "digests.json").unlink()  # as docs/run-folder.md says to those who edit a run
    if weights:
        state = load_file(folder / "model.safetensors")
        key = next(key for key in state if key.startswith("encoder.") and state[key].ndim == 4)
        state[key] = state[key].copy()
        state[key].flat[0] += weights
        save_file(state, folder / "model.safetensors")
    if preprocess:
        stored = json.loads((folder / "model.json").read_text())
        stored["backbone"]["preprocess"] |= preprocess
        stored["preprocess"] |= preprocess
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
    computed(encoder(cache, find_backbone(str(finished), cache)), files)
    assert computed(encoder(cache, same), files)[0] == 0, "a copied run is the same encoder"
    assert computed(encoder(cache, other), files)[0] == len(files)


@pytest.mark.parametrize(
    "change", [{"height": 24, "width": 24}, {"interpolation": "bilinear"}, {"crop": 0.5}]
)
def test_other_preprocessing_of_plain_pixels_misses(tmp_path, files, change):
    plain = scratch(image_size=16)
    computed(encoder(tmp_path / "cache", plain), files)
    other = replace(plain, preprocess=replace(plain.preprocess, **change))
    assert computed(encoder(tmp_path / "cache", other), files)[0] == len(files)
    assert computed(encoder(tmp_path / "cache", plain), files)[0] == 0


def test_another_backend_misses(tmp_path, files, finished):
    cache = tmp_path / "cache"
    backbone = find_backbone(str(finished), cache)
    computed(encoder(cache, backbone), files)
    # PyTorch's fastest precision is float32 itself on some machines, so OpenVINO is the other.
    other = CachedEncoder(cache, backbone, LazyBackend(backbone.build, "openvino"), 1)
    assert computed(other, files)[0] == len(files)


def test_another_view_misses_and_is_another_image(tmp_path, files):
    cache, backbone = tmp_path / "cache", scratch(image_size=16)
    assert computed(encoder(cache, backbone, views=2), files, (0, 1))[0] == 2 * len(files)
    assert computed(encoder(cache, backbone, views=3), files, (0, 1, 2))[0] == len(files)
    mirrored = encoder(cache, backbone, views=2)
    straight = encoder(cache, backbone, views=2, flip=False)
    count, digests = computed(straight, files, (0, 1))
    assert count == len(files), "views that may not be mirrored are others, the plain one is not"
    rows = np.arange(len(files))
    assert not np.array_equal(mirrored.gather(digests)[rows], mirrored.gather(digests, 1)[rows])
    assert not np.array_equal(mirrored.gather(digests, 1)[rows], straight.gather(digests, 1)[rows])


def test_a_damaged_shard_is_computed_again(tmp_path, files, backbone):
    first = encoder(tmp_path / "cache", backbone)
    _, digests = computed(first, files)
    rows = np.arange(len(files))
    right = first.gather(digests)[rows]
    (shard,) = first.stores[0].folder.glob("*.safetensors")
    data = shard.read_bytes()
    shard.unlink()  # the first run has it mapped; a crash would have left a new, shorter file
    shard.write_bytes(data[: len(data) // 2])
    again = encoder(tmp_path / "cache", backbone)
    assert computed(again, files)[0] == len(files)
    assert np.array_equal(again.gather(digests)[rows], right)


def test_an_unusable_image_is_told_and_not_kept(tmp_path, files, backbone):
    files[2].write_bytes(b"no image")
    told = []
    store = encoder(tmp_path / "cache", backbone)
    store.compute(files, lambda index, digest: (0,), told.append, Progress())
    assert len(store.stores[0]) == len(files) - 1
    assert [loaded.index for loaded in told if loaded.problem] == [2]
