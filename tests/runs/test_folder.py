from itertools import islice

import pytest

from graft.errors import UsageError
from graft.runs.claim import claimed
from graft.runs.folder import FILES, MARK, begun_folder, folders_for, short_name


@pytest.fixture
def begun(tmp_path):
    """The folder of a run that was cut off."""
    (tmp_path / MARK).write_text("made by graft")
    for name in ("history.jsonl", "validation.json", ".fit.safetensors", ".choice.json"):
        (tmp_path / name).write_text("old")
    return tmp_path


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def test_a_begun_run_is_begun_anew(begun):
    with claimed([begun]) as folder:
        assert folder == begun
        assert names(begun) == [MARK]


def test_resuming_keeps_checkpoints_and_choices_only(begun):
    with claimed([begun], resume=True):
        assert names(begun) == [".choice.json", ".fit.safetensors", MARK]
    assert MARK in names(begun), "it is not finished yet"


def test_a_finished_run_bears_no_mark_and_one_that_never_began_leaves_no_folder(tmp_path):
    with claimed([tmp_path / "run"]) as folder:
        (folder / "metrics.json").write_text("{}")
    assert names(folder) == ["metrics.json"]
    with pytest.raises(ZeroDivisionError), claimed([tmp_path / "new" / "run"]):
        _ = 1 / 0
    assert names(tmp_path) == ["new", "run"]
    assert names(tmp_path / "new") == []


def test_one_claim_at_a_time_in_threads_too(tmp_path):
    run, other = tmp_path / "run", tmp_path / "other"
    with claimed([run]):
        with pytest.raises(UsageError, match="is being trained by another process"), claimed([run]):
            pass
        with claimed([run, other]) as second:
            assert second == other
    with claimed([run]) as again:
        assert again == run


@pytest.mark.parametrize("resume", [False, True])
def test_nothing_of_the_users_is_overwritten(tmp_path, resume):
    def refused(folder, words, reads=()):
        before = names(tmp_path)
        with pytest.raises(UsageError, match=words), claimed([folder], resume, reads):
            pass
        assert names(tmp_path) == before

    (tmp_path / "history.jsonl").write_text("old")
    refused(tmp_path, r"was not made by graft, .* and holds history\.jsonl")
    (tmp_path / "thesis.txt").write_text("mine")
    refused(tmp_path, r"other than a run \(thesis.txt\)")
    refused(tmp_path / "thesis.txt", "is a file")
    refused(tmp_path / "thesis.txt" / "run", r"thesis\.txt/run: cannot be made")
    (tmp_path / "thesis.txt").unlink()
    (tmp_path / MARK).write_text("made by graft")
    refused(tmp_path, "which this run reads", [tmp_path / "history.jsonl"])
    (tmp_path / ".git").mkdir()
    refused(tmp_path, r"other than a run \(\.git\)")
    (tmp_path / ".git").rmdir()
    (tmp_path / "metrics.json").write_text("{}")
    refused(tmp_path, "holds a finished run")
    assert (tmp_path / "history.jsonl").read_text() == "old"


def test_without_out_a_run_that_lacks_its_report_is_resumed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "runs" / "photos-base_cnn"
    run.mkdir(parents=True)
    (run / "metrics.json").touch()
    assert begun_folder("photos", "base_cnn").name == "photos-base_cnn"
    with claimed(folders_for("photos", "base_cnn")) as new:
        assert new.name == "photos-base_cnn-2"
    (run / "report.html").touch()
    assert begun_folder("photos", "base_cnn").name == "photos-base_cnn-2"
    assert [f.name for f in islice(folders_for("a/b.zip", "m"), 3)] == ["b-m", "b-m-2", "b-m-3"]


def test_a_folder_is_named_by_the_last_name_of_source_and_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    known = {
        "digits": "digits",
        "/data/photos.tar.gz": "photos",
        "C:\\photos\\cats": "cats",
        "photos/": "photos",
        ".": tmp_path.name,
    }
    for source, name in known.items():
        assert short_name(source) == name
    assert len(set(FILES)) == len(FILES)
