import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from graft.data.fetched import remove_fetched
from graft.data.shard import Shard
from graft.data.sources import load_dataset
from graft.data.tar_shards import key_and_ending
from graft.data.unlabeled import images_of
from graft.errors import DataError

webdataset = pytest.importorskip("webdataset")
# The package leaves files open.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


def image(seed: int, kind: str = "PNG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def write_tar(file: Path, samples: list[dict[str, object]]) -> Path:
    """A shard as the webdataset package writes it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with webdataset.TarWriter(str(file)) as writer:
        for sample in samples:
            writer.write(sample)
    return file


def samples(count: int, start: int = 0, label: str = "cls") -> list[dict[str, object]]:
    return [
        {"__key__": f"{n:06d}", "png": image(n), label: n % 3} for n in range(start, start + count)
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(4):
        write_tar(tmp_path / "set" / f"train-{number:05d}.tar", samples(6, 6 * number))
    return tmp_path / "set"


def test_a_folder_of_tars_is_read_as_webdataset_reads_it(folder: Path, tmp_path: Path) -> None:
    found = load_dataset(folder, tmp_path / "cache")
    urls = [str(file) for file in sorted(folder.iterdir())]
    reference = webdataset.WebDataset(urls, shardshuffle=False)
    expected = [(s["__key__"], s["png"], s["cls"].decode()) for s in reference]
    assert [(Path(e.path).stem, e.file.read_bytes(), e.label) for e in found.examples] == expected
    assert found.examples[20].path == "train-00003.tar/000020.png"
    assert {example.split for example in found.examples} == {"train"}
    assert not found.left_out


# The package takes a name that begins with a dot for none; graft asks only for what people see.
NAMES = st.from_regex(r"([a-z][a-z.]{0,2}/)?[a-z0-9_]{1,4}(\.[a-z]{1,3}){0,3}", fullmatch=True)


@settings(max_examples=60, deadline=None)
@given(NAMES)
def test_keys_are_those_of_webdataset(name: str) -> None:
    from webdataset.tariterators import base_plus_ext

    key, ending = base_plus_ext(name)
    assert key_and_ending(name) == ((key, ending) if key is not None else (name, ""))


def test_labels_come_from_cls_then_json_then_a_short_txt(tmp_path: Path) -> None:
    caption = "a long story about a flower\nand its garden"
    rows = [
        {"png": image(1), "cls": "rose", "json": {"label": "tulip", "split": "test", "camera": 7}},
        {"png": image(2), "json": {"class_name": "tulip", "group": "g1"}, "txt": "daisy"},
        {"png": image(3), "txt": "daisy"},
        {"png": image(4), "txt": caption},
        {"png": image(5)},
        {"cls": "rose"},
        {"seg.png": image(6), "png": image(7), "cls": "rose"},
    ]
    tar = write_tar(tmp_path / "x.tar", [{"__key__": f"k{n}", **row} for n, row in enumerate(rows)])
    found = load_dataset(tar, tmp_path / "cache")
    told = [(e.path, e.label, e.split, e.group, dict(e.columns or {})) for e in found.examples]
    assert told == [
        ("x.tar/k0.png", "rose", "test", None, {"camera": "7"}),
        ("x.tar/k1.png", "tulip", None, "g1", {}),
        ("x.tar/k2.png", "daisy", None, None, {}),
        ("x.tar/k6.png", "rose", None, None, {}),
    ]
    assert found.left_out == {
        "unlabeled": ("x.tar/k3.png", "x.tar/k4.png"),
        "no_image": ("x.tar/k5",),
    }


def test_numbers_get_the_names_of_a_list_beside_the_tars(folder: Path, tmp_path: Path) -> None:
    (folder / "classnames.txt").write_text("daisy\nrose\ntulip\n")
    found = load_dataset(folder, tmp_path / "cache")
    assert found.counts == {"daisy": 8, "rose": 8, "tulip": 8}


def test_braces_name_the_tars_and_those_that_are_not_there(folder: Path, tmp_path: Path) -> None:
    found = load_dataset(str(folder / "train-{00002..00004}.tar"), tmp_path / "cache")
    assert len(found.examples) == 12
    assert found.left_out == {"bad_shard": ("train-00004.tar (not there)",)}


def test_each_tar_goes_to_one_worker_and_no_other_unpacks_it(folder: Path, tmp_path: Path) -> None:
    seen: list[str] = []
    for number in (1, 2, 3):
        cache = tmp_path / f"cache{number}"
        part = load_dataset(folder, cache, shard=Shard(number, 3)).examples
        tars = {example.path.split("/")[0] for example in part}
        assert len(list((cache / "unpacked").glob("tar-*"))) == len(tars) if part else True
        seen += [example.path for example in part]
        remove_fetched([example.file for example in part], cache)
        assert not [file for file in cache.rglob("*") if file.is_file()]
    assert sorted(seen) == [e.path for e in load_dataset(folder, tmp_path / "all").examples]
    assert len(list(folder.iterdir())) == 4


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: b"", "damaged or cut short"),
        (lambda data: bytes(10240), "holds no image"),
        (lambda data: b"no tar at all " * 100, "damaged or cut short"),
        (lambda data: data[: 3 * len(data) // 5], "images before the damage are used"),
    ],
    ids=["nothing", "no members", "another file", "cut short"],
)
def test_a_damaged_tar_is_named_and_stops_nothing(
    folder: Path, tmp_path: Path, damage: object, said: str
) -> None:
    bad = folder / "train-00001.tar"
    bad.write_bytes(damage(bad.read_bytes()))  # type: ignore[operator]
    found = load_dataset(folder, tmp_path / "cache")
    (named,) = found.left_out["bad_shard"]
    assert named.startswith("train-00001.tar (")
    assert said in named
    kept = [e.path for e in found.examples if e.path.startswith("train-00001")]
    assert len(found.examples) - len(kept) == 18
    assert len(kept) < 6
    if "before the damage" in said:
        assert f"({len(kept)} images" in named
        assert kept == [f"train-00001.tar/{n:06d}.png" for n in range(6, 6 + len(kept))]


@pytest.mark.parametrize("cut", range(0, 10_000, 1_357))
def test_wherever_a_tar_is_cut_its_images_are_whole_or_not_there(tmp_path: Path, cut: int) -> None:
    tar = write_tar(tmp_path / "set" / "a.tar", samples(5))
    write_tar(tmp_path / "set" / "b.tar", samples(3, 5))
    whole = {e.path: e.file.read_bytes() for e in load_dataset(tar, tmp_path / "1").examples}
    tar.write_bytes(tar.read_bytes()[:cut])
    for example in load_dataset(tmp_path / "set", tmp_path / "2").examples:
        if example.path.startswith("a.tar"):
            assert example.file.read_bytes() == whole[example.path]


def test_a_source_of_damaged_tars_alone_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.tar").write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.tar is damaged or cut short"):
        load_dataset(tmp_path / "set", tmp_path / "cache")


def test_an_archive_of_class_folders_is_one_as_ever(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for n in range(4):
            for name, data in ((f"{n % 2}/{n}.png", image(n)), (f"{n % 2}/{n}.txt", b"words")):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    found = load_dataset(tmp_path / "x.tar", tmp_path / "cache")
    assert found.counts == {"0": 2, "1": 2}


def test_all_images_of_tars_are_there_to_be_predicted(folder: Path, tmp_path: Path) -> None:
    write_tar(folder / "new.tar", [{"__key__": "a", "png": image(99)}])
    (folder / "broken.tar").write_bytes(b"")
    named = dict(images_of(folder, tmp_path / "cache"))
    assert named[f"{folder}/new.tar/a.png"].read_bytes() == image(99)
    assert sum(file.is_file() for file in named.values()) == 25
    (lost,) = [name for name, file in named.items() if not file.is_file()]
    assert lost.startswith(f"{folder}/broken.tar (is damaged")


def test_json_that_is_none_is_no_label(tmp_path: Path) -> None:
    rows = [{"__key__": "a", "png": image(1), "json": b"[1, 2"}]
    rows.append({"__key__": "b", "png": image(2), "json": json.dumps({"label": "x"}).encode()})
    found = load_dataset(write_tar(tmp_path / "x.tar", rows), tmp_path / "cache")
    assert [(e.path, e.label) for e in found.examples] == [("x.tar/b.png", "x")]
