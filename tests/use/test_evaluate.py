import csv
import json
import shutil

import pytest

import graft as package
from graft.errors import DataError, ModelError
from graft.progress import Progress
from graft.use.evaluate import evaluate_run


@pytest.fixture(params=["finished", "frozen_run"])
def run(request):
    return request.getfixturevalue(request.param)


def listed(run):
    with (run / "dataset.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def write_table(file, digits, rows, part=False):
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image", "label", *(["part"] if part else [])])
        for row in rows:
            given = [row["part"]] if part else []
            writer.writerow([str(digits / row["path"]), row["label"], *given])
    return file


MEASURES = (
    "n",
    "classes",
    "confusion",
    "accuracy",
    "macro_precision",
    "macro_recall",
    "macro_f1",
    "per_class",
    "baseline",
)


def test_a_table_of_the_test_part_gives_the_numbers_of_the_run(run, digits, tmp_path, graft_here):
    tested = [row for row in listed(run) if row["part"] == "test"]
    table = write_table(tmp_path / "test.csv", digits, tested)
    ended = graft_here("evaluate", run, table, "--json")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    then = json.loads((run / "metrics.json").read_text())
    assert found["part"] == "all"
    assert {name: found[name] for name in MEASURES} == {name: then[name] for name in MEASURES}
    for name in ("ece", "nll", "brier"):
        assert found[name] == pytest.approx(then[name], abs=1e-5)


def test_a_source_with_parts_is_evaluated_on_its_test_part(run, digits, tmp_path):
    table = write_table(tmp_path / "all.csv", digits, listed(run), part=True)
    found = package.evaluate(run, table)
    then = json.loads((run / "metrics.json").read_text())
    assert found["part"] == "test"
    assert found["confusion"] == then["confusion"]


def test_a_folder_of_part_folders_is_evaluated_on_its_test_part(finished, tmp_path, make_digits):
    make_digits(tmp_path / "train", each=9)
    make_digits(tmp_path / "validation", each=3, start=9)
    make_digits(tmp_path / "test", each=4, start=100)
    found = package.evaluate(finished, tmp_path)
    assert (found["part"], found["n"]) == ("test", 12)
    assert found == package.evaluate(finished, tmp_path / "test") | {"part": "test"}


def test_a_source_without_parts_is_evaluated_whole(finished, digits):
    found = package.evaluate(finished, digits)
    assert (found["part"], found["n"]) == ("all", 120)
    assert [sum(row) for row in found["confusion"]] == [40, 40, 40]


def test_classes_that_the_run_does_not_know_are_named(finished, tmp_path, make_digits, graft_here):
    source = make_digits(tmp_path / "more", "178", each=5)
    ended = graft_here("evaluate", finished, source)
    assert (ended.code, ended.out) == (3, "")
    assert ended.err.count("\n") == 1
    assert "the run knows the classes 0, 1, 2; 7, 8 " in ended.err


def test_a_source_may_lack_classes_of_the_run(finished, tmp_path, make_digits):
    source = make_digits(tmp_path / "fewer", "12", each=6)
    found = package.evaluate(finished, source)
    assert found["classes_without_images"] == ["0"]
    assert found["per_class"]["0"]["n"] == 0
    assert found["macro_recall"] == pytest.approx(
        (found["per_class"]["1"]["recall"] + found["per_class"]["2"]["recall"]) / 2
    )


def test_the_baseline_is_the_commonest_class_of_training(finished, tmp_path, make_digits):
    rows = [row["label"] for row in listed(finished) if row["part"] == "train"]
    source = make_digits(tmp_path / "source", each=5)
    found = package.evaluate(finished, source)
    assert rows.count(found["baseline"]["majority_class"]) == max(map(rows.count, "012"))
    assert found["baseline"]["chosen_on"] == "train"


def test_unusable_pictures_are_named_and_not_counted(finished, tmp_path, make_digits, graft_here):
    source = make_digits(tmp_path / "source", each=5)
    (source / "1" / "void.png").write_bytes(b"")
    ended = graft_here("evaluate", finished, source, "--json")
    assert ended.code == 0
    assert json.loads(ended.out)["n"] == 15
    assert "1/void.png" in ended.err


def test_a_source_without_usable_pictures_is_refused(finished, tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "void.png").write_bytes(b"")
    with pytest.raises(DataError, match="no usable picture"):
        evaluate_run(finished, tmp_path, Progress())


def test_a_run_that_is_not_finished_is_not_evaluated(finished, digits, tmp_path):
    copy = shutil.copytree(finished, tmp_path / "copy")
    (copy / "metrics.json").unlink()
    with pytest.raises(ModelError, match="not a finished run"):
        package.evaluate(copy, digits)
