import csv
import json
import shutil

import pytest

import graft as package
from graft.errors import DataError, ModelError
from graft.inference.evaluate_run import evaluate_run
from graft.utils.progress import Progress


@pytest.fixture(params=["finished", "frozen_run"])
def run(request):
    return request.getfixturevalue(request.param)


def listed(run):
    with (run / "dataset.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def write_table(file, digits, rows, split=False):
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image", "label", *(["split"] if split else [])])
        for row in rows:
            given = [row["split"]] if split else []
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


def test_a_table_of_the_test_split_gives_the_numbers_of_the_run(run, digits, tmp_path, graft_here):
    tested = [row for row in listed(run) if row["split"] == "test"]
    table = write_table(tmp_path / "test.csv", digits, tested)
    ended = graft_here("evaluate", run, table, "--json")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    then = json.loads((run / "metrics.json").read_text())
    assert found["split"] == "all"
    assert {name: found[name] for name in MEASURES} == {name: then[name] for name in MEASURES}
    for name in ("ece", "nll", "brier"):
        assert found[name] == pytest.approx(then[name], abs=1e-5)


def test_a_source_with_splits_is_evaluated_on_its_test_split(run, digits, tmp_path):
    table = write_table(tmp_path / "all.csv", digits, listed(run), split=True)
    found = package.evaluate(run, table)
    then = json.loads((run / "metrics.json").read_text())
    assert found["split"] == "test"
    assert found["confusion"] == then["confusion"]


def test_a_folder_of_part_folders_is_evaluated_on_its_test_split(finished, tmp_path, make_digits):
    make_digits(tmp_path / "train", each=9)
    make_digits(tmp_path / "validation", each=3, start=9)
    make_digits(tmp_path / "test", each=4, start=100)
    found = package.evaluate(finished, tmp_path)
    assert (found["split"], found["n"]) == ("test", 12)
    assert found == package.evaluate(finished, tmp_path / "test") | {"split": "test"}


def test_a_source_without_splits_is_evaluated_whole(finished, tmp_path, make_digits):
    found = package.evaluate(finished, make_digits(tmp_path, each=20, start=100))
    assert (found["split"], found["n"]) == ("all", 60)
    assert [sum(row) for row in found["confusion"]] == [20, 20, 20]
    assert found["findings"] == []


def test_images_that_the_run_was_trained_on_are_told_and_left_out(run, digits, graft_here):
    ended = graft_here("evaluate", run, digits, "--json")
    found = json.loads(ended.out)
    then = json.loads((run / "metrics.json").read_text())
    assert (found["n"], found["confusion"]) == (then["n"], then["confusion"])
    (finding,) = found["findings"]
    known = {row["path"] for row in listed(run) if row["split"] != "test"}
    assert (finding["kind"], finding["severity"]) == ("trained_on", "matters")
    assert set(finding["paths"]) == known
    assert f"trained_on: {len(known)} images" in ended.err
    assert f"{found['n']} others are evaluated" in ended.err


def test_a_renamed_copy_of_a_training_image_is_known_again(finished, digits, tmp_path, make_digits):
    source = make_digits(tmp_path / "new", each=5, start=100)
    row = next(row for row in listed(finished) if row["split"] == "train")
    shutil.copy(digits / row["path"], source / row["label"] / "other.png")
    found = package.evaluate(finished, source)
    assert found["n"] == 15
    assert found["findings"][0]["paths"] == (f"{row['label']}/other.png",)


def test_nothing_but_training_images_is_refused(finished, digits, tmp_path, graft_here):
    rows = [row for row in listed(finished) if row["split"] in ("train", "val")]
    table = write_table(tmp_path / "known.csv", digits, rows)
    ended = graft_here("evaluate", finished, table)
    assert (ended.code, ended.out) == (3, "")
    assert f"all {len(rows)} images that can be used are in train or val" in ended.err


@pytest.mark.parametrize(("spoil", "says"), [(None, "missing"), ("path\n1.png\n", "damaged")])
def test_a_run_that_does_not_say_what_it_learned_from_is_not_evaluated(
    finished, digits, tmp_path, spoil, says
):
    copy = shutil.copytree(finished, tmp_path / "copy")
    (copy / "dataset.csv").unlink()
    if spoil:
        (copy / "dataset.csv").write_text(spoil)
    with pytest.raises(ModelError, match=rf"dataset\.csv is {says}"):
        package.evaluate(copy, digits)


def test_intervals_are_over_groups_where_the_source_has_some(finished, tmp_path, make_digits):
    source = make_digits(tmp_path / "new", each=10, start=100)
    files = sorted(source.rglob("*.png"))
    lines = [f"{f},{f.parent.name},{'' if n < 2 else n // 5}" for n, f in enumerate(files)]
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["image,label,group", *lines]))
    # Groups 0 to 5, and two images that stand alone.
    assert "in 8 groups" in package.evaluate(finished, table)["accuracy"]["method"]
    assert "Wilson" in package.evaluate(finished, source)["accuracy"]["method"]


def test_a_image_under_two_labels_counts_and_is_told(finished, tmp_path, make_digits, graft_here):
    source = make_digits(tmp_path / "new", each=5, start=100)
    first = sorted((source / "1").iterdir())[0]
    shutil.copy(first, source / "2" / "both.png")
    ended = graft_here("evaluate", finished, source, "--json")
    found = json.loads(ended.out)
    assert found["n"] == 16
    (finding,) = found["findings"]
    assert finding["kind"] == "two_labels"
    assert set(finding["paths"]) == {f"1/{first.name}", "2/both.png"}
    assert "kept out" not in ended.err
    assert "two_labels: 1 image with more than one label" in ended.err


def test_classes_that_the_run_does_not_know_are_named(finished, tmp_path, make_digits, graft_here):
    source = make_digits(tmp_path / "more", "78", each=5)
    ended = graft_here("evaluate", finished, source)
    assert (ended.code, ended.out) == (3, "")
    assert ended.err.count("\n") == 1
    assert "the run knows the classes 0, 1, 2; 7, 8 " in ended.err


def test_images_of_unknown_classes_are_left_out_and_the_others_evaluated(
    finished, tmp_path, make_digits, graft_here
):
    source = make_digits(tmp_path / "more", "178", each=5, start=100)
    ended = graft_here("evaluate", finished, source, "--json")
    assert ended.code == 0
    found = json.loads(ended.out)
    assert found["n"] == 5
    assert found["per_class"]["1"]["n"] == 5
    (finding,) = found["findings"]
    assert finding["kind"] == "unknown_class"
    assert len(finding["paths"]) == 10
    assert "unknown_class: the run does not know '7' and '8', only 0, 1, 2; 10 images" in ended.err


def test_a_source_may_lack_classes_of_the_run(finished, tmp_path, make_digits):
    source = make_digits(tmp_path / "fewer", "12", each=6, start=100)
    found = package.evaluate(finished, source)
    assert found["classes_without_images"] == ["0"]
    assert found["per_class"]["0"]["n"] == 0
    assert found["macro_recall"] == pytest.approx(
        (found["per_class"]["1"]["recall"] + found["per_class"]["2"]["recall"]) / 2
    )


def test_the_baseline_is_the_commonest_class_of_training(finished, tmp_path, make_digits):
    rows = [row["label"] for row in listed(finished) if row["split"] == "train"]
    source = make_digits(tmp_path / "source", each=5, start=100)
    found = package.evaluate(finished, source)
    assert rows.count(found["baseline"]["majority_class"]) == max(map(rows.count, "012"))
    assert found["baseline"]["chosen_on"] == "train"


def test_unusable_images_are_named_and_not_counted(finished, tmp_path, make_digits, graft_here):
    source = make_digits(tmp_path / "source", each=5, start=100)
    (source / "1" / "void.png").write_bytes(b"")
    ended = graft_here("evaluate", finished, source, "--json")
    assert ended.code == 0
    assert json.loads(ended.out)["n"] == 15
    assert "1/void.png" in ended.err


def test_a_source_without_usable_images_is_refused(finished, tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "void.png").write_bytes(b"")
    with pytest.raises(DataError, match="none is usable"):
        evaluate_run(finished, tmp_path, Progress())


def test_a_run_that_is_not_finished_is_not_evaluated(finished, digits, tmp_path):
    copy = shutil.copytree(finished, tmp_path / "copy")
    (copy / "metrics.json").unlink()
    with pytest.raises(ModelError, match="expected a finished run"):
        package.evaluate(copy, digits)
