"""Archives that are dropped in step Images: their images by class, within limits, as one action."""

import io
import tarfile
import zipfile
from datetime import UTC, datetime

import pytest
from app_client import Client, contents, served

import graft
from graft.app.added_archive import add_archive, archive_room
from graft.errors import DataError, UsageError


@pytest.fixture
def project(photos):
    with graft.Project(photos) as opened:
        opened.index.wait()
        yield opened


def zipped(members, place=None):
    """A zip of {name: bytes}, in a file or as bytes."""
    packed = place or io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return place or packed.getvalue()


def pictures(rendered, name, count):
    return [file.read_bytes() for file in sorted((rendered / name).iterdir())[:count]]


def added(project, name, data, label=""):
    with archive_room(project, name, len(data)) as place:
        place.write_bytes(data)
        return add_archive(project, place, name, label, "")


@pytest.fixture
def packed(rendered):
    """Two class folders in a folder, a picture beside them, and what is no image."""
    pots, bottles = pictures(rendered, "teapot", 3), pictures(rendered, "bottle", 2)
    members = {f"mine/teapot/{i}.png": data for i, data in enumerate(pots)}
    members |= {f"mine/bottle/{i}.png": data for i, data in enumerate(bottles)}
    return members | {
        "mine/teapot/broken.png": b"no image",
        "mine/readme.txt": b"words",
        "__MACOSX/mine/teapot/._0.png": b"of the system",
    }


def test_class_folders_become_classes_and_one_undo_takes_all_back(project, photos, packed):
    before, counts = contents(photos), project.counts()
    batch = datetime.now(UTC).strftime("%Y%m%d%H%M%S999d")
    with archive_room(project, "mine.zip", 1) as place:
        zipped(packed, place)
        found = add_archive(project, place, "mine.zip", "bowl", batch)
    assert found["count"] == 5
    assert found["classes"] == ["bottle", "teapot"]
    assert found["left_out"] == 1
    assert found["named"] == ["mine/teapot/broken.png"]
    assert project.counts() == counts | {"teapot": 3, "bottle": 2}
    assert contents(photos) == before
    assert not list(project.home.glob(".adding-*"))
    assert project.undo() == 5
    assert project.counts() == counts


def test_images_in_no_folder_go_to_the_chosen_class_or_one_of_the_archives_name(project, rendered):
    flat = [{f"{i}.png": data} for i, data in enumerate(pictures(rendered, "teapot", 2))]
    assert added(project, "holiday.zip", zipped(flat[0]), "bowl")["classes"] == ["bowl"]
    assert added(project, "Holiday.zip", zipped(flat[1]))["classes"] == ["Holiday"]


def test_a_tar_is_taken_as_well(project, rendered):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for i, data in enumerate(pictures(rendered, "teapot", 2)):
            member = tarfile.TarInfo(f"teapot/{i}.png")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    assert added(project, "x.tar.gz", packed.getvalue())["classes"] == ["teapot"]


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"../../out.png": b"x"}, r"^mine\.zip holds '../../out\.png', which leads out"),
        ({"notes.txt": b"words"}, r"^mine\.zip holds no images"),
        ({}, r"^mine\.zip holds no files"),
    ],
)
def test_what_cannot_be_taken_is_one_line_and_leaves_nothing(project, members, said):
    counts = project.counts()
    with pytest.raises(DataError, match=said):
        added(project, "mine.zip", zipped(members))
    with pytest.raises(DataError, match=r"^mine\.zip is damaged"):
        added(project, "mine.zip", b"PK no archive")
    with pytest.raises(UsageError, match="expected an archive"):
        added(project, "mine.rar", b"")
    with pytest.raises(DataError, match="but only"), archive_room(project, "mine.zip", 2**60):
        pass
    assert project.counts() == counts
    assert not list(project.home.glob(".adding-*"))


def test_one_is_sent_as_the_page_sends_it(photos, packed):
    with served(photos) as address:
        client = Client(address)
        client.wait_until_read()
        found = client.json("/api/images/add-archive?name=mine.zip", zipped(packed), "PUT")
        assert found["count"] == 5
        classes = client.json("/api/images/classes")["classes"]
        assert {"name": "teapot", "count": 3} in classes
        wrong = client.json("/api/images/add-archive?name=mine.7z", b"7z", "PUT", status=400)
        assert wrong["error"].startswith("mine.7z: expected an archive")
