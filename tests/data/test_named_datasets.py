import dataclasses
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graft.data import named_datasets
from graft.data.named_datasets import SAMPLES, materialize
from graft.errors import DataError, DownloadError, UsageError

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that a mirror serves."""
    folder = tmp_path / "published"
    folder.mkdir()
    handler = partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        monkeypatch.setenv("GRAFT_MIRROR", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield folder
        server.shutdown()
        thread.join()


def promise(monkeypatch: pytest.MonkeyPatch, name: str, archive: Path) -> None:
    """Make `archive` the one that the sample promises."""
    content = archive.read_bytes()
    sha256 = SAMPLES[name].sha256 and hashlib.sha256(content).hexdigest()
    changed = dataclasses.replace(SAMPLES[name], sha256=sha256, size=len(content))
    monkeypatch.setitem(SAMPLES, name, changed)


def png(color: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (color, 0, 0)).save(file, "png")
    return file.getvalue()


def pack(archive: Path, tree: dict[str, bytes]) -> Path:
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as opened:
            for name, content in tree.items():
                opened.writestr(name, content)
        return archive
    with tarfile.open(archive, "w:gz") as tar:
        for name, content in tree.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive


def cifar10(records: int) -> dict[str, bytes]:
    """The files of a small cifar10; the label of each record is its place modulo 10."""
    rng = np.random.default_rng(0)
    files = {"batches.meta.txt": ("\n".join(NAMES) + "\n\n").encode(), "readme.html": b"<html>"}
    for batch in (*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"):
        data = rng.integers(0, 256, (records, 3073), dtype=np.uint8)
        data[:, 0] = np.arange(records) % 10
        files[batch] = data.tobytes()
    return {f"cifar-10-batches-bin/{name}": content for name, content in files.items()}


def publish_cifar10(
    published: Path, monkeypatch: pytest.MonkeyPatch, tree: dict[str, bytes], records: int
) -> None:
    promise(monkeypatch, "cifar10", pack(published / "cifar-10-binary.tar.gz", tree))
    monkeypatch.setattr(named_datasets, "CIFAR10_RECORDS", records)


def files_in(folder: Path) -> list[str]:
    return sorted(f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file())


def test_every_sample_is_known_by_its_own_name_and_says_what_it_is() -> None:
    assert list(SAMPLES) == ["digits", "rendered_objects", "flowers", "cats_vs_dogs", "cifar10"]
    for name, sample in SAMPLES.items():
        assert sample.name == name
        assert sample.description
        assert sample.license
        assert sample.url.endswith(sample.archive_name)
        built_in = name in ("digits", "rendered_objects")
        assert bool(sample.url) == (not built_in) == bool(sample.size)
        if sample.sha256 is not None:
            assert len(bytes.fromhex(sample.sha256)) == 32


def test_digits_are_the_images_of_scikit_learn_as_png_files_made_once(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    folder = materialize("digits", tmp_path)
    assert folder == tmp_path / "digits"
    digits = load_digits()
    files = sorted(folder.rglob("*.png"), key=lambda file: file.name)
    assert [file.parent.name for file in files] == [str(label) for label in digits.target]
    for file, expected in list(zip(files, digits.images, strict=True))[::50]:
        with Image.open(file) as image:
            assert image.mode == "L"
            np.testing.assert_allclose(np.asarray(image), expected / 16 * 255, atol=0.5)
    assert list(tmp_path.iterdir()) == [folder]
    files[0].unlink()
    assert materialize("digits", tmp_path) == folder
    assert not files[0].exists()


@pytest.mark.parametrize(
    ("name", "meant"),
    [("flower", "flowers"), ("cats_and_dogs", "cats_vs_dogs"), ("cifar-10", "cifar10")],
)
def test_an_unknown_name_is_answered_with_the_one_that_was_meant(
    name: str, meant: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=f"got '{name}'; did you mean '{meant}'\\?"):
        materialize(name, tmp_path)


def test_an_unknown_name_like_no_other_is_answered_with_all(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        materialize("xyz", tmp_path)
    assert str(caught.value) == (
        "expected one of the datasets digits, rendered_objects, flowers, cats_vs_dogs, cifar10, "
        "got 'xyz'"
    )


@pytest.mark.parametrize(
    ("name", "inside", "images"),
    [
        ("flowers", "flower_photos", ["roses/1.jpg", "tulips/2.jpg"]),
        ("cats_vs_dogs", "cats_and_dogs_filtered", ["train/cats/1.jpg", "validation/dogs/2.jpg"]),
    ],
)
def test_photos_are_fetched_unpacked_and_the_folder_inside_is_returned(
    name: str,
    inside: str,
    images: list[str],
    published: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tree = {f"{inside}/{image}": png(index) for index, image in enumerate(images)}
    promise(monkeypatch, name, pack(published / SAMPLES[name].archive_name, tree))
    seen: list[tuple[int, int | None]] = []
    folder = materialize(name, tmp_path, on_progress=lambda *it: seen.append(it))
    assert folder == tmp_path / name / inside
    assert files_in(folder) == images
    assert seen[-1] == (SAMPLES[name].size, SAMPLES[name].size)
    # Once unpacked, nothing is asked of anybody.
    monkeypatch.setenv("GRAFT_MIRROR", "http://nobody.invalid/")
    (tmp_path / SAMPLES[name].archive_name).unlink()
    assert materialize(name, tmp_path) == folder


def test_an_archive_put_there_by_hand_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAFT_MIRROR", "http://nobody.invalid/")
    archive = pack(tmp_path / "flower_photos.tgz", {"flower_photos/roses/1.jpg": png(1)})
    promise(monkeypatch, "flowers", archive)
    assert files_in(materialize("flowers", tmp_path)) == ["roses/1.jpg"]


def test_the_checksum_holds_for_a_mirror_too(published: Path, tmp_path: Path) -> None:
    pack(published / "flower_photos.tgz", {"flower_photos/roses/1.jpg": png(1)})
    with pytest.raises(DownloadError, match=f"expected sha256 {SAMPLES['flowers'].sha256}, got"):
        materialize("flowers", tmp_path)
    assert not (tmp_path / "flowers").exists()


def test_an_address_given_by_the_caller_comes_before_the_mirror(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = {"flower_photos/roses/1.jpg": png(1)}
    promise(monkeypatch, "flowers", pack(published / "mine.tgz", tree))
    url = os.environ["GRAFT_MIRROR"] + "mine.tgz"
    monkeypatch.setenv("GRAFT_MIRROR", "http://nobody.invalid/")
    assert files_in(materialize("flowers", tmp_path, url=url)) == ["roses/1.jpg"]


def test_the_size_holds_where_there_is_no_checksum(published: Path, tmp_path: Path) -> None:
    pack(published / "cats_and_dogs_filtered.zip", {"cats_and_dogs_filtered/cats/1.jpg": png(1)})
    with pytest.raises(DownloadError, match="expected 68,606,236 bytes, got"):
        materialize("cats_vs_dogs", tmp_path)


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_sample_that_cannot_be_fetched_says_what_else_can_be_done(
    slash: str, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = os.environ["GRAFT_MIRROR"].rstrip("/")
    monkeypatch.setenv("GRAFT_MIRROR", mirror + slash)
    with pytest.raises(DownloadError) as caught:
        materialize("flowers", tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{mirror}/flower_photos.tgz could not be fetched (")
    assert f"put it at {tmp_path / 'flower_photos.tgz'}; " in message
    assert message.endswith(
        "set GRAFT_MIRROR to a place that has it, or use digits, which needs no download"
    )


def test_an_archive_without_the_promised_folder_is_named(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = {"other/roses/1.jpg": png(1)}
    promise(monkeypatch, "flowers", pack(published / "flower_photos.tgz", tree))
    with pytest.raises(DataError, match=r"expected the folder flower_photos in flower_photos\.tgz"):
        materialize("flowers", tmp_path)


def test_cifar10_becomes_png_files_by_split_and_class(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = cifar10(records=12)
    publish_cifar10(published, monkeypatch, tree, records=12)
    folder = materialize("cifar10", tmp_path)
    assert folder == tmp_path / "cifar10"
    found = Counter(file.rsplit("/", 1)[0] for file in files_in(folder))
    each = {name: 2 if name in NAMES[:2] else 1 for name in NAMES}
    assert found == {f"train/{name}": 5 * count for name, count in each.items()} | {
        f"test/{name}": count for name, count in each.items()
    }
    # The fourth record of the third batch: its pixels lie channel after channel, row after row.
    with Image.open(folder / "train" / "cat" / "00027.png") as image:
        record = tree["cifar-10-batches-bin/data_batch_3.bin"][3 * 3073 : 4 * 3073]
        assert (image.mode, image.size) == ("RGB", (32, 32))
        for x, y in ((0, 0), (31, 0), (5, 20)):
            at = 1 + 32 * y + x
            assert image.getpixel((x, y)) == (record[at], record[at + 1024], record[at + 2048])
    left = {file.name for file in tmp_path.iterdir()}
    assert left == {"published", "cifar10", "cifar-10-binary.tar.gz"}


def damaged(what: str) -> dict[str, bytes]:
    tree = cifar10(records=10)
    inside = "cifar-10-batches-bin"
    match what:
        case "short":
            tree[f"{inside}/data_batch_4.bin"] = tree[f"{inside}/data_batch_4.bin"][:-1]
        case "long":
            tree[f"{inside}/test_batch.bin"] += bytes(3073)
        case "label":
            tree[f"{inside}/data_batch_2.bin"] = b"\n" + tree[f"{inside}/data_batch_2.bin"][1:]
        case "no batch":
            del tree[f"{inside}/data_batch_5.bin"]
        case "no names":
            del tree[f"{inside}/batches.meta.txt"]
        case "nine names":
            tree[f"{inside}/batches.meta.txt"] = "\n".join(NAMES[:9]).encode()
        case "same names":
            tree[f"{inside}/batches.meta.txt"] = "\n".join(["cat", *NAMES[:9]]).encode()
        case "a path":
            tree[f"{inside}/batches.meta.txt"] = "\n".join(["../cat", *NAMES[:9]]).encode()
    return tree


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("short", r"expected 10 records of 3,073 bytes in data_batch_4\.bin, got 30,729 bytes"),
        ("long", r"expected 10 records of 3,073 bytes in test_batch\.bin, got 33,803 bytes"),
        ("label", r"expected labels 0 to 9 in data_batch_2\.bin, got 10"),
        ("no batch", r"expected data_batch_5\.bin in the archive of cifar10"),
        ("no names", r"expected batches\.meta\.txt in the archive of cifar10"),
        ("nine names", r"expected 10 different class names in batches\.meta\.txt"),
        ("same names", r"expected 10 different class names in batches\.meta\.txt"),
        ("a path", r"expected 10 different class names in batches\.meta\.txt"),
    ],
)
def test_a_malformed_cifar10_is_refused_and_leaves_no_folder(
    what: str, message: str, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_cifar10(published, monkeypatch, damaged(what), records=10)
    with pytest.raises(DataError, match=message):
        materialize("cifar10", tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"published", "cifar-10-binary.tar.gz"}


def test_naming_the_samples_loads_neither_torch_nor_scikit_learn_nor_an_http_client() -> None:
    loaded = (
        "import sys, graft.data.named_datasets\n"
        "print(sorted({'torch', 'sklearn', 'httpx2'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
