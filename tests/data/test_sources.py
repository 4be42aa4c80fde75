import io
import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from graft.data.sources import IMAGE_SUFFIXES, find_images, load_dataset
from graft.errors import DataError, UsageError


def png(color: int = 0) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (3, 2), (color, 0, 0)).save(file, "PNG")
    return file.getvalue()


def lay_out(root: Path, *names: str) -> Path:
    """Make files; a name that ends in / is an empty folder."""
    for name in names:
        file = root / name
        if name.endswith("/"):
            file.mkdir(parents=True)
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(name.encode())
    return root


def listed(source: Path, cache: Path) -> list[tuple[str, str, str | None]]:
    return [(e.path, e.label, e.split) for e in load_dataset(source, cache).examples]


def left_out(source: Path, cache: Path) -> dict[str, tuple[str, ...]]:
    return dict(load_dataset(source, cache).left_out)


CLASSES = ("cat/1.png", "cat/2.jpg", "dog/1.png", "dog/old/3.JPEG")
OF_CLASSES = [
    ("cat/1.png", "cat", None),
    ("cat/2.jpg", "cat", None),
    ("dog/1.png", "dog", None),
    ("dog/old/3.JPEG", "dog", None),
]


def test_each_folder_is_a_class_and_every_image_below_it_belongs_to_it(tmp_path: Path) -> None:
    root = lay_out(tmp_path / "source", *CLASSES)
    dataset = load_dataset(root, tmp_path)
    assert listed(root, tmp_path) == OF_CLASSES
    assert dataset.classes == ("cat", "dog")
    assert dataset.counts == {"cat": 2, "dog": 2}
    assert dataset.left_out == {}
    for example in dataset.examples:
        assert example.file.read_bytes() == example.path.encode()


def test_hidden_files_empty_folders_and_other_files_are_no_classes_and_no_images(
    tmp_path: Path,
) -> None:
    root = lay_out(
        tmp_path / "source",
        *CLASSES,
        ".DS_Store",
        "cat/.DS_Store",
        "cat/._1.png",
        ".git/x.png",
        "__MACOSX/cat/1.png",
        "dog/__MACOSX/1.png",
        "cat/Thumbs.db",
        "empty/",
        "empty too/deeper/",
        "papers/notes.txt",
        "cat/notes.pdf",
        "LICENSE",
    )
    assert listed(root, tmp_path) == OF_CLASSES
    left = left_out(root, tmp_path)
    assert set(left) == {"not_an_image"}
    assert set(left["not_an_image"]) == {"papers/notes.txt", "cat/notes.pdf", "LICENSE"}


@pytest.mark.parametrize("beside", ["empty/", "papers/notes.txt", ".cache/x.png", "__MACOSX/a.png"])
@pytest.mark.parametrize("val", ["val", "valid", "Validation"])
def test_splits_are_kept_as_they_are_whatever_lies_beside_them(
    tmp_path: Path, beside: str, val: str
) -> None:
    names = ["train/cat/1.png", "train/dog/1.png", f"{val}/cat/2.png", "Test/dog/sub/3.png"]
    root = lay_out(tmp_path / "source", *names, beside)
    assert set(listed(root, tmp_path)) == {
        ("train/cat/1.png", "cat", "train"),
        ("train/dog/1.png", "dog", "train"),
        (f"{val}/cat/2.png", "cat", "val"),
        ("Test/dog/sub/3.png", "dog", "test"),
    }


def test_a_class_may_be_called_test_among_others_and_may_be_alone(tmp_path: Path) -> None:
    root = lay_out(tmp_path / "source", "test/1.png", "exam/1.png")
    assert listed(root, tmp_path) == [("exam/1.png", "exam", None), ("test/1.png", "test", None)]
    alone = lay_out(tmp_path / "alone", "cat/1.png", "empty/")
    assert listed(alone, tmp_path) == [("cat/1.png", "cat", None)]


def test_train_alone_is_a_split_and_not_a_class(tmp_path: Path) -> None:
    root = lay_out(tmp_path / "source", "train/cat/1.png", "train/dog/1.png")
    assert {(label, split) for _, label, split in listed(root, tmp_path)} == {
        ("cat", "train"),
        ("dog", "train"),
    }


def test_images_without_a_class_folder_are_named_and_left_out(tmp_path: Path) -> None:
    root = lay_out(tmp_path / "source", *CLASSES, "loose.png")
    assert listed(root, tmp_path) == OF_CLASSES
    assert left_out(root, tmp_path) == {"no_label": ("loose.png",)}
    splits = lay_out(tmp_path / "splits", "train/a/1.png", "train/b/1.png", "train/loose.png")
    assert len(listed(splits, tmp_path)) == 2
    assert left_out(splits, tmp_path) == {"no_label": ("train/loose.png",)}


def test_one_folder_that_holds_everything_is_stepped_into_and_what_lies_beside_it_told(
    tmp_path: Path,
) -> None:
    names = [f"data/flowers/{name}" for name in CLASSES]
    root = lay_out(tmp_path / "source", *names, "empty/", "data/cover.png", "README")
    assert listed(root, tmp_path) == OF_CLASSES
    assert left_out(root, tmp_path) == {
        "no_label": ("data/cover.png",),
        "not_an_image": ("README",),
    }


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from(["a", "b", "C c", "é", ".x", "1"]), min_size=1, max_size=3),
        max_size=12,
    ),
    st.sampled_from([*sorted(IMAGE_SUFFIXES), ".txt", ".PNG", ""]),
)
def test_every_file_is_listed_or_named_or_hidden(
    tmp_path_factory: pytest.TempPathFactory, places: list[list[str]], suffix: str
) -> None:
    root = tmp_path_factory.mktemp("any")
    names = {"/".join(["top", *folders, f"f{suffix}"]) for folders in places}
    lay_out(root, *names, "other/g.png")
    dataset = load_dataset(root, root)
    told = {e.file.relative_to(root).as_posix() for e in dataset.examples}
    told |= {path for paths in dataset.left_out.values() for path in paths}
    assert told == {n for n in names if "/." not in n} | {"other/g.png"}


def test_a_file_whose_name_is_not_utf8_is_left_out_and_named(tmp_path: Path) -> None:
    root = lay_out(tmp_path / "source", "a/1.png", "b/1.png")
    with open(os.fsencode(root / "a") + b"/caf\xe9.png", "wb") as stream:  # noqa: PTH123
        stream.write(b"x")
    assert [path for path, _, _ in listed(root, tmp_path)] == ["a/1.png", "b/1.png"]
    assert left_out(root, tmp_path) == {"bad_name": ("a/caf?.png",)}


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    root = lay_out(tmp_path / "source", "cat/1.png")
    lay_out(tmp_path / "elsewhere", "2.png")
    (root / "dog").symlink_to(tmp_path / "elsewhere")
    (root / "cat" / "up").symlink_to(root)
    (root / "dog" / "self").symlink_to(root / "dog")
    assert [path for path, _, _ in listed(root, tmp_path)] == ["cat/1.png", "dog/2.png"]


def test_a_folder_that_cannot_be_listed_is_an_error_and_not_a_missing_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = lay_out(tmp_path / "source", *CLASSES)
    true_scandir = os.scandir

    def scandir(path: os.PathLike[str] | str) -> object:
        if Path(path).name == "dog":  # root may read everything, so no real folder refuses
            raise PermissionError(13, "Permission denied", str(path))
        return true_scandir(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=r"dog: the folder cannot be listed: Permission denied"):
        load_dataset(root, tmp_path)


def table(root: Path, text: str, name: str = "table.csv", encoding: str = "utf-8") -> Path:
    lay_out(root, "images/1.png", "images/2.png", "3.png")
    (root / name).write_text(text, encoding=encoding)
    return root / name


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize(("name", "comma"), [("t.csv", ","), ("t.tsv", "\t"), ("t.CSV", ",")])
def test_a_table_gives_label_split_and_group_with_paths_relative_to_itself(
    tmp_path: Path, name: str, comma: str, encoding: str
) -> None:
    text = (
        "image,label,note,split,group\n3.png,dög,x,Valid,\nimages/2.png,cat,x,,g 1\n"
        "images/1.png,cat,x,train,g 1\n"
    ).replace(",", comma)
    dataset = load_dataset(table(tmp_path / "t", text, name, encoding), tmp_path)
    rows = [(e.path, e.label, e.split, e.group) for e in dataset.examples]
    assert rows == [
        ("3.png", "dög", "val", None),
        ("images/1.png", "cat", "train", "g 1"),
        ("images/2.png", "cat", None, "g 1"),
    ]
    assert all(e.file.read_bytes() == e.path.encode() for e in dataset.examples)
    assert dataset.left_out == {}


def test_files_of_a_table_that_are_not_there_are_named(tmp_path: Path) -> None:
    source = table(tmp_path / "t", "image,label\n3.png,a\ngone.png,b\nimages,b\n")
    assert listed(source, tmp_path) == [("3.png", "a", None)]
    assert left_out(source, tmp_path) == {"missing": ("gone.png", "images")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image;label\n3.png;a\n", r"expected the columns image and label .* found image;label"),
        ("", "found none"),
        ("image,label\n3.png,a\n\n3.png,\n", "row 4: image and label are both required"),
        ("image,label\n3.png\n", "row 2: image and label are both required"),
        (
            "image,label,split\n3.png,a,dev\n",
            "row 2: split must be train, val, test .* not 'dev'",
        ),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_with_the_row(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load_dataset(table(tmp_path / "t", text), tmp_path)


def test_a_table_in_another_encoding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="UTF-8"):
        load_dataset(
            table(tmp_path / "t", "image,label\n3.png,dög\n", encoding="latin-1"), tmp_path
        )


def packed(folder: Path, archive: Path, inside: str) -> Path:
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as opened:
            for file in sorted(p for p in folder.rglob("*") if p.is_file()):
                opened.write(file, Path(inside, file.relative_to(folder)))
    else:
        with tarfile.open(archive, "w:xz" if archive.suffix == ".xz" else "w") as opened:
            opened.add(folder, inside or ".")
    shutil.rmtree(folder)
    return archive


@pytest.mark.parametrize("name", ["a.tar", "a.tar.xz", "a.zip"])
@pytest.mark.parametrize("inside", ["", "data"])
def test_an_archive_of_any_form_is_listed_like_the_form_itself(
    tmp_path: Path, name: str, inside: str
) -> None:
    cache = tmp_path / "cache"
    lay_out(tmp_path / "f", *CLASSES, "cat/.DS_Store", "__MACOSX/cat/._1.png")
    assert listed(packed(tmp_path / "f", tmp_path / name, inside), cache) == OF_CLASSES

    lay_out(tmp_path / "p", "train/cat/1.png", "test/cat/2.png", "train/dog/3.png")
    splits = listed(packed(tmp_path / "p", tmp_path / f"p{name}", inside), cache)
    assert [(label, split) for _, label, split in splits] == [
        ("cat", "test"),
        ("cat", "train"),
        ("dog", "train"),
    ]

    table(tmp_path / "t", "image,label\n3.png,a\nimages/1.png,b\n")
    rows = listed(packed(tmp_path / "t", tmp_path / f"t{name}", inside), cache)
    assert rows == [("3.png", "a", None), ("images/1.png", "b", None)]

    columns = pyarrow.table({"image": [png(1), png(2)], "label": ["a", "b"]})
    pyarrow.parquet.write_table(columns, lay_out(tmp_path / "q", "x/") / "t.parquet")
    examples = load_dataset(packed(tmp_path / "q", tmp_path / f"q{name}", inside), cache).examples
    assert [(e.file.read_bytes(), e.label) for e in examples] == [(png(1), "a"), (png(2), "b")]


def test_a_source_that_is_none_is_refused_with_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no such folder, table or archive.*digits"):
        load_dataset(tmp_path / "nowhere", tmp_path)
    lay_out(tmp_path, "model.safetensors")
    with pytest.raises(DataError, match=r"expected a folder, a table .* or an archive"):
        load_dataset(tmp_path / "model.safetensors", tmp_path)


def test_a_folder_of_the_name_of_a_data_set_goes_before_the_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(load_dataset("digits", tmp_path / "cache").examples) == 1797
    lay_out(tmp_path / "digits", "0/a.png", "1/b.png")
    assert len(load_dataset("digits", tmp_path / "cache").examples) == 2


def test_images_to_predict_are_found_in_order_without_the_hidden(tmp_path: Path) -> None:
    lay_out(tmp_path, "b.png", "a.txt", ".c.png", "sub/d.jpg", "__MACOSX/e.png")
    assert list(find_images(tmp_path)) == [tmp_path / "b.png", tmp_path / "sub" / "d.jpg"]
    assert list(find_images(tmp_path / "a.txt")) == [tmp_path / "a.txt"]  # asked for by name
