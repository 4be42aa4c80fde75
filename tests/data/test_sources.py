import csv
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


def test_links_are_followed_once_and_not_in_circles(tmp_path: Path) -> None:
    root = lay_out(tmp_path / "source", "cat/1.png", ".store/2.png", ".store/3.png")
    (root / "dog").symlink_to(root / ".store")
    (root / "again").symlink_to(root / ".store")
    (root / "cat" / "up").symlink_to(root)
    (root / "cat" / "own.png").symlink_to(root / ".store" / "3.png")
    (root / ".store" / "self").symlink_to(root / ".store")
    found = [path for path, _, _ in listed(root, tmp_path)]
    # In the order of their names the first of two links is followed.
    assert found == ["again/2.png", "again/3.png", "cat/1.png", "cat/own.png"]
    assert left_out(root, tmp_path) == {}


def test_links_out_of_the_source_are_named_and_followed_only_if_asked_for(tmp_path: Path) -> None:
    root = lay_out(tmp_path / "source", "cat/1.png")
    lay_out(tmp_path / "elsewhere", "2.png", "dog2/3.png")
    (root / "dog").symlink_to(tmp_path / "elsewhere")
    (root / "cat" / "passwd.png").symlink_to("/etc/passwd")
    (root / "cat" / "all").symlink_to("/")
    (root / "dog2").symlink_to("../elsewhere/dog2")
    dataset = load_dataset(root, tmp_path)
    assert [e.path for e in dataset.examples] == ["cat/1.png"]
    assert set(dataset.left_out["link_outside"]) == {"dog", "dog2", "cat/passwd.png", "cat/all"}
    (root / "cat" / "passwd.png").unlink()
    asked = load_dataset(root, tmp_path, follow_links=True)
    # The link to / leads back, to a folder above, and is followed never.
    found = [e.path for e in asked.examples]
    assert found == ["cat/1.png", "dog/2.png", "dog/dog2/3.png", "dog2/3.png"]
    assert asked.left_out == {}


def test_a_source_that_is_itself_a_link_is_read(tmp_path: Path) -> None:
    lay_out(tmp_path / "real", *CLASSES)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert listed(tmp_path / "link", tmp_path) == OF_CLASSES


def test_other_folders_beside_the_splits_are_no_classes(tmp_path: Path) -> None:
    names = ["train/cat/1.png", "train/dog/1.png", "test/cat/2.png", "test/dog/3.png"]
    root = lay_out(tmp_path / "source", *names, "to_predict/4.png", "to_predict/more/5.png")
    assert {(label, split) for _, label, split in listed(root, tmp_path)} == {
        ("cat", "train"),
        ("dog", "train"),
        ("cat", "test"),
        ("dog", "test"),
    }
    left = {"beside_splits": ("to_predict/4.png", "to_predict/more/5.png")}
    assert left_out(root, tmp_path) == left


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (
            ["train/1.png", "test/2.png", "to_predict/3.png"],
            "test/, train/ would be splits by name and hold images, but to_predict/ lies beside",
        ),
        (
            ["train/steam/1.png", "train/diesel/1.png", "bus/red/2.png", "car/3.png"],
            r"train/ would be a split by name and holds folders of images \(diesel/, steam/\), "
            "but bus/, car/ lie beside",
        ),
    ],
)
def test_where_splits_and_classes_cannot_be_told_apart_it_stops_and_says_what_it_saw(
    tmp_path: Path, names: list[str], says: str
) -> None:
    with pytest.raises(DataError, match=says):
        load_dataset(lay_out(tmp_path / "source", *names), tmp_path)


BIRDS = ("birds/robin/1.png", "birds/jay/young/2.png", "birds/3.png", "cats/4.png")


def test_of_deeper_trees_either_folder_is_the_label_and_the_usual_reading_is_told(
    tmp_path: Path,
) -> None:
    root = lay_out(tmp_path / "source", *BIRDS)
    usual = load_dataset(root, tmp_path)
    assert usual.counts == {"birds": 3, "cats": 1}
    ((kind, told),) = usual.remarks
    assert kind == "subfolders"
    assert told.startswith("2 folders lie inside of class folders (first: birds/jay/young, whose")
    chosen = load_dataset(root, tmp_path, label_by="outermost")
    assert (chosen.examples, chosen.remarks) == (usual.examples, ())
    inner = load_dataset(root, tmp_path, label_by="innermost")
    assert inner.counts == {"birds": 1, "birds/jay/young": 1, "birds/robin": 1, "cats": 1}
    assert inner.remarks == ()
    lay_out(tmp_path / "splits", *(f"{split}/{n}" for n in BIRDS for split in ("train", "test")))
    both = load_dataset(tmp_path / "splits", tmp_path, label_by="innermost")
    assert both.classes == inner.classes
    assert {e.split for e in both.examples} == {"train", "test"}


def test_a_class_of_nothing_but_files_that_graft_cannot_read_is_counted_as_lost(
    tmp_path: Path,
) -> None:
    names = ["cat/2020/1.jpg", "cat/2021/2.jpg", "cat/2020/1.nef", "dog/1.nef", "dog/2.NEF"]
    dataset = load_dataset(lay_out(tmp_path / "source", *names, "dog/x.txt"), tmp_path)
    assert dataset.counts == {"cat": 2}
    # Beside photos that are read, a camera's raw files are no loss.
    assert dataset.lost == {"dog": 2}


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
        ("picture;label\n3.png;a\n", r"expected the columns image and label .* found 'picture',"),
        ("", "found none"),
        (
            "image,label,split\n3.png,a,dev\n",
            "row 2: split must be train, val, test .* not 'dev'",
        ),
        ("image,label\n3.png," + "a" * 200_000, "near row 1: field larger than field limit"),
        ("image,label\n3.png,a\0b\n", "is no table of text in UTF-8: it holds zero bytes"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_with_the_row(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load_dataset(table(tmp_path / "t", text), tmp_path)


def test_rows_without_a_label_or_an_image_are_left_out_and_named(tmp_path: Path) -> None:
    text = "image,label\n3.png,a\n\nimages/1.png,\nimages/2.png\n,b\n"
    dataset = load_dataset(table(tmp_path / "t", text), tmp_path)
    assert [e.path for e in dataset.examples] == ["3.png"]
    assert dataset.left_out == {
        "unlabeled": ("images/1.png", "images/2.png"),
        "no_image": ("row 6",),
    }
    assert dataset.lost == {"b": 1}


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("utf-8", ""),
        ("utf-8-sig", ""),
        ("utf-16", "it is read as UTF-16"),
        ("utf-16-le", "it is read as UTF-16-LE"),
        ("utf-16-be", "it is read as UTF-16-BE"),
        ("utf-32", "it is read as UTF-32"),
        ("latin-1", "it is read as Windows-1252 (Latin-1)"),
        ("cp1252", "it is read as Windows-1252 (Latin-1)"),
    ],
)
@pytest.mark.parametrize(
    ("comma", "divided"),
    [
        (",", ""),
        (";", "its cells are divided by semicolons"),
        ("\t", "its cells are divided by tabs"),
    ],
)
@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("image,label", ""),
        ("Image,Label", ""),
        ("filename,class", "the image is the column 'filename', the label is the column 'class'"),
    ],
)
def test_tables_are_read_as_peoples_programs_write_them_and_it_is_said_how(
    tmp_path: Path,
    encoding: str,
    said: str,
    comma: str,
    divided: str,
    header: str,
    columns: str,
) -> None:
    text = f"{header}\r\n3.png,dög; or not\r\nimages/1.png,cat\r\n".replace(",", comma)
    text = text.replace("dög; or not", '"dög; or not"')
    dataset = load_dataset(table(tmp_path / "t", text, encoding=encoding), tmp_path)
    assert [e.label for e in dataset.examples] == ["dög; or not", "cat"]
    told = ", ".join(filter(None, (said, divided, columns)))
    form = "the table is not in the usual form: "
    assert dataset.remarks == ((("table_form", form + told),) if told else ())


def test_the_line_with_which_excel_says_its_separator_is_understood(tmp_path: Path) -> None:
    source = table(tmp_path / "t", "sep=;\nimage;label\n3.png;a\nimages/1.png;\n")
    assert listed(source, tmp_path) == [("3.png", "a", None)]
    assert left_out(source, tmp_path) == {"unlabeled": ("images/1.png",)}


def test_of_several_columns_that_could_be_the_image_the_one_of_that_name_is(tmp_path: Path) -> None:
    text = "path,file,image,class,label\nx,y,3.png,z,a\n"
    (example,) = load_dataset(table(tmp_path / "t", text), tmp_path).examples
    assert (example.path, example.label) == ("3.png", "a")
    assert example.columns == {"path": "x", "file": "y", "class": "z"}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1).filter(
                lambda label: label == label.strip()
            ),
            st.sampled_from(["", "train", "val", "test"]),
        ),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
)
def test_any_labels_come_out_of_a_table_as_they_went_in(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str]],
    comma: str,
    encoding: str,
) -> None:
    root = tmp_path_factory.mktemp("any")
    names = [f"{n}.png" for n in range(len(rows))]
    lay_out(root, *names)
    with (root / "t.csv").open("w", newline="", encoding=encoding) as stream:
        writer = csv.writer(stream, delimiter=comma)
        writer.writerow(["image", "label", "split"])
        writer.writerows((name, *row) for name, row in zip(names, rows, strict=True))
    found = listed(root / "t.csv", root)
    assert found == [
        (n, label, split or None) for n, (label, split) in zip(names, rows, strict=True)
    ]


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


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
@pytest.mark.parametrize("image", ["/etc/passwd", "../../../../etc/passwd", "images/../../x.png"])
def test_a_table_in_an_archive_may_name_nothing_outside_of_the_archive(
    tmp_path: Path, suffix: str, image: str
) -> None:
    lay_out(tmp_path / "cache" / "unpacked", "x.png")
    table(tmp_path / "t", f"image,label\n3.png,a\n{image},b\n")
    packing = {".zip": "zip", ".tar.gz": "gztar"}[suffix]
    archive = shutil.make_archive(str(tmp_path / "made"), packing, tmp_path / "t")
    with pytest.raises(DataError, match=r"row 3: names '.*', which is not in the archive"):
        load_dataset(archive, tmp_path / "cache")


def test_a_column_of_a_parquet_table_in_an_archive_cannot_lead_to_other_files(
    tmp_path: Path,
) -> None:
    lay_out(tmp_path / "q", "1.png")
    columns = {"image": ["1.png"], "label": ["a"], "file": ["/etc/passwd"]}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "q" / "t.parquet")
    source = packed(tmp_path / "q", tmp_path / "q.zip", "")
    (example,) = load_dataset(source, tmp_path / "cache").examples
    assert example.file.name == "1.png"


@pytest.mark.parametrize("name", ["s.csv", "s.parquet", "s.zip", "s.tar.gz", "s.other"])
def test_a_pipe_or_a_device_is_no_source_and_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match=r"expected .* but it is a named pipe"):
        load_dataset(tmp_path / name, tmp_path)
    (tmp_path / f"zero{name}").symlink_to("/dev/zero")
    with pytest.raises(DataError, match=r"expected .* but it is a device"):
        load_dataset(tmp_path / f"zero{name}", tmp_path)


@pytest.mark.parametrize("name", ["s.csv", "s.parquet", "s.zip", "s.tar", "s.tar.gz"])
def test_a_source_of_30_gb_of_nothing_is_refused_at_once(tmp_path: Path, name: str) -> None:
    with (tmp_path / name).open("wb") as stream:
        stream.truncate(30 * 10**9)
    with pytest.raises(DataError):
        load_dataset(tmp_path / name, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


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
