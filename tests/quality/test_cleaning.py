import csv
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from graft.data.groups import group_ids, grouped
from graft.data.sources import load_dataset
from graft.data.split import assign_splits
from graft.errors import UsageError
from graft.quality.check import check
from graft.quality.cleaning import write_fixed
from graft.utils.cache_folder import sources_folder

NAMES = [f"{n:02d}.png" for n in range(12)]


def scene(seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return (
        Image.fromarray(pixels)
        .resize((160, 160), Image.Resampling.BICUBIC)
        .filter(ImageFilter.GaussianBlur(1))
    )


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve different images, and near.png, a paler copy of the first."""
    for seed, name in enumerate(NAMES):
        scene(seed).save(tmp_path / name)
    scene(0).point(lambda value: int(value * 0.9)).save(tmp_path / "near.png")
    return tmp_path


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def fixed(folder: Path, header: str, lines: list[str]) -> tuple[str, list[dict[str, str]]]:
    """What is said of a table of these lines, and the rows of its cleaned one."""
    table, cleaned = folder / "table.csv", folder / "cleaned.csv"
    table.write_text("\n".join([header, *lines]))
    result = check(table)
    said = write_fixed(result, cleaned, folder / "cache")
    again = check(cleaned)
    assert again.usable == len(again.dataset.examples)
    assert not {i.kind for i in again.findings} & {"duplicates", "two_splits", "near_two_splits"}
    return said, rows_of(cleaned)


def label(name: str) -> str:
    return "ab"[int(name[:2]) % 2]


def plain(names: list[str]) -> list[str]:
    return [f"{name},{label(name)}" for name in names]


def test_of_an_image_listed_twice_one_row_stays(photos: Path) -> None:
    said, rows = fixed(photos, "image,label", plain([*NAMES, NAMES[3]]))
    assert said == "12 images, 1 left out"
    assert [row["image"] for row in rows] == NAMES
    assert {row["group"] for row in rows} == {""}


@pytest.mark.parametrize(("given", "stays"), [("train test", "test"), ("val train", "val")])
def test_of_an_image_in_two_splits_the_copy_in_train_is_left_out(
    photos: Path, given: str, stays: str
) -> None:
    twice = [f"{NAMES[0]},a,{split}" for split in given.split()]
    lines = [f"{line},train" for line in plain(NAMES[1:])]
    said, rows = fixed(photos, "image,label,split", [*twice, *lines])
    assert said == "12 images, 1 left out"
    assert [row["split"] for row in rows if row["image"] == NAMES[0]] == [stays]


@pytest.mark.parametrize(("given", "stays"), [("train test", "near.png"), ("val train", NAMES[0])])
def test_of_near_copies_in_two_splits_that_in_train_is_left_out(
    photos: Path, given: str, stays: str
) -> None:
    first, second = given.split()
    lines = [f"{line},train" for line in plain(NAMES[1:])]
    near = [f"{NAMES[0]},a,{first}", f"near.png,a,{second}"]
    said, rows = fixed(photos, "image,label,split", [*near, *lines])
    assert said == "12 images, 1 left out"
    assert {row["image"] for row in rows} & {NAMES[0], "near.png"} == {stays}


def test_a_copy_without_a_split_follows_the_one_that_has_one(photos: Path) -> None:
    lines = [f"{line},train" for line in plain(NAMES[1:])]
    _, rows = fixed(photos, "image,label,split", [f"{NAMES[0]},a,test", "near.png,a,", *lines])
    assert [row["split"] for row in rows if row["image"] == "near.png"] == ["test"]


def test_a_image_without_a_split_follows_its_group_before_its_near_copy(photos: Path) -> None:
    near = [f"{NAMES[0]},a,,anna", "near.png,a,train,"]
    lines = [f"{NAMES[1]},b,test,anna", *(f"{line},train," for line in plain(NAMES[2:]))]
    _, rows = fixed(photos, "image,label,split,group", [*near, *lines])
    splits = {row["image"]: row["split"] for row in rows}
    assert "near.png" not in splits
    assert splits[NAMES[0]] == splits[NAMES[1]] == "test"


def test_a_group_that_leaves_its_split_ties_nothing_to_it(photos: Path) -> None:
    near = [f"{NAMES[0]},a,train,anna", "near.png,a,test,ben"]
    lines = [f"{NAMES[1]},b,train,anna", f"{NAMES[2]},a,test,ben"]
    _, rows = fixed(photos, "image,label,split,group", [*near, *lines])
    assert {row["image"]: row["group"] for row in rows} == {
        NAMES[1]: "anna",
        NAMES[2]: "ben",
        "near.png": "ben",
    }


def test_what_near_copies_and_groups_connect_has_one_group_and_one_split(photos: Path) -> None:
    given = {NAMES[0]: "anna", NAMES[1]: "anna", "near.png": "ben", NAMES[2]: "ben"}
    lines = [f"{name},a,{group}" for name, group in given.items()]
    lines += [f"{line},{'carl' if n < 2 else ''}" for n, line in enumerate(plain(NAMES[3:]))]
    _, rows = fixed(photos, "image,label,group", lines)
    groups = {row["image"]: row["group"] for row in rows}
    assert [groups[name] for name in given] == ["anna + ben"] * 4
    assert [groups[name] for name in NAMES[3:6]] == ["carl", "carl", ""]
    examples = load_dataset(photos / "cleaned.csv", photos / "cache").examples
    ids = group_ids(examples, [e.path.encode() for e in examples])
    for seed in range(10):
        splits, _ = assign_splits(examples, ids, seed)
        together = {p for p, e in zip(splits, examples, strict=True) if e.path in given}
        assert len(together) == 1


def test_near_copies_without_groups_get_one(photos: Path) -> None:
    _, rows = fixed(photos, "image,label", [*plain(NAMES), "near.png,a"])
    named = {row["image"]: row["group"] for row in rows if row["group"]}
    assert set(named) == {NAMES[0], "near.png"}
    assert len(set(named.values())) == 1


def test_the_other_columns_stay(photos: Path) -> None:
    lines = [f'{line},p{n % 5},"a, ""b""",{n}' for n, line in enumerate(plain(NAMES))]
    _, rows = fixed(photos, "image,label,patient,note,findings", lines)
    assert [row["patient"] for row in rows] == [f"p{n % 5}" for n in range(12)]
    assert {row["note"] for row in rows} == {'a, "b"'}
    assert [row["findings"] for row in rows] == [str(n) for n in range(12)]
    again = grouped(load_dataset(photos / "cleaned.csv", photos / "cache"), "patient")
    assert {e.group for e in again.examples} == {f"p{n}" for n in range(5)}


def test_a_table_that_is_there_is_never_overwritten(photos: Path) -> None:
    table = photos / "table.csv"
    table.write_text("\n".join(["image,label", *plain(NAMES)]))
    before = table.read_text()
    result = check(table)
    with pytest.raises(UsageError, match="overwrites nothing"):
        write_fixed(result, table, photos / "cache")
    assert table.read_text() == before


def test_the_command_refuses_its_own_source_before_it_reads_it(photos: Path, graft_here) -> None:
    table = photos / "table.csv"
    table.write_text("\n".join(["image,label", *plain(NAMES)]))
    before = table.read_text()
    ended = graft_here("check", table, "--fix", table)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert table.read_text() == before


def test_a_table_into_the_cache_says_that_it_may_not_last(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NAMES:
        (photos / "all" / label(name)).mkdir(parents=True, exist_ok=True)
        shutil.copy(photos / name, photos / "all" / label(name))
    archive = shutil.make_archive(str(photos / "photos"), "zip", photos / "all")
    cache, table = photos / "cache", photos / "cleaned.csv"
    monkeypatch.setenv("GRAFT_CACHE", str(cache))
    said = write_fixed(check(archive), table, cache)
    assert "12 images, 0 left out" in said
    assert "graft cache --clear" in said
    assert f"graft check {archive} brings the images back" in said
    shutil.rmtree(cache)
    assert not load_dataset(table, cache).examples
    load_dataset(archive, sources_folder())
    assert len(load_dataset(table, cache).examples) == 12


def test_a_line_break_in_a_column_stays_in_it(photos: Path) -> None:
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerows([["image", "label", "note"], *([n, label(n), "one\rtwo"] for n in NAMES)])
    (photos / "table.csv").write_text(file.getvalue(), newline="")
    result = check(photos / "table.csv")
    write_fixed(result, photos / "cleaned.csv", photos / "cache")
    assert [row["note"] for row in rows_of(photos / "cleaned.csv")] == ["one\rtwo"] * 12
