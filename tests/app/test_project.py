import csv
import io
import shutil

import numpy as np
import pytest
from app_client import contents
from PIL import Image

import graft
from graft.app.arrivals import arrive
from graft.app.last_action import last_action, undo_last
from graft.app.project import Project
from graft.data.sources import load_dataset
from graft.errors import DataError, UsageError
from graft.quality.correction import REVIEWING, SORTING, Correction


@pytest.fixture
def project(photos):
    with Project(photos) as opened:
        opened.index.wait()
        yield opened


def noise(seed):
    """The bytes of an image that no other test has."""
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def rows(table):
    with table.open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_a_folder_is_shown_as_it_is(project, photos, tmp_path):
    assert project.counts() == {"bowl": 20, "mug": 20, "vase": 20}
    assert project.home == tmp_path / "photos-graft"
    listed = load_dataset(photos, tmp_path).examples
    assert [(i.path, i.label, i.file) for i in project.images()] == [
        (e.path, e.label, e.file) for e in listed
    ]


def test_what_is_decided_is_what_training_sees_and_no_file_of_the_users_changes(
    project, photos, tmp_path
):
    before = contents(photos)
    bowls = [image.path for image in project.images() if image.label == "bowl"]
    project.move(bowls[:3], "mug")
    project.delete(bowls[3:5])
    project.rename_class("vase", "pot")
    project.add("jug", "j.png", noise(0))
    assert project.counts() == {"bowl": 15, "jug": 1, "mug": 23, "pot": 20}
    table = project.write_table()
    found = load_dataset(table, tmp_path)
    assert found.counts == project.counts()
    by_file = {example.file.resolve(): example.label for example in found.examples}
    assert by_file[(photos / bowls[0]).resolve()] == "mug"
    assert (photos / bowls[4]).resolve() not in by_file
    assert set(rows(table)[0]) == {"image", "label"}
    assert contents(photos) == before


def test_every_action_can_be_undone_in_turn(project):
    actions = [
        lambda: project.move([project.images()[0].path], "vase"),
        lambda: project.rename_class("vase", "mug"),
        lambda: project.delete([image.path for image in project.images()[5:9]]),
        lambda: project.add("bowl", "x.png", noise(0)),
        lambda: project.rename_class("bowl", "dish"),
        lambda: project.delete_class("mug"),
        lambda: project.add_class("lamp"),
        lambda: project.rename_class("lamp", "light"),
        lambda: project.move([image.path for image in project.images()[:4]], "light"),
        lambda: project.rename_class("light", "jug"),
        lambda: project.add_class("box"),
        lambda: project.delete_class("box"),
        lambda: project.delete_class("jug"),
        lambda: project.move([image.path for image in project.images()[:4]], "jug"),
    ]

    def state():
        return project.images(), project.counts()

    seen = [state()]
    for action in actions:
        action()
        seen.append(state())
        assert seen[-1] != seen[-2]
    for before in reversed(seen[:-1]):
        assert project.undo() is not None
        assert state() == before
    assert project.undo() is None


def decided(decision, image, new):
    return Correction(decision, image.sha256, image.path, image.label, new)


def test_each_step_takes_back_its_own_last_action(project):
    first, second, third = project.images()[:3]
    project.record([decided("relabel", first, "vase")])
    project.move([second.path], "mug")
    project.add_class("jug")
    project.record([decided("keep", third, third.label)])
    assert project.undo(SORTING) == 0, "the class that was made"
    assert project.undo(SORTING) == 1
    assert [image.label for image in project.images()[:3]] == ["vase", "bowl", "bowl"]
    assert project.undo(SORTING) is None
    assert project.undo(REVIEWING) == 1
    assert project.undo(REVIEWING) == 1
    assert project.undo(REVIEWING) is None
    assert [image.label for image in project.images()[:3]] == ["bowl"] * 3


def test_no_other_action_is_undone_than_the_one_that_is_named(project):
    assert last_action(project, SORTING) == ""
    project.add("bowl", "x.png", noise(0), batch="20991231235959999d")
    assert last_action(project, SORTING) == "20991231235959999d"
    with pytest.raises(UsageError, match="something else was done since"):
        undo_last(project, SORTING, "2026-01-01T00:00:00.000000+00:00")
    assert undo_last(project, SORTING, "20991231235959999d").what == "add"
    for act in (lambda: project.add_class("jug"), lambda: project.delete_class("mug")):
        act()
        assert undo_last(project, SORTING, last_action(project, SORTING)) is not None


def test_of_what_arrives_it_is_said_whether_it_is_new(project):
    own = project.images()[0]
    bytes_of_own = own.file.read_bytes()
    batch = "20260101120000000d"
    assert arrive(project, "jug", "x.png", noise(0), batch)["state"] == "new"
    again = arrive(project, "mug", "y.png", noise(0), batch)
    assert (again["state"], again["label"]) == ("there", "jug")
    assert arrive(project, "mug", "z.png", bytes_of_own, batch)["label"] == "bowl"
    project.delete([own.path])
    assert arrive(project, "mug", "z.png", bytes_of_own, batch)["state"] == "back"
    assert project.image(own.sha256).label == "mug"


def test_what_the_other_step_has_built_on_is_not_taken_back_beneath_it(project):
    first, second = project.images()[:2]
    project.record([decided("relabel", first, "vase"), decided("relabel", second, "vase")])
    project.move([first.path], "mug")
    with pytest.raises(UsageError, match=r"^1 of 2 images .* in step Images; undo that there"):
        project.undo(REVIEWING)
    project.record([decided("keep", project.images()[0], "mug")])
    with pytest.raises(UsageError, match=r"^1 of 1 images .* in step Check; undo that there"):
        project.undo(SORTING)
    assert [image.label for image in project.images()[:2]] == ["mug", "vase"]
    assert [project.undo() for _ in range(4)] == [1, 1, 2, None]


def test_empty_classes_of_an_older_version_are_read(project):
    (project.home / "classes.json").write_text('["jug"]')
    assert project.counts()["jug"] == 0
    assert project.undo() is None
    project.delete_class("jug")
    assert project.undo() == 0
    assert project.counts()["jug"] == 0


def test_it_is_as_it_was_left_when_it_is_opened_again(photos):
    with Project(photos) as project:
        project.index.wait()
        project.move([project.images()[0].path], "vase")
        project.add("jug", "x.png", noise(0))
        left = project.images()
    with Project(photos) as project:
        project.index.wait()
        assert project.images() == left


def test_only_new_and_changed_files_are_read_again(photos, monkeypatch):
    with Project(photos) as project:
        project.index.wait()
    shutil.copy(
        photos / "bowl" / sorted(p.name for p in (photos / "bowl").iterdir())[0],
        photos / "mug" / "new.png",
    )
    read = []
    from graft.app import image_index

    original = image_index.read_bytes
    monkeypatch.setattr(image_index, "read_bytes", lambda file: read.append(file) or original(file))
    with Project(photos) as project:
        project.index.wait()
        assert read == [photos / "mug" / "new.png"]
        assert project.counts()["mug"] == 21


def test_a_second_user_of_a_folder_gets_one_clear_line(project, photos):
    with pytest.raises(UsageError, match=r"photos is open in another graft app \(Python by .+\)"):
        Project(photos)


def test_a_folder_of_that_name_that_graft_did_not_make_is_left_alone(photos, tmp_path):
    (tmp_path / "photos-graft").mkdir()
    (tmp_path / "photos-graft" / "thesis.tex").write_text("years")
    with pytest.raises(UsageError, match="was not made by graft app"):
        Project(photos)
    assert [f.name for f in (tmp_path / "photos-graft").iterdir()] == ["thesis.tex"]
    with Project(photos, home=tmp_path / "elsewhere") as project:
        assert project.home == tmp_path / "elsewhere"


def test_images_without_a_class_can_be_given_one(tmp_path, photos):
    flat = tmp_path / "flat"
    flat.mkdir()
    for i, file in enumerate(sorted(photos.rglob("*.*"))[:4]):
        shutil.copy(file, flat / f"{i}{file.suffix}")
    with Project(flat) as project:
        project.index.wait()
        assert project.counts() == {"": 4}
        with pytest.raises(DataError, match="no image has a class yet"):
            project.write_table()
        project.move([project.images()[0].path], "mug")
        assert project.counts() == {"mug": 1, "": 3}
        assert len(rows(project.write_table())) == 1


def test_frames_of_one_take_stay_together_in_one_split(project):
    for i in range(4):
        project.add("jug", "webcam", noise(i), batch=f"20260101120000000w{i // 2}")
    project.add("jug", "dropped", noise(9))
    groups = [row["group"] for row in rows(project.write_table()) if row["label"] == "jug"]
    assert sorted(map(groups.count, groups)) == [1, 2, 2, 2, 2]
    assert groups.count("") == 1


def test_what_is_no_image_is_not_kept(project):
    for data in (b"", b"text", b"\x89PNG\r\n\x1a\n cut off"):
        with pytest.raises(DataError, match=r"notes\.jpg .*expected an image"):
            project.add("jug", "notes.jpg", data)
    assert list(project.added.rglob("*.*")) == []
    assert "jug" not in project.counts()


@pytest.mark.parametrize("name", ["", "  ", "x" * 81, "a\0b", "a\nb\x1b[31m"])
def test_a_class_needs_a_name_that_can_be_read(project, name):
    with pytest.raises(UsageError, match="the name of a class"):
        project.add_class(name)


@pytest.mark.parametrize("name", ["../../etc", "a/b", ".", "CON", "größe: 5 %", "…"])
def test_any_other_name_stays_within_the_project(project, name):
    path = project.add(name, "x.png", noise(0))
    file = project.home / path
    assert file.is_file()
    assert file.resolve().is_relative_to(project.added.resolve())
    assert file.parent.parent == project.added
    assert project.counts()[name] == 1
    project.read_again()
    project.index.wait()
    assert project.counts()[name] == 1


@pytest.mark.slow
def test_the_public_name_does_all_this_in_python(photos, tmp_path):
    with graft.Project(photos) as project:
        project.index.wait()
        project.move([project.images()[0].path], "vase")
        assert graft.check(project.write_table()).dataset.counts["vase"] == 21


def test_an_image_that_was_deleted_and_comes_again_is_back(project):
    image = project.images()[0]
    project.delete([image.path])
    path = project.add("vase", "again.png", image.file.read_bytes())
    assert path == image.path
    assert project.counts() == {"bowl": 19, "mug": 20, "vase": 21}
    assert list(project.added.rglob("*.*")) == []


def test_copies_of_the_same_bytes_share_a_decision(project, photos):
    image = project.images()[0]
    shutil.copy(image.file, photos / "bowl" / "copy.png")
    project.read_again()
    project.index.wait()
    assert project.move(["bowl/copy.png", image.path], "vase") == 2
    assert project.counts() == {"bowl": 19, "mug": 20, "vase": 22}


def test_images_that_were_kept_out_can_be_moved(project):
    image = project.images()[0]
    project.record([Correction("keep_out", image.sha256, image.path, image.label, "")])
    assert project.images()[0].kept_out
    assert len(rows(project.write_table())) == 59
    project.move([image.path], "vase")
    assert not project.images()[0].kept_out
    assert project.counts()["vase"] == 21


def test_a_class_that_was_renamed_can_be_made_anew(project):
    project.rename_class("vase", "pot")
    project.add_class("vase")
    project.add("vase", "x.jpg", noise(1))
    assert project.counts() == {"bowl": 20, "mug": 20, "pot": 20, "vase": 1}


def test_images_that_were_added_together_are_taken_back_together(project):
    for i in range(3):
        project.add("jug", "x.jpg", noise(i), batch=f"20991231235959999w{i}")
    assert project.counts()["jug"] == 3
    assert project.undo() == 3
    assert "jug" not in project.counts()
    assert len(list((project.home / "removed").rglob("*.png"))) == 3
    assert project.undo() is None
