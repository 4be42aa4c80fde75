"""A run whose source was given as a relative path knows its images in any other folder, too."""

import shutil

from graft.export.parity import sample_of
from graft.runs.records import seen_from_run, source_of
from graft.runs.repeat_lines import repeat_lines
from graft.runs.run import Run

QUICK = ["--model", "base_cnn", "--image-size", "16", "--epochs", "1", "--views", "1"]


def test_its_images_are_found_from_elsewhere_and_after_both_have_moved(
    digits, graft_here, tmp_path, monkeypatch
):
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    shutil.copytree(digits, here / "photos")
    (elsewhere / "photos" / "cat").mkdir(parents=True)  # of the same name, with other images
    monkeypatch.chdir(here)
    assert graft_here("train", "photos", *QUICK, "--out", "kept/1").code == 0
    assert Run("kept/1").config["source"] == "photos"
    assert repeat_lines("kept/1")[0].command == "graft check photos"
    monkeypatch.chdir(elsewhere)
    run = Run(here / "kept" / "1")
    assert {file.parent.parent for file in run.files.values()} == {here / "photos"}
    assert all(file.is_file() for file in sample_of(run).files)
    assert repeat_lines(run.path)[0].command == f"graft check {here / 'photos'}"
    shutil.move(here, tmp_path / "moved")
    moved = Run(tmp_path / "moved" / "kept" / "1")
    assert {file.parent.parent for file in moved.files.values()} == {tmp_path / "moved" / "photos"}


def test_other_sources_are_kept_as_they_were_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert seen_from_run(tmp_path, tmp_path / "run") == {}
    assert seen_from_run("digits", tmp_path / "run") == {}, "a data set of that name"
    assert source_of({"source": "photos"}, tmp_path / "run") == "photos"
    gone = {"source": "photos", "source_from_run": "../photos"}
    assert source_of(gone, tmp_path / "run") == "photos"
