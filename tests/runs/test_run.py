import csv
import json
import pickletools
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn import metrics as sk

from graft.data.dataset import Example
from graft.errors import DataError, ModelError
from graft.runs.folder import FILES, NEEDED
from graft.runs.run import Run


def rows_of(file):
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(params=["finished", "frozen_run"])
def run(request):
    return request.getfixturevalue(request.param)


def test_a_finished_run_holds_its_files_and_nothing_else(run):
    expected = {*FILES, "heat_maps.json"} if Run(run).heat_maps else {*FILES}
    assert {file.name for file in run.iterdir()} == expected


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
    rows = [row for row in rows_of(run / "predictions.csv") if row["split"] == "test"]
    classes = list(rows[0])[3:]
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


def test_every_usable_image_is_listed_once_and_val_and_test_are_predicted(run, digits):
    listed = rows_of(run / "dataset.csv")
    assert sorted(row["path"] for row in listed) == sorted(
        file.relative_to(digits).as_posix() for file in digits.rglob("*.png")
    )
    # No digit has a group, and none is like another: each is its own.
    assert all(row["group_id"] == row["sha256"] for row in listed)
    of = {s: [r for r in listed if r["split"] == s] for s in ("train", "val", "test")}
    assert all(of.values())
    predicted = [(r["path"], r["split"], r["label"]) for r in rows_of(run / "predictions.csv")]
    expected = [*of["val"], *of["test"]]
    assert predicted == [(r["path"], r["split"], r["label"]) for r in expected]


def test_the_config_tells_what_was_asked_and_what_was_used(finished, digits):
    config = json.loads((finished / "config.json").read_text())
    assert config["source"] == str(digits)
    assert config["settings"]["model"] == "base_cnn"
    assert config["settings"]["epochs"] == 2
    assert config["settings"]["learning_rate"] is None
    assert config["resolved"]["learning_rate"] > 0, "the default is filled in"
    assert config["resolved"]["val_fraction"] == 0.15
    assert {"graft", "torch", "python"} <= set(config["versions"])


def test_history_has_a_line_an_epoch(finished):
    history = Run(finished).history
    assert [line["epoch"] for line in history] == [1, 2]
    assert all(0 <= line["val_accuracy"] <= 1 for line in history)


def test_a_finished_run_reads_what_its_files_hold(run):
    found = Run.finished(run)
    assert found.name == run.name
    assert not found.lacks_report
    for name in ("config", "metrics", "model", "findings"):
        assert getattr(found, name) == json.loads((run / f"{name}.json").read_text())
    assert found.images == rows_of(run / "dataset.csv")
    assert found.classes == found.metrics["classes"]
    paths, labels, probabilities = found.predictions("test")
    assert (len(paths), len(labels), probabilities.shape) == (
        len(paths),
        len(paths),
        (len(paths), 3),
    )
    ids = {row["path"]: row["group_id"] for row in found.images}
    assert found.group_ids(paths) == [ids[path] for path in paths]
    assert (found.validation, found.speed) == ({}, None)
    rows, places = found.neighbors()
    assert [row["split"] for row in rows] == ["train"] * len(places)
    wrong = [p for p, y, row in zip(paths, labels, probabilities, strict=True) if row.argmax() != y]
    assert sorted(found.nearest) == sorted(wrong)


@pytest.mark.parametrize("name", NEEDED)
def test_a_run_that_lacks_a_file_is_refused_by_its_name(finished, tmp_path, name):
    copy = shutil.copytree(finished, tmp_path / "run")
    (copy / name).unlink()
    with pytest.raises(DataError, match=f"{name} is missing"):
        Run.finished(copy)


@pytest.mark.parametrize("name", ["config.json", "history.jsonl", "predictions.csv"])
def test_a_damaged_run_is_refused(finished, tmp_path, name):
    copy = shutil.copytree(finished, tmp_path / "run")
    (copy / name).write_text('{"half": 1')
    with pytest.raises(DataError, match=r"train it again|not a table"):
        Run.finished(copy)


@pytest.mark.parametrize(
    "text", [None, "path,label\na,b\n", "path,label,split,group_id,sha256\na,b,train,c,xyz\n"]
)
def test_images_that_cannot_be_read_are_refused(tmp_path, text):
    if text is not None:
        (tmp_path / "dataset.csv").write_text(text)
    with pytest.raises(ModelError, match=r"dataset\.csv is (missing|damaged)"):
        _ = Run(tmp_path).images


# Where the images of a run are: told by its source alone, whatever that is.


def run_on(source, folder):
    folder.mkdir()
    run = Run(folder)
    run.write_config({"source": str(source)})
    return run


def laid_out(root):
    for label in ("cat", "dog"):
        (root / label).mkdir(parents=True)
        for n in range(2):
            Image.new("L", (8, 8), 9 * n).save(root / label / f"{n}.png")
    return root


PATHS = {"cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png"}


@pytest.mark.parametrize(
    "kind", ["folder", "nested", "zip", "tar", "nested in an archive", "table"]
)
def test_the_images_of_a_run_are_found_whatever_its_source_is(tmp_path, kind):
    root = tmp_path / "images"
    inner = root / "one" / "two" if "nested" in kind else root
    laid_out(inner)
    source = root
    if kind in ("zip", "tar"):
        source = shutil.make_archive(str(tmp_path / "images"), kind, root)
    elif kind == "nested in an archive":
        source = shutil.make_archive(str(tmp_path / "images"), "gztar", root)
    elif kind == "table":
        source = root / "table.csv"
        source.write_text("image,label\n" + "".join(f"{p},{p[:3]}\n" for p in sorted(PATHS)))
    files = run_on(source, tmp_path / "run").files
    assert set(files) == PATHS
    for path, file in files.items():
        assert file.read_bytes() == (inner / path).read_bytes()


def test_the_images_of_a_named_data_set_are_found(tmp_path):
    files = run_on("digits", tmp_path / "run").files
    assert len(files) == 1797
    assert all(file.is_file() and file.parent.name == path[0] for path, file in files.items())


def test_a_source_that_is_gone_has_no_images(tmp_path):
    assert run_on(tmp_path / "gone", tmp_path / "run").files == {}
    assert Run(tmp_path).files == {}


def test_a_trained_run_finds_its_images(run, digits):
    found = Run(run)
    assert found.files == {row["path"]: digits / row["path"] for row in found.images}


# What is written comes back.

# No file system and no UTF-8 file holds the characters left out.
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@settings(deadline=None)
@given(st.data(), st.lists(NAMES, min_size=2, max_size=5, unique=True))
def test_predictions_come_back_as_they_were_written(tmp_path_factory, data, classes):
    n = data.draw(st.integers(1, 6))
    labels = data.draw(st.lists(st.sampled_from(classes), min_size=n, max_size=n))
    paths = data.draw(st.lists(NAMES, min_size=n, max_size=n))
    splits = data.draw(st.lists(st.sampled_from(["val", "test"]), min_size=n, max_size=n))
    probabilities = np.random.default_rng(n).dirichlet(np.ones(len(classes)), n)
    run = Run(tmp_path_factory.mktemp("run"))
    run.write_predictions(classes, zip(paths, splits, labels, probabilities, strict=True))
    assert run.classes == classes
    for split in ("val", "test"):
        rows = [i for i in range(n) if splits[i] == split]
        found_paths, found_labels, found = run.predictions(split)
        assert found_paths == [paths[i] for i in rows]
        assert [classes[i] for i in found_labels] == [labels[i] for i in rows]
        np.testing.assert_allclose(found, probabilities[rows], rtol=1e-8)


@settings(deadline=None)
@given(st.data(), st.dictionaries(NAMES, st.lists(NAMES, min_size=3, max_size=3), max_size=3))
def test_images_come_back_with_the_columns_of_their_table(tmp_path_factory, data, columns):
    names = data.draw(st.lists(NAMES, min_size=3, max_size=3))
    examples = [
        Example(name, None, f"class {name}", columns={c: v[i] for c, v in columns.items()} or None)
        for i, name in enumerate(names)
    ]
    run = Run(tmp_path_factory.mktemp("run"))
    digests = [bytes([i]) * 32 for i in range(3)]
    run.write_dataset(examples, ["train", "val", "test"], ["g", "g", "h"], digests)
    own = ["path", "label", "split", "group_id", "sha256"]
    expected = [
        dict(zip(own, (e.path, e.label, split, group, digest.hex()), strict=True))
        | {f"{c}_" if c in own else c: columns[c][i] for c in columns}
        for i, (e, split, group, digest) in enumerate(
            zip(examples, ["train", "val", "test"], "ggh", digests, strict=True)
        )
    ]
    assert run.images == expected


def test_a_column_named_as_one_of_grafts_is_kept_under_another_name(tmp_path):
    run = Run(tmp_path)
    run.write_dataset(
        [Example("a.png", None, "cat", columns={"sha256": "mine", "day": "3"})],
        *(["train"], ["g"], [bytes(32)]),
    )
    assert run.images[0]["sha256"] == "00" * 32
    assert (run.images[0]["sha256_"], run.images[0]["day"]) == ("mine", "3")


def test_what_was_read_before_is_read_again_once_it_is_written(finished, tmp_path):
    run = Run(tmp_path)
    for write, name in (
        (run.write_config, "config"),
        (run.write_metrics, "metrics"),
        (run.write_validation, "validation"),
    ):
        known = Run(finished).metrics if name == "metrics" else {}
        for number in (1, 2):
            write(known | {"number": number})
            assert getattr(run, name) == known | {"number": number}
    for speed in (1.5, 3.0):
        run.write_speed({"images_per_second": speed})
        assert run.speed == speed


def test_an_unfinished_run_remembers_its_choices_until_it_is_done(tmp_path):
    run = Run(tmp_path)
    assert run.remembered("a") is None
    run.remember("a", {"x": 1})
    run.remember("b", {"y": 2})
    assert (run.remembered("a"), Run(tmp_path).remembered("b")) == ({"x": 1}, {"y": 2})
    run.checkpoint("fit").write_bytes(b"half")
    run.remove_unfinished()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "row",
    [
        "a.png,test,cat,0.5,half",
        "a.png,test,horse,0.5,0.5",
        "a.png,test,cat,0.5",
        "a.png",
        "",
    ],
)
def test_a_file_that_is_no_table_of_predictions_is_refused(tmp_path, row):
    text = f"path,split,label,cat,dog\nb.png,test,cat,0.5,0.5\n{row}\n" if row else ""
    (tmp_path / "predictions.csv").write_text(text)
    with pytest.raises(DataError, match="not a table of predictions"):
        _ = Run(tmp_path).classes
