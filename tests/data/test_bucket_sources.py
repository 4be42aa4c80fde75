"""Sources in buckets, by s3fs against moto's server on this machine."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from graft.data.fetched import at_hand, remove_fetched
from graft.data.shard import Shard
from graft.data.sources import load_dataset
from graft.errors import DownloadError, UsageError

pytest.importorskip("s3fs", reason="needs the extra graft[cloud]")
moto_server = pytest.importorskip("moto.server", reason="needs moto's server")
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
SECRET = "tOpSeCrEt"


@pytest.fixture(scope="module")
def store() -> Iterator[Any]:
    """A client of an S3 server, which the environment names to everybody."""
    import boto3

    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        client = boto3.client("s3")
        client.create_bucket(Bucket="bucket")
        yield client
    server.stop()


@pytest.fixture
def photos(store: Any, make_digits: Any, tmp_path: Path, request: Any) -> tuple[str, Path]:
    """A prefix of the bucket, new for each test, and the same folder here."""
    folder: Path = make_digits(tmp_path / "photos", "01", 8)
    prefix = request.node.name.split("[")[0]
    for file in folder.rglob("*.png"):
        key = f"{prefix}/{file.relative_to(folder).as_posix()}"
        store.put_object(Bucket="bucket", Key=key, Body=file.read_bytes())
    return f"s3://bucket/{prefix}", folder


def put(store: Any, address: str, data: bytes) -> None:
    bucket, _, key = address.removeprefix("s3://").partition("/")
    store.put_object(Bucket=bucket, Key=key, Body=data)


def test_a_folder_of_a_bucket_is_the_folder(
    photos: tuple[str, Path], store: Any, tmp_path: Path
) -> None:
    source, folder = photos
    put(store, f"{source}/", b"")  # what some programs write for a folder
    put(store, f"{source}/notes.txt", b"words")
    put(store, f"{source}/0/why?#&%20 ü.png", next(folder.rglob("*.png")).read_bytes())
    (folder / "notes.txt").write_text("words")
    (folder / "0" / "why?#&%20 ü.png").write_bytes(next(folder.rglob("*.png")).read_bytes())
    here = load_dataset(folder, tmp_path / "cache")
    there = load_dataset(source, tmp_path / "cache")
    assert [(e.path, e.label, e.file.read_bytes()) for e in there.examples] == [
        (e.path, e.label, e.file.read_bytes()) for e in here.examples
    ]
    assert there.left_out == here.left_out
    assert at_hand(source, tmp_path / "cache") == {e.path: e.file for e in there.examples}


def test_what_is_there_stays_and_what_is_damaged_or_other_is_fetched(
    photos: tuple[str, Path], store: Any, tmp_path: Path
) -> None:
    source, folder = photos
    first = load_dataset(source, tmp_path / "cache").examples
    times = {e.path: e.file.stat().st_mtime_ns for e in first}
    first[0].file.write_bytes(b"cut")
    other = next((folder / "1").iterdir()).read_bytes() + b"more"
    put(store, f"{source}/{first[1].path}", other)
    second = load_dataset(source, tmp_path / "cache").examples
    assert second[0].file.read_bytes() == (folder / first[0].path).read_bytes()
    assert second[1].file.read_bytes() == other
    assert [e.file for e in second[2:]] == [e.file for e in first[2:]]
    assert all(e.file.stat().st_mtime_ns == times[e.path] for e in second[2:])


@pytest.mark.slow
def test_each_image_goes_to_one_worker_and_its_folder_is_listed_by_pages(
    store: Any, tmp_path: Path
) -> None:
    for number in range(1100):  # a page has 1,000
        put(store, f"s3://bucket/many/{number % 2}/{number:05d}.png", b"%d" % number)
    seen: list[str] = []
    for number in (7, 11):
        part = load_dataset("s3://bucket/many", tmp_path, shard=Shard(number, 16)).examples
        assert {int(e.file.read_bytes()) for e in part} == {int(Path(e.path).stem) for e in part}
        assert {example.label for example in part} == {"0", "1"}
        assert 40 < len(part) < 100
        seen += [example.path for example in part]
        assert len(list(tmp_path.rglob("*.png"))) == len(part)
        remove_fetched([example.file for example in part], tmp_path)
        assert not list(tmp_path.rglob("*.png"))
    assert len(seen) == len(set(seen))


def test_tars_and_parquet_of_a_bucket_are_read_as_here(
    photos: tuple[str, Path], store: Any, tmp_path: Path
) -> None:
    from test_shard_files import write
    from test_tar_shards import samples, write_tar

    source, _ = photos
    for number in range(3):
        file = write_tar(tmp_path / "t" / f"train-{number:03d}.tar", samples(4, 4 * number))
        put(store, f"{source}-t/{file.name}", file.read_bytes())
        file = write(tmp_path / "p" / f"train-0000{number}-of-00003.parquet", 5 * number, 5)
        put(store, f"{source}-p/data/{file.name}", file.read_bytes())
    put(store, f"{source}-t/train-001.tar", b"")
    found = load_dataset(f"{source}-t", tmp_path / "cache")
    assert [e.path for e in found.examples] == [
        f"train-{n // 4:03d}.tar/{n:06d}.png" for n in (0, 1, 2, 3, 8, 9, 10, 11)
    ]
    assert found.left_out["bad_shard"][0].startswith("train-001.tar (is damaged or cut short")
    braces = load_dataset(f"{source}-t/train-{{002..003}}.tar", tmp_path / "cache")
    assert len(braces.examples) == 4
    assert braces.left_out == {"bad_shard": ("train-003.tar (not there)",)}
    tables = load_dataset(f"{source}-p", tmp_path / "cache")
    assert tables.counts == {"daisy": 5, "rose": 5, "tulip": 5}
    assert not list((tmp_path / "cache" / "remote").rglob("*.tar/*.tar"))
    parts = [
        load_dataset(f"{source}-p", tmp_path / f"c{n}", shard=Shard(n, 2)).examples for n in (1, 2)
    ]
    assert sorted(e.path for part in parts for e in part) == [e.path for e in tables.examples]
    for n, part in enumerate(parts, 1):
        remove_fetched([example.file for example in part], tmp_path / f"c{n}")
        assert not [f for f in (tmp_path / f"c{n}").rglob("*") if f.is_file()]


def test_the_commands_take_a_bucket_and_tell_no_key(
    store: Any, make_digits: Any, graft_here: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_digits(tmp_path / "photos", "012", 40)
    for file in folder.rglob("*.png"):
        put(store, f"s3://bucket/digits/{file.relative_to(folder)}", file.read_bytes())
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    small = ["--model", "base_cnn", "--image-size", "16", "--epochs", "1", "--views", "1"]
    checked = graft_here("check", "s3://bucket/digits", "--json")
    trained = graft_here("train", "s3://bucket/digits", *small, "--json")
    told = graft_here("predict", "runs/digits-base_cnn", "s3://bucket/digits/1", "--json")
    failed = graft_here("check", "s3://nowhere-at-all/digits", "--json")
    assert json.loads(checked.out)["images"] == 120, checked.err
    assert trained.code == 0, trained.err
    lines = [json.loads(line) for line in told.out.splitlines()]
    assert len(lines) == 40
    assert all(line["path"].startswith("s3://bucket/digits/1/") for line in lines)
    assert failed.code == 2
    assert "no such" in json.loads(failed.out)["error"]["message"]
    assert "fetching from s3://bucket/digits" in checked.err
    said = "".join(each.out + each.err for each in (checked, trained, told, failed))
    assert SECRET not in said
    assert not [f for f in tmp_path.rglob("*") if f.is_file() and SECRET.encode() in f.read_bytes()]


@pytest.mark.parametrize(
    ("environment", "address", "error", "said"),
    [
        ({}, "s3://bucket/none", UsageError, "no such folder or file"),
        ({}, "s3://nowhere-at-all/x", UsageError, "no such"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "s3://bucket/x", DownloadError, "connection"),
        ({"AWS_ENDPOINT_URL": "nonsense"}, "s3://bucket/x", UsageError, "at nonsense is not one"),
        ({"AWS_ACCESS_KEY_ID": ""}, "s3://bucket/x", DownloadError, "AWS_PROFILE"),
    ],
    ids=["folder", "bucket", "endpoint", "no endpoint", "no key"],
)
def test_what_is_wrong_with_a_bucket_is_one_clear_line(
    store: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    environment: dict[str, str],
    address: str,
    error: type[Exception],
    said: str,
) -> None:
    for name, value in environment.items():
        if value:
            monkeypatch.setenv(name, value)
        else:
            monkeypatch.delenv(name)
            monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(error, match=said) as raised:
        load_dataset(address, tmp_path)
    assert "\n" not in str(raised.value)
    assert SECRET not in str(raised.value)


@pytest.mark.slow
def test_an_interrupted_fetch_goes_on_where_it_was(
    store: Any, make_digits: Any, tmp_path: Path
) -> None:
    folder = make_digits(tmp_path / "photos", "0123", 100)
    for file in folder.rglob("*.png"):
        put(store, f"s3://bucket/ended/{file.relative_to(folder)}", file.read_bytes())
    cache = tmp_path / "cache"
    command = [str(Path(sys.executable).parent / "graft"), "check", "s3://bucket/ended"]
    running = subprocess.Popen(command, env=os.environ | {"GRAFT_CACHE": str(cache)})
    deadline = time.monotonic() + 120
    while len(list(cache.rglob("*@*.png"))) < 40 and time.monotonic() < deadline:
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    assert running.wait(30) == 130
    kept = {f: f.stat().st_mtime_ns for f in cache.rglob("*@*.png")}
    assert 40 <= len(kept) < 400
    assert not list(cache.rglob(".fetching-*"))
    assert len(load_dataset("s3://bucket/ended", cache / "sources").examples) == 400
    assert all(file.stat().st_mtime_ns == time for file, time in kept.items())


def test_a_folder_here_asks_for_no_package_of_stores(digits: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from graft.data.sources import load_dataset; "
        f"load_dataset({str(digits)!r}, Path('none')); import graft; graft.check({str(digits)!r}); "
        "print(*sorted(m for m in sys.modules if '.' not in m))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    found = set(done.stdout.split())
    assert found.isdisjoint(
        {"fsspec", "s3fs", "gcsfs", "adlfs", "aiobotocore", "botocore", "aiohttp", "webdataset"}
    )
    assert "huggingface_hub" not in found
