"""One pass over the files: what a table knows of each image, with and without an encoder."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from graft.config import SplitConfig
from graft.data.fingerprint import fingerprint
from graft.data.sources import load_dataset
from graft.data.split import expected_split
from graft.features.backends import LazyBackend
from graft.features.cached_encoder import CachedEncoder
from graft.features.table import extract, read_table
from graft.models.backbone import scratch
from graft.models.halves import split_backbone
from graft.models.split_point import find_split_point
from graft.models.weights import find_backbone
from graft.utils.progress import Progress

SPLIT = SplitConfig(seed=3)
EVERY_THIRD = range(2, 38, 3)


@pytest.fixture(scope="module")
def dataset(make_digits, tmp_path_factory):
    """36 digits, an empty file and one of noise: readable are 36 of 38."""
    folder = make_digits(tmp_path_factory.mktemp("table") / "digits", each=12)
    (folder / "0" / "empty.png").touch()
    (folder / "2" / "noise.png").write_bytes(b"no image")
    return load_dataset(folder, tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def backbone(finished, tmp_path_factory):
    return find_backbone(str(finished), tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def extracted(dataset, backbone, tmp_path_factory):
    """The table with a frozen encoder of two views."""
    cache = tmp_path_factory.mktemp("cache")
    encoder = CachedEncoder(cache, backbone, LazyBackend(backbone.build, "torch"), 2)
    return extract(dataset, encoder, SPLIT, Progress())


def test_a_table_knows_every_files_digest_and_which_cannot_be_used(dataset, extracted):
    for table in (extracted, read_table(dataset, Progress())):
        digests = [hashlib.sha256(e.file.read_bytes()).digest() for e in dataset.examples]
        bad = {n for n, e in enumerate(dataset.examples) if e.file.stem in ("empty", "noise")}
        assert len(table) == 38
        assert table.readable() == [n for n in range(38) if n not in bad]
        assert {table.problems[n].kind for n in bad} == {"empty", "unreadable"}
        assert [table.digest(n) for n in table.readable()] == [digests[n] for n in table.readable()]


def test_a_selection_keeps_the_rows_that_it_names_in_their_order(dataset, extracted):
    rows = list(reversed(EVERY_THIRD))
    for table in (extracted, read_table(dataset, Progress())):
        chosen = table.select(rows)
        assert [e.path for e in chosen.dataset.examples] == [dataset.examples[n].path for n in rows]
        assert chosen.digests == [table.digests[n] for n in rows]
        readable = chosen.readable()
        assert [rows[n] for n in readable] == [n for n in rows if n not in table.problems]
        expected = table.fingerprints([rows[n] for n in readable])
        assert np.array_equal(chosen.fingerprints(readable), expected)


def test_fingerprints_are_those_of_the_files_with_and_without_an_encoder(dataset, extracted):
    rows = extracted.readable()[:5]
    expected = []
    for n in rows:
        file = dataset.examples[n].file
        expected.append(fingerprint(file.read_bytes(), Image.open(file).convert("RGB")).tobytes())
    for table in (extracted, read_table(dataset, Progress())):
        assert [row.tobytes() for row in table.fingerprints(rows)] == expected
        assert len(table.fingerprints([])) == 0


def test_images_that_their_content_puts_into_train_get_all_views(dataset, extracted):
    seen = set()
    for n in extracted.readable():
        split = expected_split(SPLIT.seed, dataset.examples[n], extracted.digest(n))
        views = [0, 1] if split == "train" else [0]
        assert extracted.encoder.has_views(extracted.digest(n), views)
        assert extracted.encoder.has_views(extracted.digest(n), [1]) == (split == "train")
        seen.add(split)
    assert seen == {"train", "val", "test"}


def test_missing_views_are_computed_where_an_image_came_to_train_after_all(
    dataset, backbone, tmp_path
):
    def table(views_from):
        encoder = CachedEncoder(
            tmp_path / views_from, backbone, LazyBackend(backbone.build, "torch"), 2
        )
        # By time no image's split is known beforehand: the plain view alone is made.
        return extract(dataset, encoder, SplitConfig(time_by="exif"), Progress())

    late = table("late")
    rows = late.readable()
    with pytest.raises(KeyError):
        late.activations(rows, 1)
    late.complete(rows, range(2), Progress())
    views = [late.activations(rows, view).whole() for view in (0, 1)]
    assert not np.array_equal(*views)
    late.encoder.backend = None  # nothing is computed twice
    late.complete(rows, range(2), Progress())
    assert np.array_equal(late.activations(rows, 1).whole(), views[1])


def test_features_at_a_split_point_are_those_of_the_whole_encoder(
    dataset, backbone, extracted, tmp_path
):
    cut = find_split_point(backbone.build(), "1")
    prefix = LazyBackend(lambda: split_backbone(backbone, cut)[0], "torch")
    size = int(np.prod(cut.shape))
    encoder = CachedEncoder(tmp_path, backbone, prefix, 1, cut=cut.unit, cut_size=size)
    table = extract(dataset, encoder, SPLIT, Progress())
    rows = table.readable()
    assert table.activations(rows).shape == (size + backbone.features,)
    found, expected = table.features(rows), extracted.features(rows)
    assert found.shape == (backbone.features,)
    np.testing.assert_allclose(found.whole(), expected.whole(), atol=2e-3)


def test_pixels_are_activations_and_no_features(dataset, tmp_path):
    table = extract(
        dataset, CachedEncoder(tmp_path, scratch(image_size=8), None, 1), SPLIT, Progress()
    )
    rows = table.readable()[:4]
    pixels = table.activations(rows).whole()
    for row, image in zip(rows, pixels, strict=True):
        expected = Image.open(dataset.examples[row].file).convert("RGB")
        assert np.array_equal(image, np.asarray(expected))
    assert table.features(rows) is None
    read = read_table(dataset, Progress())
    assert read.features(rows) is None
    with pytest.raises(ValueError, match="without an encoder"):
        read.activations(rows)


def test_reading_and_checking_import_no_torch(dataset):
    program = """
import sys
from pathlib import Path
from graft.data.sources import load_dataset
from graft.features.table import read_table
from graft.runs.run import Run
from graft.utils.progress import Progress
table = read_table(load_dataset(sys.argv[1], Path("none")), Progress())
print(len(table.readable()), "torch" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, dataset.source], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["36", "False"]
