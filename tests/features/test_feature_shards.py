"""`graft features`: shards of a source, each one file, and the union of them."""

import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

import graft
from graft.data.feature_check import checked_status
from graft.data.feature_file import file_name, read_rows, read_view
from graft.data.feature_folder import JOB, folder_status, source_name
from graft.data.feature_listing import rows_of_folder
from graft.data.shard import Shard
from graft.data.sources import load_dataset
from graft.errors import DataError, UsageError

COUNT = 3


@pytest.fixture(scope="module")
def images(make_digits, tmp_path_factory):
    """36 digits and two files that are no images."""
    folder = make_digits(tmp_path_factory.mktemp("shards") / "digits", each=12)
    (folder / "0" / "empty.png").touch()
    (folder / "2" / "noise.png").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def job(images, finished, tmp_path_factory):
    """The images' features in three shards, two views, by the network of a run."""
    out = tmp_path_factory.mktemp("features") / "out"
    status = graft.extract_features(images, out, shards=COUNT, model=str(finished), views=2)
    return out, status


def copied(folder, target):
    shutil.copytree(folder, target)
    return target


def test_every_image_is_in_one_shard_with_what_is_wrong_with_it(job, images):
    out, status = job
    assert status.complete
    assert (status.images, status.problems) == (38, 2)
    rows = rows_of_folder(out)
    listed = load_dataset(images, out)
    assert [e.path for e in rows.dataset.examples] == [e.path for e in listed.examples]
    assert [e.label for e in rows.dataset.examples] == [e.label for e in listed.examples]
    bad = {rows.dataset.examples[n].path: told.kind for n, told in rows.problems.items()}
    assert bad == {"0/empty.png": "empty", "2/noise.png": "unreadable"}
    assert checked_status(out, str(images)) == status


def test_a_value_in_a_shard_is_that_of_the_cache_to_the_bit(job, images, finished):
    from graft.config import SplitConfig, TrainConfig
    from graft.features.backends import backend_of
    from graft.features.table import extract
    from graft.training.defaults import network, resolve
    from graft.training.plan import frozen_encoder
    from graft.utils.cache_folder import cache_folder
    from graft.utils.progress import Progress

    out, status = job
    asked = TrainConfig(model=str(finished), views=2)
    backbone = network(asked, cache_folder())
    config = resolve(asked, backbone)
    encoder = frozen_encoder(config, backbone, backend_of(backbone))
    assert encoder.engine == status.job["engine"]
    assert len(encoder.stores[0]) >= 36, "the same cache keys"
    table = extract(load_dataset(images, out), encoder, SplitConfig(), Progress())
    place = {e.path: n for n, e in enumerate(table.dataset.examples)}
    seen = [0, 0]
    for number in range(1, COUNT + 1):
        path = out / file_name(Shard(number, COUNT))
        examples = read_rows(path, out).examples
        for view in (0, 1):
            rows, features = read_view(path, view)
            own = [place[examples[n].path] for n in rows]
            if own:
                assert np.array_equal(features, table.activations(own, view).whole())
            seen[view] += len(own)
    assert seen[0] == 36
    assert 0 < seen[1] < 36, "only images of train have a second view"


def test_a_shard_that_is_there_is_skipped_and_a_broken_one_is_computed_again(
    job, images, finished, tmp_path
):
    out = copied(job[0], tmp_path / "out")
    first, second = (out / file_name(Shard(n, COUNT)) for n in (1, 2))
    whole = second.read_bytes()
    second.write_bytes(whole[:-1])
    before = first.stat().st_mtime_ns
    status = folder_status(out)
    assert list(status.broken) == [2]
    assert "bytes" in status.broken[2]
    with pytest.raises(DataError, match="2 of 3 shards are there, 2 missing or broken"):
        rows_of_folder(out)
    again = graft.extract_features(images, out, shards=COUNT, model=str(finished), views=2)
    assert again.complete
    assert second.read_bytes() == whole
    assert first.stat().st_mtime_ns == before


def test_what_was_unpacked_for_a_shard_is_removed(images, finished, tmp_path, monkeypatch):
    from graft.utils.cache_folder import sources_folder

    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))
    tars = tmp_path / "tars"
    tars.mkdir()
    for number in range(2):
        with tarfile.open(tars / f"train-{number}.tar", "w") as made:
            for label in "012":
                file = sorted((images / label).glob("*.png"))[number]
                made.add(file, f"{number}{label}.png")
                (tmp_path / "label").write_text(label)
                made.add(tmp_path / "label", f"{number}{label}.cls")
    out = tmp_path / "out"
    status = graft.extract_features(tars, out, shards=2, model=str(finished))
    assert (status.complete, status.images) == (True, 6)
    assert not list(sources_folder().rglob("*.png"))
    assert len(list(tars.iterdir())) == 2


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"shards": 4}, "shards 3, not 4"), ({"views": 1}, "views 2, not 1"), ({"seed": 7}, "seed")],
)
def test_the_folder_of_another_job_is_refused(job, images, finished, settings, said):
    before = sorted(file.stat().st_mtime_ns for file in job[0].iterdir())
    asked = {"shards": COUNT, "model": str(finished), "views": 2} | settings
    with pytest.raises(UsageError, match=f"features of another job: .*{said}"):
        graft.extract_features(images, job[0], **asked)
    assert sorted(file.stat().st_mtime_ns for file in job[0].iterdir()) == before


def test_a_folder_of_other_files_is_not_written_to(images, finished, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="holds other files"):
        graft.extract_features(images, tmp_path, model=str(finished))
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_shard_without_images_is_a_file_without_rows(images, finished, tmp_path):
    many = 997
    paths = [e.path for e in load_dataset(images, tmp_path).examples]
    empty = next(
        shard
        for shard in (Shard(n, many) for n in range(1, many))
        if not any(shard.takes(path) for path in paths)
    )
    status = graft.extract_features(images, tmp_path / "out", shard=str(empty), model=str(finished))
    assert list(status.done) == [empty.number]
    assert status.images == 0
    assert len(status.missing) == many - 1
    rows, features = read_view(tmp_path / "out" / file_name(empty), 0)
    assert (len(rows), len(features)) == (0, 0)


def test_images_that_cannot_be_read_at_all_are_no_result(finished, tmp_path, make_digits):
    images = make_digits(tmp_path / "gone", each=5)
    listed = load_dataset(images, tmp_path)
    table = "".join(f"{e.file},{e.label}\n" for e in listed.examples)
    (tmp_path / "table.csv").write_text(f"image,label\n{table}")
    for example in listed.examples:
        example.file.unlink()
        example.file.symlink_to("/nowhere/else")
    source = tmp_path / "table.csv"
    with pytest.raises(DataError):
        graft.extract_features(source, tmp_path / "out", model=str(finished))


def test_a_source_that_changed_is_noticed(job, images, tmp_path):
    changed = copied(images, tmp_path / "digits")
    (changed / "1" / "new.png").write_bytes(next((changed / "1").iterdir()).read_bytes())
    with pytest.raises(DataError, match=r"1 images of the source are in no shard .*1/new\.png"):
        checked_status(job[0], str(changed))


def test_a_job_names_its_source_without_a_secret():
    assert source_name("s3://key:secret@bucket/a/b/?sig=abc#x") == "s3://bucket/a/b"
    assert source_name("photos/") == "photos"
    assert source_name(Path("/")) == "/"


def test_a_network_without_features_yet_is_refused(images, tmp_path):
    with pytest.raises(UsageError, match="has no features yet"):
        graft.extract_features(images, tmp_path / "out", model="base_cnn")
    assert not (tmp_path / "out").exists()


def test_the_status_of_a_folder_is_told_without_pytorch(job):
    code = (
        "import sys; sys.argv[1:] = ['features', '--status', sys.argv[1], '--json']\n"
        "from graft.cli.main import run\nrun()\n"
        "assert not {'torch', 'ray'} & set(sys.modules), 'slow to import'"
    )
    done = subprocess.run([sys.executable, "-c", code, str(job[0])], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["complete"] is True
    assert (told["images"], told["problems"], told["shards"]) == (38, 2, COUNT)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("x", "expected SOURCE and --out"),
        ("x --out y --shard 0/3", "--shard: expected I/N with I from 1 to N"),
        ("x --out y --shard 3", "expected I/N, such as 3/100"),
        ("x --out y --task-gpus 1", "--task-gpus is for the tasks of --cluster"),
        ("x --out y --shard 1/3 --cluster local", "--cluster runs all shards"),
        ("--status y --out z", "--status only looks"),
        ("--status nowhere", f"which has a {JOB} in it"),
    ],
)
def test_a_slip_is_told_in_one_line(graft_here, words, said):
    ended = graft_here("features", *words.split())
    assert (ended.code, ended.out) == (2, ""), ended
    assert said in ended.err
    assert ended.err.count("\n") == 1
