import io
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from graft.data.parquet import rows_of_parquet
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
    rows = list(rows_of_parquet(table, tmp_path / "unpacked"))
    assert [number for number, _ in rows] == [1, 2, 3, 4, 5]
    assert [row["label"] for _, row in rows] == list("abcab")
    assert [Path(row["file"]).read_bytes() for _, row in rows] == IMAGES
    assert len({row["image"] for _, row in rows}) == 5
    # The name shown to people does not depend on where the cache lies.
    assert not any(str(tmp_path) in row["image"] for _, row in rows)


@pytest.mark.parametrize(
    "kind", [pyarrow.string(), pyarrow.large_string(), pyarrow.dictionary("int32", "string")]
)
def test_paths_are_given_as_they_stand_and_nothing_is_unpacked(
    tmp_path: Path, kind: pyarrow.DataType
) -> None:
    column = pyarrow.array(["x/1.png", "x/2.png", "x/1.png"]).cast(kind)
    table = write(tmp_path / "t.parquet", {"image": column, "label": [3, 4, 3]})
    rows = list(rows_of_parquet(table, tmp_path / "unpacked"))
    assert [row for _, row in rows] == [
        {"image": "x/1.png", "label": "3"},
        {"image": "x/2.png", "label": "4"},
        {"image": "x/1.png", "label": "3"},
    ]
    assert not (tmp_path / "unpacked").exists()


def test_rows_are_numbered_through_row_groups_and_batches(tmp_path: Path) -> None:
    count = 2500  # more than two batches
    columns = {"image": [b"%d" % n for n in range(count)], "label": [str(n) for n in range(count)]}
    table = write(tmp_path / "t.parquet", columns, row_group_size=700)
    rows = list(rows_of_parquet(table, tmp_path / "unpacked"))
    assert [number for number, _ in rows] == list(range(1, count + 1))
    for number, row in rows:
        assert row["label"] == str(number - 1)
        assert Path(row["file"]).read_text() == row["label"]


def test_what_is_unpacked_already_is_used_again(tmp_path: Path) -> None:
    table = write(tmp_path / "t.parquet", {"image": IMAGES, "label": list("abcab")})
    first = list(rows_of_parquet(table, tmp_path / "unpacked"))
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "unpacked").iterdir()}
    assert list(rows_of_parquet(table, tmp_path / "unpacked")) == first
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
    rows = list(rows_of_parquet(write(tmp_path / "t.parquet", columns), tmp_path / "unpacked"))
    assert rows == [
        (1, {"image": "1.png", "label": "a", "split": "train", "group": "7", "notes": "x"}),
        (2, {"image": "2.png", "label": "", "split": "", "group": "8", "notes": "y"}),
    ]


@pytest.mark.parametrize(
    "column",
    [
        pyarrow.array([IMAGES[0], None], pyarrow.binary()),
        pyarrow.array([{"bytes": IMAGES[0], "path": "1"}, {"bytes": None, "path": "2"}]),
        pyarrow.array([1, 2]),
    ],
    ids=["null", "hf_without_bytes", "numbers"],
)
def test_a_row_without_image_is_named_and_nothing_is_left_behind(
    tmp_path: Path, column: pyarrow.Array
) -> None:
    table = write(tmp_path / "t.parquet", {"image": column, "label": ["a", "b"]})
    number = 1 if pyarrow.types.is_integer(column.type) else 2
    with pytest.raises(DataError, match=rf"t\.parquet, row {number}: .* neither"):
        list(rows_of_parquet(table, tmp_path / "cache" / "unpacked"))
    assert list((tmp_path / "cache").iterdir()) == []


def test_missing_columns_are_named_with_those_that_are_there(tmp_path: Path) -> None:
    table = write(tmp_path / "t.parquet", {"picture": ["1.png"], "label": ["a"]})
    with pytest.raises(DataError, match=r"image and label.*found picture, label"):
        list(rows_of_parquet(table, tmp_path / "unpacked"))


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    whole = write(tmp_path / "t.parquet", {"image": IMAGES, "label": list("abcab")}).read_bytes()
    for number, data in enumerate([b"", b"image,label\n", whole[: len(whole) // 2]]):
        file = tmp_path / f"{number}.parquet"
        file.write_bytes(data)
        with pytest.raises(DataError, match="cannot be read as a Parquet table"):
            list(rows_of_parquet(file, tmp_path / "unpacked"))


def test_a_table_damaged_inside_is_refused_and_nothing_is_left_behind(tmp_path: Path) -> None:
    noise = [np.random.default_rng(n).bytes(5000) for n in range(50)]
    columns = {"image": noise, "label": ["a"] * 50}
    table = write(tmp_path / "t.parquet", columns, write_page_checksum=True, compression="gzip")
    data = bytearray(table.read_bytes())
    data[200:4000] = bytes(3800)
    table.write_bytes(data)
    with pytest.raises(DataError, match="is damaged"):
        list(rows_of_parquet(table, tmp_path / "cache" / "unpacked"))
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
