import io
import json
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from graft.data.fetched import remove_fetched
from graft.data.shard import Shard
from graft.data.shard_files import gaps
from graft.data.sources import load_dataset
from graft.data.unlabeled import images_of
from graft.errors import DataError
from graft.quality.check import check

CLASSES = ["daisy", "rose", "tulip"]


def image(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write(file: Path, first: int, count: int, labeled: bool = True) -> Path:
    """A shard as the `datasets` package writes it: image structs, and its features as metadata."""
    rows = range(first, first + count)
    column = pyarrow.array(
        [{"bytes": image(n), "path": f"{n}.png"} for n in rows],
        pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()}),
    )
    table = pyarrow.table(
        {"image": column} | ({"label": pyarrow.array([n % 3 for n in rows])} if labeled else {})
    )
    features = {"image": {"_type": "Image"}, "label": {"names": CLASSES, "_type": "ClassLabel"}}
    info = json.dumps({"info": {"features": features}})
    file.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(table.replace_schema_metadata({"huggingface": info}), file)
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(3):
        write(tmp_path / "set" / "data" / f"train-0000{number}-of-00003.parquet", 5 * number, 5)
    write(tmp_path / "set" / "data" / "test-00000-of-00001.parquet", 15, 4)
    return tmp_path / "set"


def test_a_data_set_of_hugging_face_is_read_whole(folder: Path, tmp_path: Path) -> None:
    found = load_dataset(folder, tmp_path / "cache")
    assert found.counts == {"daisy": 7, "rose": 6, "tulip": 6}
    assert [e.split for e in found.examples].count("test") == 4
    by_path = {e.path: e.file.read_bytes() for e in found.examples}
    assert by_path["data/train-00002-of-00003/00000003.img"] == image(12)
    assert not found.left_out


@pytest.mark.parametrize("damage", ["footer", "page", "empty", "missing"])
def test_a_shard_that_is_damaged_or_missing_is_named(
    folder: Path, tmp_path: Path, damage: str
) -> None:
    bad = folder / "data" / "train-00001-of-00003.parquet"
    data = bytearray(bad.read_bytes())
    if damage == "footer":
        bad.write_bytes(data[:-9])
    elif damage == "page":
        data[4:2000] = bytes(1996)
        bad.write_bytes(data)
    elif damage == "empty":
        write(bad, 0, 0)
    else:
        bad.unlink()
    found = load_dataset(folder, tmp_path / "cache")
    assert len(found.examples) == 14
    (named,) = found.left_out["bad_shard"]
    assert named.startswith("data/train-00001-of-00003.parquet (")
    said = {"page": "5 images; is damaged", "empty": "holds no image", "missing": "not there"}
    assert said.get(damage, "cannot be read as a Parquet table") in named
    result = check(folder)
    (finding,) = [f for f in result.findings if f.kind == "bad_shard"]
    assert finding.severity == "matters"
    assert finding.message.startswith("1 shard is damaged, cut short, empty or not there")


def test_a_source_of_damaged_shards_alone_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="cannot be read as a Parquet table"):
        load_dataset(tmp_path / "set", tmp_path / "cache")


def test_braces_name_parquet_shards(folder: Path, tmp_path: Path) -> None:
    source = str(folder / "data" / "train-{00000..00001}-of-00003.parquet")
    found = load_dataset(source, tmp_path / "cache")
    assert len(found.examples) == 10
    assert found.left_out == {"bad_shard": ("train-00002-of-00003.parquet (not there)",)}


def test_workers_share_the_shards_and_remove_what_they_unpacked(
    folder: Path, tmp_path: Path
) -> None:
    seen: list[str] = []
    for number in (1, 2):
        cache = tmp_path / f"cache{number}"
        part = load_dataset(folder, cache, shard=Shard(number, 2)).examples
        seen += [example.path for example in part]
        remove_fetched([example.file for example in part], cache)
        assert not [file for file in cache.rglob("*") if file.is_file()]
    assert sorted(seen) == [e.path for e in load_dataset(folder, tmp_path / "all").examples]


def test_shards_without_labels_can_be_predicted(tmp_path: Path) -> None:
    write(tmp_path / "new" / "a.parquet", 0, 3, labeled=False)
    named = list(images_of(tmp_path / "new", tmp_path / "cache"))
    assert [file.read_bytes() for _, file in named] == [image(n) for n in range(3)]
    assert named[0][0] == f"{tmp_path}/new/a/00000001.img"


def test_the_names_of_shards_tell_which_are_missing() -> None:
    there = [f"x/train-{n:05d}-of-00004.parquet" for n in (0, 3)]
    assert gaps([*there, "x/val-00001-of-00001.tar", "other.parquet"]) == [
        "x/train-00001-of-00004.parquet",
        "x/train-00002-of-00004.parquet",
    ]
