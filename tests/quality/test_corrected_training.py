"""Corrections in the commands that take them: train, check and what reads a run again."""

import hashlib
import json
import shutil

import pytest

import graft
from graft.quality.correction import Correction
from graft.quality.corrections import append

SMALL = {"model": "base_cnn", "image_size": 16, "epochs": 2, "views": 1}


def planted(digits, folder, count=4):
    """A copy of `digits` in which the first images of 1 lie in 2, and the journal that says so."""
    shutil.copytree(digits, folder)
    journal = folder.parent / "decisions.csv"
    moved = sorted((folder / "1").iterdir())[:count]
    for file in moved:
        name = hashlib.sha256(file.read_bytes()).hexdigest()
        file.rename(folder / "2" / f"moved-{file.name}")
        append(journal, [Correction("relabel", name, f"2/{file.name}", "2", "1")])
    out = sorted((folder / "0").iterdir())[0]
    name = hashlib.sha256(out.read_bytes()).hexdigest()
    append(journal, [Correction("keep_out", name, f"0/{out.name}", "0", "")])
    return folder, journal


@pytest.fixture(scope="module")
def corrected(digits, tmp_path_factory):
    """The planted source, its journal, and the run that was trained with both."""
    folder = tmp_path_factory.mktemp("corrected")
    source, journal = planted(digits, folder / "digits")
    return source, journal, graft.train(source, out=folder / "run", corrections=journal, **SMALL)


def test_a_run_is_trained_on_the_corrected_labels_and_says_so(corrected, digits):
    source, _, run = corrected
    by_digest = {
        hashlib.sha256(file.read_bytes()).hexdigest(): file.parent.name
        for file in digits.rglob("*.png")
    }
    found = {row["sha256"]: row["label"] for row in run.images}
    # The reference: the folder in which nothing was planted.
    assert found.items() <= by_digest.items()
    assert len(found) == len(by_digest) - 1
    kept = json.loads((run.path / "config.json").read_text())["corrections"]
    assert kept["images"] == {"relabel": 4, "keep_out": 1}
    assert kept["decisions"] == 5
    assert "4 images relabeled, 1 image left out" in (run.path / "report.html").read_text()
    assert {f.name for f in (source / "2").iterdir() if f.name.startswith("moved")}


def test_the_command_takes_a_journal_and_refuses_one_of_other_images(
    corrected, digits, graft_here, tmp_path
):
    source, journal, _ = corrected
    ended = graft_here("check", source, "--corrections", journal, "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["classes"] == {"0": 39, "1": 40, "2": 40}
    assert "4 images relabeled" in ended.err
    other = tmp_path / "other.csv"
    append(other, [Correction("keep", "ab" * 32, "x.png", "0", "0")])
    train = ["train", digits, "--model", "base_cnn", "--out", tmp_path / "run"]
    for verb in (["check", digits], train):
        ended = graft_here(*verb, "--corrections", other)
        assert ended.code == 3, ended.err
        assert ended.err.count("graft: ") == 1
        assert "none of its 1 image is in" in ended.err
    assert not (tmp_path / "run").exists()
    ended = graft_here("check", digits, "--corrections", tmp_path / "no.csv")
    assert (ended.code, "there is no such journal" in ended.err) == (2, True)


def test_a_class_that_only_corrections_make_large_enough_can_be_trained_on(
    make_digits, tmp_path, graft_here
):
    source = make_digits(tmp_path / "source", "01", each=20)
    make_digits(source, "2", each=3)
    journal = tmp_path / "decisions.csv"
    append(journal, [Correction("rename", "", "", "2", "1")])
    refused = graft_here("check", source)
    assert refused.code == 3
    ended = graft_here("check", source, "--corrections", journal, "--json")
    assert ended.code == 0, ended.out
    assert json.loads(ended.out)["classes"] == {"0": 20, "1": 23}
    run = graft.train(source, out=tmp_path / "run", corrections=journal, **SMALL)
    assert run.classes == ["0", "1"]


@pytest.mark.slow
def test_a_corrected_run_is_validated_on_its_own_labels(corrected, tmp_path):
    source, journal, run = corrected
    frozen = graft.train(
        source, out=tmp_path / "run", model=str(run.path), epochs=2, views=1, corrections=journal
    )
    found = graft.validate(frozen.path, folds=2)
    assert found["folds"]["n"] == len(frozen.images)
