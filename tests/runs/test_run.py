import csv
import json
import pickletools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from graft.errors import DataError, UsageError
from graft.runs.run import FILES, new_run, read_predictions, write_predictions


def rows_of(file):
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(params=["finished", "frozen_run"])
def run(request):
    return request.getfixturevalue(request.param)


def test_a_finished_run_holds_its_files_and_nothing_else(run):
    assert sorted(file.name for file in run.iterdir()) == sorted(FILES)


def test_no_file_of_a_run_can_run_code_when_it_is_opened(run):
    for file in run.iterdir():
        data = file.read_bytes()
        # A safetensors file begins with the length of its JSON, which may be any byte.
        begin = data[8:] if file.suffix == ".safetensors" else data
        assert not begin.startswith((b"\x80", b"PK", b"\x1f\x8b")), f"{file.name} may be a pickle"
        with pytest.raises((ValueError, UnicodeDecodeError)):
            list(pickletools.genops(data))


def test_whoever_may_read_new_files_may_read_a_runs(run, tmp_path):
    (tmp_path / "new").touch()
    usual = (tmp_path / "new").stat().st_mode
    assert {file.name: file.stat().st_mode for file in run.iterdir()} == {
        file.name: usual for file in run.iterdir()
    }


def test_the_metrics_hold_what_is_promised(run):
    found = json.loads((run / "metrics.json").read_text())
    assert found["split"] == "test"
    assert found["classes"] == ["0", "1", "2"]
    assert {"value", "low", "high"} <= set(found["accuracy"])
    assert found["accuracy"]["low"] <= found["accuracy"]["value"] <= found["accuracy"]["high"]
    assert list(found["per_class"]) == found["classes"]
    for row in found["per_class"].values():
        assert {"precision", "recall", "f1", "n"} <= set(row)
    assert {"decode_and_backbone", "fit", "total"} <= set(found["seconds"])
    assert 0 < found["seconds"]["fit"] < found["seconds"]["total"]


def test_the_metrics_are_scikit_learns_of_the_predictions_file(run):
    found = json.loads((run / "metrics.json").read_text())
    rows = rows_of(run / "predictions.csv")
    classes = list(rows[0])[2:]
    truth = [row["label"] for row in rows]
    shares = np.array([[float(row[name]) for name in classes] for row in rows])
    said = [classes[i] for i in shares.argmax(1)]
    precision, recall, f1, n = sk.precision_recall_fscore_support(
        truth, said, labels=classes, zero_division=0
    )
    assert found["n"] == len(rows)
    assert found["accuracy"]["value"] == pytest.approx(sk.accuracy_score(truth, said))
    assert found["confusion"] == sk.confusion_matrix(truth, said, labels=classes).tolist()
    for i, name in enumerate(classes):
        row = found["per_class"][name]
        assert [row["precision"], row["recall"], row["f1"]] == pytest.approx(
            [precision[i], recall[i], f1[i]]
        )
        assert row["n"] == n[i]
    for name, scores in (("precision", precision), ("recall", recall), ("f1", f1)):
        assert found[f"macro_{name}"] == pytest.approx(scores.mean())
    assert found["nll"] == pytest.approx(sk.log_loss(truth, shares, labels=classes))
    assert found["ece"] == pytest.approx(expected_calibration_error(truth, said, shares))


def expected_calibration_error(truth, said, shares, bins=15):
    total = 0.0
    for b in range(bins):
        inside = [
            (max(p), t == s)
            for p, t, s in zip(shares.tolist(), truth, said, strict=True)
            if b / bins < max(p) <= (b + 1) / bins
        ]
        if inside:
            confidence, correct = zip(*inside, strict=True)
            total += abs(sum(confidence) - sum(correct))
    return total / len(truth)


def test_every_usable_image_is_listed_once_and_the_test_split_is_predicted(run, digits):
    listed = rows_of(run / "dataset.csv")
    assert sorted(row["path"] for row in listed) == sorted(
        file.relative_to(digits).as_posix() for file in digits.rglob("*.png")
    )
    tested = [(row["path"], row["label"]) for row in listed if row["split"] == "test"]
    predicted = [(row["path"], row["label"]) for row in rows_of(run / "predictions.csv")]
    assert predicted == tested
    assert {row["split"] for row in listed} == {"train", "val", "test"}


def test_the_config_tells_what_was_asked_and_what_was_used(finished, digits):
    config = json.loads((finished / "config.json").read_text())
    assert config["source"] == str(digits)
    assert config["settings"]["model"] == "base_cnn"
    assert config["settings"]["epochs"] == 2
    assert config["settings"]["learning_rate"] > 0, "the default is filled in"
    assert {"graft", "torch", "python"} <= set(config["versions"])


def test_history_has_a_line_an_epoch(finished):
    lines = [json.loads(line) for line in (finished / "history.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert all(0 <= line["val_accuracy"] <= 1 for line in lines)


def test_a_begun_run_is_begun_anew(tmp_path):
    (tmp_path / "history.jsonl").write_text("old")
    (tmp_path / ".encoder.safetensors").write_bytes(b"old")
    assert new_run(tmp_path) == tmp_path
    assert not (tmp_path / "history.jsonl").exists()


def test_a_run_folder_below_a_file_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="file/run: cannot be made"):
        new_run(tmp_path / "file" / "run")


# No file system and no UTF-8 file holds the characters left out.
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@settings(deadline=None)
@given(st.data(), st.lists(NAMES, min_size=2, max_size=5, unique=True))
def test_predictions_come_back_as_they_were_written(tmp_path_factory, data, classes):
    n = data.draw(st.integers(1, 6))
    labels = data.draw(st.lists(st.sampled_from(classes), min_size=n, max_size=n))
    paths = data.draw(st.lists(NAMES, min_size=n, max_size=n))
    shares = np.random.default_rng(n).dirichlet(np.ones(len(classes)), n)
    file = tmp_path_factory.mktemp("run") / "predictions.csv"
    write_predictions(file, classes, zip(paths, labels, shares, strict=True))
    read_paths, read_labels, read_shares, read_classes = read_predictions(file)
    assert (read_paths, read_classes) == (paths, classes)
    assert [classes[i] for i in read_labels] == labels
    np.testing.assert_allclose(read_shares, shares, rtol=1e-8)


@pytest.mark.parametrize(
    "row", ["a.png,cat,0.5,half", "a.png,horse,0.5,0.5", "a.png,cat,0.5", "a.png", ""]
)
def test_a_file_that_is_no_table_of_predictions_is_refused(tmp_path, row):
    file = tmp_path / "predictions.csv"
    file.write_text(f"path,label,cat,dog\nb.png,cat,0.5,0.5\n{row}\n" if row else "")
    with pytest.raises(DataError, match="not a table of predictions"):
        read_predictions(file)
