"""Sources on web servers and on the Hub: real servers on this machine."""

import json
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from store_servers import FolderServer, Hub, served

from graft.data.shard import Shard
from graft.data.sources import load_dataset
from graft.data.unlabeled import images_of
from graft.errors import DownloadError, UsageError

pytest.importorskip("aiohttp", reason="needs the extra graft[cloud]")
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
SECRET = "tOpSeCrEt"


@pytest.fixture
def photos(tmp_path: Path, make_digits: Any) -> Path:
    folder: Path = make_digits(tmp_path / "photos", "01", 6)
    (folder / "a b & ü").mkdir()
    shutil.copy(next((folder / "0").iterdir()), folder / "a b & ü" / "100%.png")
    (folder / ".hidden").mkdir()
    (folder / "README.txt").write_text("words")
    return folder


@pytest.fixture
def server(photos: Path) -> Iterator[FolderServer]:
    with served(photos.parent) as running:
        yield running


def test_a_folder_of_a_web_server_is_the_folder(
    photos: Path, server: FolderServer, tmp_path: Path
) -> None:
    here = load_dataset(photos, tmp_path / "cache")
    there = load_dataset(f"{server.url}/photos", tmp_path / "cache")
    assert [(e.path, e.label, e.file.read_bytes()) for e in there.examples] == [
        (e.path, e.label, e.file.read_bytes()) for e in here.examples
    ]
    assert there.left_out == here.left_out
    assert not [path for path in server.asked if "README" in path or "hidden" in path]


def test_what_is_there_is_not_fetched_again_and_what_changed_is(
    photos: Path, server: FolderServer, tmp_path: Path
) -> None:
    source = f"{server.url}/photos"
    load_dataset(source, tmp_path / "cache")
    assert len(server.fetched()) == 13
    server.asked.clear()
    load_dataset(source, tmp_path / "cache")
    assert not server.fetched()
    changed = photos / "0" / sorted(file.name for file in (photos / "0").iterdir())[0]
    shutil.copy(photos / "1" / sorted(f.name for f in (photos / "1").iterdir())[0], changed)
    found = load_dataset(source, tmp_path / "cache")
    assert server.fetched() == [f"/photos/0/{changed.name}"]
    assert found.examples[0].file.read_bytes() == changed.read_bytes()


def test_work_that_was_refused_in_the_middle_resumes(
    photos: Path, server: FolderServer, tmp_path: Path
) -> None:
    last = sorted(file.name for file in (photos / "1").iterdir())[-1]
    server.refused = {f"/photos/1/{last}"}
    with pytest.raises(DownloadError, match="no access"):
        load_dataset(f"{server.url}/photos", tmp_path / "cache")
    before = len(server.fetched())
    server.refused = set()
    server.asked.clear()
    assert len(load_dataset(f"{server.url}/photos", tmp_path / "cache").examples) == 13
    assert 1 <= len(server.fetched()) <= 14 - (before - 1)
    assert not list((tmp_path / "cache").rglob(".fetching-*"))


def test_a_worker_fetches_its_own_images_alone(server: FolderServer, tmp_path: Path) -> None:
    seen: list[str] = []
    for number in (1, 2, 3):
        server.asked.clear()
        shard = Shard(number, 3)
        part = load_dataset(f"{server.url}/photos", tmp_path / str(number), shard=shard)
        assert len(server.fetched()) == len(part.examples)
        seen += [example.path for example in part.examples]
    assert len(seen) == len(set(seen)) == 13


def test_a_table_of_relative_names_and_addresses(
    photos: Path, server: FolderServer, tmp_path: Path
) -> None:
    names = sorted(file.name for file in (photos / "0").iterdir())
    rows = [f"photos/0/{names[0]},zero", f"photos/0/{names[1]},zero", "photos/none.png,zero"]
    rows += [f"{server.url}/photos/0/{names[2]}?sig={SECRET},zero", "photos/a b & ü/100%.png,odd"]
    (photos.parent / "table.csv").write_text("image,label\n" + "\n".join(rows))
    found = load_dataset(f"{server.url}/table.csv", tmp_path / "cache")
    assert [example.path for example in found.examples] == [
        f"{server.url}/photos/0/{names[2]}",
        f"photos/0/{names[0]}",
        f"photos/0/{names[1]}",
        "photos/a b & ü/100%.png",
    ]
    assert found.left_out == {"missing": ("photos/none.png",)}
    assert found.lost == {"zero": 1}
    local = tmp_path / "local.csv"
    local.write_text(f"image,label\n{server.url}/photos/0/{names[2]}?sig={SECRET},zero\n")
    (only,) = load_dataset(local, tmp_path / "cache").examples
    assert only.file.read_bytes() == (photos / "0" / names[2]).read_bytes()


def test_an_archive_is_fetched_and_unpacked(
    photos: Path, server: FolderServer, tmp_path: Path
) -> None:
    shutil.make_archive(str(photos.parent / "all"), "gztar", photos)
    found = load_dataset(f"{server.url}/all.tar.gz", tmp_path / "cache")
    assert found.counts == {"0": 6, "1": 6, "a b & ü": 1}


def test_images_without_labels_are_fetched_as_they_are_needed(
    server: FolderServer, tmp_path: Path
) -> None:
    names = [name for name, _ in images_of(f"{server.url}/photos/0", tmp_path / "cache")]
    assert len(names) == 6
    assert all(name.startswith(f"{server.url}/photos/0/") for name in names)
    ((name, file),) = images_of(names[2], tmp_path / "cache")
    assert name == names[2]
    assert file.is_file()


def silent() -> socket.socket:
    """A server that takes connections and says nothing."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(8)
    return listening


@pytest.mark.parametrize(
    ("address", "error", "said"),
    [
        ("http://127.0.0.1:1/x", DownloadError, "no connection to its server"),
        ("https://nobody.invalid/x", DownloadError, "cannot be resolved"),
        ("SERVER/none", UsageError, "no such folder or file"),
        ("SERVER/none.csv", UsageError, "no such folder or file"),
        ("ftp://server/x", UsageError, "begins with one of s3://"),
        ("s3://user:pass@bucket/x", UsageError, "does not take; give them by the environment"),
        ("az://container/x?sv=1&sig=2", UsageError, "does not take; give them by the environment"),
    ],
)
def test_what_cannot_be_reached_is_one_clear_line(
    address: str, error: type[Exception], said: str, server: FolderServer, tmp_path: Path
) -> None:
    with pytest.raises(error, match=said) as raised:
        load_dataset(address.replace("SERVER", server.url), tmp_path)
    assert "\n" not in str(raised.value)
    assert not any(word in str(raised.value) for word in ("pass@", "sig=2"))
    assert raised.value.__cause__ is None


def test_a_server_that_says_nothing_is_given_up_within_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graft.data.remote_store.FIRST_ANSWER", 0.5)
    began = time.monotonic()
    with (
        silent() as listening,
        pytest.raises(DownloadError, match="does not answer in time"),
    ):
        load_dataset(f"http://127.0.0.1:{listening.getsockname()[1]}/x", tmp_path)
    assert time.monotonic() - began < 10


def test_a_missing_package_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from graft.errors import ModelError

    monkeypatch.setitem(__import__("sys").modules, "gcsfs", None)
    with pytest.raises(ModelError, match=r"gs:// needs gcsfs.*pip install 'graft\[cloud\]'"):
        load_dataset("gs://bucket/x", tmp_path)


@pytest.mark.parametrize("way", ["password", pytest.param("signature", marks=pytest.mark.slow)])
def test_no_secret_of_an_address_stands_in_anything_that_graft_writes_or_says(
    way: str,
    make_digits: Any,
    graft_here: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_digits(tmp_path / "store" / "photos", "012", 40)
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    said = ""
    with served(tmp_path / "store") as server:
        source = f"{server.url}/photos"
        if way == "password":
            server.password = f"me:{SECRET}"
            source = source.replace("://", f"://me:{SECRET}@")
        else:
            server.signature = SECRET
            source += f"?sv=2026&sig={SECRET}"
        small = ["--model", "base_cnn", "--image-size", "16", "--epochs", "1", "--views", "1"]
        new = source.replace("/photos", "/photos/0")
        commands = [
            ["check", source, "--json", "--html", "page.html"],
            ["train", source, *small],
            [
                "predict",
                "runs/photos-base_cnn",
                new,
                "--csv",
                "p.csv",
                "--html",
                "p.html",
            ],
            ["evaluate", "runs/photos-base_cnn", source],
            ["check", source.replace(SECRET, "wr0ng" + SECRET)],
            ["check", source.replace("/photos", "/none"), "--json"],
        ]
        codes = []
        for command in commands:
            ended = graft_here(*command)
            codes.append(ended.code)
            said += ended.out + ended.err
    assert codes == [0, 0, 0, 0, 5, 2], said
    assert SECRET not in said
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) > 130
    for file in files:
        assert SECRET not in str(file)
        assert SECRET.encode() not in file.read_bytes(), file
    config = json.loads((tmp_path / "runs" / "photos-base_cnn" / "config.json").read_text())
    assert config["source"] == f"{server.url}/photos"


@pytest.mark.slow
def test_a_data_set_of_the_hub_is_read_with_its_tables(
    make_digits: Any, graft: Any, tmp_path: Path
) -> None:
    make_digits(tmp_path / "repo" / "photos", "01", 4)
    with served(tmp_path / "repo", Hub) as server:
        there = {
            "HF_ENDPOINT": server.url,
            "GRAFT_CACHE": str(tmp_path / "cache"),
            "HF_TOKEN": f"hf_{SECRET}",
            "HF_HOME": str(tmp_path / "hf"),
        }
        ended = graft("check", "hf://datasets/owner/name/photos", "--json", **there)
        assert json.loads(ended.out)["classes"] == {"0": 4, "1": 4}, ended.err
        assert len([path for path in server.asked if "tree" in path]) <= 8
        again = graft("check", "hf://datasets/owner/other", "--json", **there)
    assert again.code == 2
    assert "no such repository" in again.err
    assert SECRET not in ended.out + ended.err + again.out + again.err
    found = list((tmp_path / "cache").rglob("*.png"))
    assert len(found) == 8
