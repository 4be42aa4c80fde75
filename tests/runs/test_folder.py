import pytest

from graft.errors import UsageError
from graft.runs.folder import FILES, free_folder, make_run_folder, short_name
from graft.runs.run import Run


def test_a_begun_run_is_begun_anew(tmp_path):
    for name in ("history.jsonl", "validation.json", ".fit.safetensors", ".choice.json"):
        (tmp_path / name).write_text("old")
    assert make_run_folder(tmp_path) == tmp_path
    assert not list(tmp_path.iterdir())


def test_resuming_keeps_checkpoints_and_choices_only(tmp_path):
    for name in ("history.jsonl", "dataset.csv", ".fit.safetensors", ".choice.json"):
        (tmp_path / name).write_text("old")
    assert Run.create(tmp_path, resume=True).path == tmp_path
    assert sorted(p.name for p in tmp_path.iterdir()) == [".choice.json", ".fit.safetensors"]


@pytest.mark.parametrize("resume", [False, True])
def test_nothing_of_the_users_is_overwritten(tmp_path, resume):
    (tmp_path / "thesis.txt").write_text("mine")
    (tmp_path / "history.jsonl").write_text("old")
    with pytest.raises(UsageError, match=r"other than a run \(thesis.txt\)"):
        make_run_folder(tmp_path, resume)
    with pytest.raises(UsageError, match="is a file"):
        make_run_folder(tmp_path / "thesis.txt", resume)
    with pytest.raises(UsageError, match=r"thesis\.txt/run: cannot be made"):
        make_run_folder(tmp_path / "thesis.txt" / "run", resume)
    (tmp_path / "thesis.txt").unlink()
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(UsageError, match="holds a finished run"):
        make_run_folder(tmp_path, resume)
    assert (tmp_path / "history.jsonl").read_text() == "old"


def test_without_out_a_run_that_lacks_its_report_is_resumed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "runs" / "photos-base_cnn"
    run.mkdir(parents=True)
    (run / "metrics.json").touch()
    assert free_folder("photos", "base_cnn", resume=True).name == "photos-base_cnn"
    assert free_folder("photos", "base_cnn").name == "photos-base_cnn-2"
    (run / "report.html").touch()
    assert free_folder("photos", "base_cnn", resume=True).name == "photos-base_cnn-2"


def test_a_folder_is_named_by_the_last_name_of_source_and_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {
        "digits": "digits",
        "/data/photos.tar.gz": "photos",
        "C:\\photos\\cats": "cats",
        "photos/": "photos",
        ".": tmp_path.name,
    }
    for source, name in names.items():
        assert short_name(source) == name
    assert len(set(FILES)) == len(FILES)
