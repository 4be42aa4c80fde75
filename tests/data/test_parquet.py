import io
import json
import resource
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from graft.data import parquet as module
from graft.data.sources import load_dataset
from graft.errors import DataError


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write(file: Path, columns: dict[str, object], **options: object) -> Path:
    pyarrow.parquet.write_table(pyarrow.table(columns), file, **options)
    return file


def rows_of_parquet(path: Path, unpacked: Path) -> list[tuple[int, dict[str, str], Path | None]]:
    rows, _ = module.rows_of_parquet(path, unpacked)
    return [(row.number, row.texts, row.file) for row in rows]


IMAGES = [png(n) for n in range(5)]


@pytest.mark.parametrize(
    "column",
    [
        pyarrow.array(IMAGES, pyarrow.binary()),
        pyarrow.array(IMAGES, pyarrow.large_binary()),
        pyarrow.array([{"bytes": data, "path": f"{n}.png"} for n, data in enumerate(IMAGES)]),
        pyarrow.array([{"bytes": data, "path": None} for data in IMAGES]),
    ],
    ids=["binary", "large_binary", "hf", "hf_without_path"],
)
def test_image_bytes_become_files_bit_by_bit_in_row_order(
    tmp_path: Path, column: pyarrow.Array
) -> None:
    table = write(tmp_path / "t.parquet", {"image": column, "label": list("abcab")})
    rows = rows_of_parquet(table, tmp_path / "unpacked")
    assert [number for number, _, _ in rows] == [1, 2, 3, 4, 5]
    assert [row["label"] for _, row, _ in rows] == list("abcab")
    assert [file and file.read_bytes() for _, _, file in rows] == IMAGES
    assert len({row["image"] for _, row, _ in rows}) == 5
    # The name shown to people does not depend on where the cache lies.
    assert not any(str(tmp_path) in row["image"] for _, row, _ in rows)


@pytest.mark.parametrize(
    "kind", [pyarrow.string(), pyarrow.large_string(), pyarrow.dictionary("int32", "string")]
)
def test_paths_are_given_as_they_stand_and_nothing_is_unpacked(
    tmp_path: Path, kind: pyarrow.DataType
) -> None:
    column = pyarrow.array(["x/1.png", "x/2.png", "x/1.png"]).cast(kind)
    table = write(tmp_path / "t.parquet", {"image": column, "label": [3, 4, 3]})
    rows = rows_of_parquet(table, tmp_path / "unpacked")
    assert [row for _, row, _ in rows] == [
        {"image": "x/1.png", "label": "3"},
        {"image": "x/2.png", "label": "4"},
        {"image": "x/1.png", "label": "3"},
    ]
    assert not (tmp_path / "unpacked").exists()


def test_rows_are_numbered_through_row_groups_and_batches(tmp_path: Path) -> None:
    count = 2500  # more than two batches
    columns = {"image": [b"%d" % n for n in range(count)], "label": [str(n) for n in range(count)]}
    table = write(tmp_path / "t.parquet", columns, row_group_size=700)
    rows = rows_of_parquet(table, tmp_path / "unpacked")
    assert [number for number, _, _ in rows] == list(range(1, count + 1))
    for number, row, file in rows:
        assert row["label"] == str(number - 1)
        assert file is not None
        assert file.read_text() == row["label"]


def test_what_is_unpacked_already_is_used_again(tmp_path: Path) -> None:
    table = write(tmp_path / "t.parquet", {"image": IMAGES, "label": list("abcab")})
    first = rows_of_parquet(table, tmp_path / "unpacked")
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "unpacked").iterdir()}
    assert rows_of_parquet(table, tmp_path / "unpacked") == first
    after = {file: file.stat().st_mtime_ns for file in (tmp_path / "unpacked").iterdir()}
    assert after == before
    assert len(after) == 5


def test_split_group_and_other_plain_columns_come_along(tmp_path: Path) -> None:
    columns = {
        "image": ["1.png", "2.png"],
        "label": ["a", None],
        "split": ["train", None],
        "group": [7, 8],
        "notes": ["x", "y"],
    }
    rows = rows_of_parquet(write(tmp_path / "t.parquet", columns), tmp_path / "unpacked")
    assert rows == [
        (1, {"image": "1.png", "label": "a", "split": "train", "group": "7", "notes": "x"}, None),
        (2, {"image": "2.png", "label": "", "split": "", "group": "8", "notes": "y"}, None),
    ]


@pytest.mark.parametrize(
    "column",
    [
        pyarrow.array([IMAGES[0], None], pyarrow.binary()),
        pyarrow.array([{"bytes": IMAGES[0], "path": "1"}, {"bytes": None, "path": "2"}]),
        pyarrow.array(["1.png", None]),
    ],
    ids=["null", "hf_without_bytes", "paths"],
)
def test_a_row_without_image_is_left_out_and_named(tmp_path: Path, column: pyarrow.Array) -> None:
    (tmp_path / "1.png").write_bytes(IMAGES[0])
    table = write(tmp_path / "t.parquet", {"image": column, "label": ["a", "b"]})
    dataset = load_dataset(table, tmp_path / "cache")
    assert [(e.file.read_bytes(), e.label) for e in dataset.examples] == [(IMAGES[0], "a")]
    assert (dataset.left_out, dataset.lost) == ({"no_image": ("row 2",)}, {"b": 1})


@pytest.mark.parametrize("column", [[1, 2], [[1], [2]], [{"path": "1.png"}, {"path": "2.png"}]])
def test_a_column_without_images_is_refused(tmp_path: Path, column: list[object]) -> None:
    table = write(tmp_path / "t.parquet", {"image": column, "label": ["a", "b"]})
    with pytest.raises(DataError, match=r"t\.parquet: the column image holds neither paths nor"):
        rows_of_parquet(table, tmp_path / "cache" / "unpacked")
    assert not (tmp_path / "cache").exists()


def hugging_face(file: Path, labels: list[int | None], names: list[str]) -> Path:
    """A table with the metadata that Hugging Face datasets write."""
    described = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
    images = [{"bytes": png(n), "path": f"{n}.png"} for n in range(len(labels))]
    columns = pyarrow.table({"image": images, "label": labels})
    written = columns.replace_schema_metadata({"huggingface": json.dumps(described)})
    pyarrow.parquet.write_table(written, file)
    return file


def test_the_class_names_of_a_hugging_face_schema_are_the_labels(tmp_path: Path) -> None:
    table = hugging_face(tmp_path / "t.parquet", [1, 0, -1, None, 1], ["cat", "dog"])
    dataset = load_dataset(table, tmp_path / "cache")
    assert [e.label for e in dataset.examples] == ["dog", "cat", "dog"]
    # Hugging Face marks images without a label by -1.
    assert dataset.left_out == {"unlabeled": ("00000003.img", "00000004.img")}
    with pytest.raises(DataError, match="row 2: the label is 7, but the schema names 2 classes"):
        load_dataset(
            hugging_face(tmp_path / "u.parquet", [1, 7], ["cat", "dog"]), tmp_path / "cache"
        )


@pytest.mark.parametrize("inside", [(), ("data",)])
def test_a_folder_of_shards_is_one_source_with_splits_by_their_names(
    tmp_path: Path, inside: tuple[str, ...]
) -> None:
    folder = Path(tmp_path, "source", *inside)
    folder.mkdir(parents=True)
    (tmp_path / "source" / "README.md").write_text("dataset card")
    for n, name in enumerate(["train-00000-of-00002", "train-00001-of-00002", "test-00000-of-1"]):
        hugging_face(folder / f"{name}.parquet", [n % 2, 1], ["cat", "dog"])
    (folder / "validation").mkdir()
    hugging_face(folder / "validation" / "0000.parquet", [0], ["cat", "dog"])
    examples = load_dataset(tmp_path / "source", tmp_path / "cache").examples
    top = "/".join((*inside, ""))
    assert [(e.path, e.label, e.split) for e in examples] == [
        (f"{top}test-00000-of-1/00000001.img", "cat", "test"),
        (f"{top}test-00000-of-1/00000002.img", "dog", "test"),
        (f"{top}train-00000-of-00002/00000001.img", "cat", "train"),
        (f"{top}train-00000-of-00002/00000002.img", "dog", "train"),
        (f"{top}train-00001-of-00002/00000001.img", "dog", "train"),
        (f"{top}train-00001-of-00002/00000002.img", "dog", "train"),
        (f"{top}validation/0000/00000001.img", "cat", "val"),
    ]
    assert all(e.file.read_bytes() in (png(0), png(1)) for e in examples)


@pytest.mark.parametrize("kind", ["binary", "hf", "text"])
def test_a_small_table_that_unpacks_to_very_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    # One image of 5 MB that fills 4,000 rows: 20 GB from less than 6 MB.
    noise = np.random.default_rng(0).bytes(5_000_000)
    value = {"binary": noise, "hf": {"bytes": noise, "path": ""}, "text": "a" * 5_000_000}[kind]
    index = pyarrow.array(np.zeros(4_000, np.int32))
    stored = pyarrow.array([value["bytes"] if isinstance(value, dict) else value])
    column: pyarrow.Array = pyarrow.DictionaryArray.from_arrays(index, stored)
    if kind == "hf":
        column = pyarrow.StructArray.from_arrays([column], ["bytes"])
    columns = {"image": column, "label": ["a"] * 4_000}
    if kind == "text":
        columns = {"image": ["1.png"] * 4_000, "label": column}
    table = write(tmp_path / "t.parquet", columns, dictionary_pagesize_limit=2**24)
    assert table.stat().st_size < 6_000_000
    monkeypatch.setattr("graft.data.unpacked_size.SMALL", 10**8)
    monkeypatch.setattr("graft.data.unpacked_size.FACTOR", 10)
    monkeypatch.setattr(module, "MAX_TABLE_BYTES", 10**8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match="unpacks to more than 100,000,000 bytes"):
        rows_of_parquet(table, tmp_path / "cache" / "unpacked")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000
    assert not (tmp_path / "cache").exists() or list((tmp_path / "cache").iterdir()) == []


def test_missing_columns_are_named_with_those_that_are_there(tmp_path: Path) -> None:
    table = write(tmp_path / "t.parquet", {"picture": ["1.png"], "label": ["a"]})
    with pytest.raises(DataError, match=r"image and label.*found 'picture', 'label'"):
        rows_of_parquet(table, tmp_path / "unpacked")


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    whole = write(tmp_path / "t.parquet", {"image": IMAGES, "label": list("abcab")}).read_bytes()
    for number, data in enumerate([b"", b"image,label\n", whole[: len(whole) // 2]]):
        file = tmp_path / f"{number}.parquet"
        file.write_bytes(data)
        with pytest.raises(DataError, match="cannot be read as a Parquet table"):
            rows_of_parquet(file, tmp_path / "unpacked")


def test_a_table_damaged_inside_is_refused_and_nothing_is_left_behind(tmp_path: Path) -> None:
    noise = [np.random.default_rng(n).bytes(5000) for n in range(50)]
    columns = {"image": noise, "label": ["a"] * 50}
    table = write(tmp_path / "t.parquet", columns, write_page_checksum=True, compression="gzip")
    data = bytearray(table.read_bytes())
    data[200:4000] = bytes(3800)
    table.write_bytes(data)
    with pytest.raises(DataError, match="is damaged"):
        rows_of_parquet(table, tmp_path / "cache" / "unpacked")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_source_holds_paths_relative_to_the_table_or_the_images_themselves(
    tmp_path: Path,
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "1.png").write_bytes(IMAGES[1])
    paths = write(tmp_path / "paths.parquet", {"image": ["sub/1.png"], "label": ["a"]})
    (example,) = load_dataset(paths, tmp_path / "cache").examples
    assert (example.path, example.file) == ("sub/1.png", tmp_path / "sub" / "1.png")

    column = [{"bytes": data, "path": "x"} for data in IMAGES]
    columns = {"image": column, "label": list("abcab"), "split": ["train", "test", None, "", "val"]}
    inside = write(tmp_path / "bytes.parquet", columns)
    dataset = load_dataset(inside, tmp_path / "cache")
    assert [e.file.read_bytes() for e in dataset.examples] == IMAGES
    assert [e.label for e in dataset.examples] == list("abcab")
    assert [e.split for e in dataset.examples] == ["train", "test", None, None, "val"]
    elsewhere = load_dataset(inside, tmp_path / "other cache")
    assert [e.path for e in elsewhere.examples] == [e.path for e in dataset.examples]
