"""Runs so large that their tables are Parquet: every reader sees what it sees of a CSV."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graft
from graft.data.dataset import Example
from graft.errors import DataError, ModelError
from graft.evaluation.comparison import read_comparison
from graft.inference.policy import policy_for
from graft.report.run_page import write_report
from graft.runs import csv_files, parquet_files, tables
from graft.runs.digests import check
from graft.runs.image_table import ImageTable, KnownDigests, coded, held_back, records, values_of
from graft.runs.run import Run
from graft.runs.top_probabilities import TOP, TopProbabilities

LABELED = [("dataset.csv", "dataset.parquet"), ("predictions.csv", "predictions.parquet")]


def enlarge(run, whole=True):
    """Turn the tables of a run into those of a very large one."""
    stored = Run(run)
    rows, found = list(stored.images), stored._predictions
    examples = [Example(r["path"], run, r["label"]) for r in rows]
    parquet_files.write_dataset(
        run / "dataset.parquet",
        examples,
        [r["split"] for r in rows],
        [r["group_id"] for r in rows],
        [bytes.fromhex(r["sha256"]) for r in rows],
    )
    named = [found.classes[i] for i in found.labels]
    predicted = zip(found.paths, found.splits.tolist(), named, found.probabilities, strict=True)
    file = run / "predictions.parquet"
    parquet_files.write_predictions(file, found.classes, predicted, whole)
    for name, _ in LABELED:
        (run / name).unlink()
    Run(run).write_metrics(stored.metrics)  # seals the digests
    return run


@pytest.fixture
def small(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "small")


@pytest.fixture
def large(finished, tmp_path):
    return enlarge(shutil.copytree(finished, tmp_path / "large"))


def test_a_large_run_reads_like_a_small_one(small, large):
    one, other = Run.finished(small), Run.finished(large)
    assert isinstance(other.images, ImageTable)
    assert list(other.images) == one.images == other.images[:]
    assert other.images[-1] == one.images[-1]
    assert other.classes == one.classes
    for split in ("val", "test"):
        paths, labels, probabilities = one.predictions(split)
        found = other.predictions(split)
        assert list(found[0]) == paths
        assert found[0][0] == paths[0]
        assert (found[1] == labels).all()
        assert found[2] == pytest.approx(probabilities, abs=1e-7)
        assert other.group_ids(found[0]) == one.group_ids(paths)
    assert other.neighbors()[0] == one.neighbors()[0]
    assert other.files == one.files
    assert list(held_back(other.images)) == list(held_back(one.images))


def test_what_commands_do_with_a_large_run_is_the_same(small, large, digits):
    assert check(large) == []
    assert graft.load(large).classes == graft.load(small).classes
    assert policy_for(large, coverage=0.9)[1] == policy_for(small, coverage=0.9)[1]
    assert graft.results(large).answering_from(0.5) == graft.results(small).answering_from(0.5)
    write_report(Run(small))
    write_report(Run(large))
    said = (large / "report.html").read_text()
    assert f"{len(Run(large).images)}\u00a0images in 3\u00a0classes" in said
    assert "with the seed 0" in said
    comparison = read_comparison([small, large])
    assert comparison.images_in_common
    assert not comparison.correct_alone()[0][1]


def test_columns_are_those_of_the_records(small, large):
    one, other = Run(small).images, Run(large).images
    for name in ("path", "label", "split", "group_id"):
        codes, values = coded(one, name)
        codes_too, values_too = coded(other, name)
        assert [values[i] for i in codes] == [str(values_too[i]) for i in codes_too]
    paths = [row["path"] for row in one][::5]
    assert values_of(one, "sha256", paths) == values_of(other, "sha256", paths)
    rows = np.array([7, 0, len(one) - 1])
    assert records(one, rows) == records(other, rows)
    learned = [KnownDigests(images, ("train", "val")) for images in (one, other)]
    for row in one:
        known = bytes.fromhex(row["sha256"]) in learned[0]
        assert known == (row["split"] in ("train", "val"))
        assert (bytes.fromhex(row["sha256"]) in learned[1]) == known
    assert bytes(32) not in learned[1]


def test_the_form_is_chosen_by_the_number_of_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "MOST_ROWS", 3)
    monkeypatch.setattr(tables, "MOST_WHOLE", 100)
    classes = [f"c{i}" for i in range(50)]
    p = np.random.default_rng(0).dirichlet(np.ones(50), 5)
    run = Run(tmp_path)
    for count, name, whole in (
        (3, "predictions.csv", True),
        (5, "predictions.parquet", False),
        (2, "predictions.csv", True),
    ):
        rows = ((f"{i}.jpg", "test", "c1", p[i]) for i in range(count))
        run.write_predictions(classes, rows, count)
        assert [file.name for file in tmp_path.iterdir()] == [name]
        found = run.predictions("test")[2]
        assert isinstance(found, TopProbabilities) != whole
        assert found.argmax(1).tolist() == p[:count].argmax(1).tolist()


def test_the_metadata_says_what_the_largest_probabilities_mean(tmp_path):
    classes = [f"c{i}" for i in range(50)]
    p = np.random.default_rng(0).dirichlet(np.ones(50), 5)
    rows = ((f"{i}.jpg", "test", "c1", p[i]) for i in range(5))
    file = tmp_path / "predictions.parquet"
    parquet_files.write_predictions(file, classes, rows, whole=False)
    schema = pq.read_schema(file)
    assert schema.field("top_probabilities").type == pa.list_(pa.float32(), TOP)
    assert "Exact from these: accuracy" in json.loads(schema.metadata[b"graft"])["kept"]


@given(st.integers(0, 2**32 - 1), st.integers(22, 60), st.booleans())
@settings(max_examples=40, deadline=None)
def test_the_largest_probabilities_are_those_of_all(seed, classes, equal):
    random = np.random.default_rng(seed)
    p = np.full((6, classes), 1 / classes) if equal else random.dirichlet(np.ones(classes), 6)
    labels = random.integers(0, classes, 6)
    kept = TopProbabilities.of(p, labels)
    assert kept.argmax(1).tolist() == p.argmax(1).tolist()
    assert kept.max(1) == pytest.approx(p.max(1), abs=1e-7)
    expected = -np.sort(-p, axis=1)[:, :TOP]
    assert kept.values == pytest.approx(expected, abs=1e-7)
    assert np.take_along_axis(p, kept.top.astype(int), 1) == pytest.approx(expected, abs=1e-7)
    assert all(len(set(row)) == TOP for row in kept.top.tolist())
    assert kept.of_label == pytest.approx(p[np.arange(6), labels], abs=1e-7)
    assert kept.squares == pytest.approx((p**2).sum(1), abs=1e-6)


def test_the_largest_probabilities_cannot_be_taken_for_all():
    kept = TopProbabilities.of(np.full((2, 50), 0.02), [0, 1])
    with pytest.raises(TypeError, match="only the 20 largest of each image are kept"):
        np.asarray(kept)


def without(table, name):
    return table.drop_columns([name])


def with_values(table, name, values):
    at = table.schema.get_field_index(name)
    return table.set_column(
        at, table.schema.field(name), pa.array(values, table.schema.field(name).type)
    )


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda t: without(t, "sha256"), "no column sha256"),
        (lambda t: t.slice(0, 0), "there is no image in it"),
        (lambda t: with_values(t, "split", ["tset"] * len(t)), "split is train, val or test"),
        (lambda t: with_values(t, "label", [""] * len(t)), "label are never empty"),
        (lambda t: t.cast(t.schema.set(4, pa.field("sha256", pa.binary()))), "expected 32 bytes"),
    ],
)
def test_a_damaged_table_of_images_is_one_line(large, edit, said):
    file = large / "dataset.parquet"
    pq.write_table(edit(pq.read_table(file)), file)
    with pytest.raises(ModelError, match=rf"dataset\.parquet is damaged: .*{said}.*"):
        _ = Run(large).images


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda t: without(t, "label"), "it has no column label"),
        (lambda t: t.replace_schema_metadata(None), "does not name the classes"),
        (lambda t: with_values(t, "label", ["x"] * len(t)), "'x' is none of its classes"),
        (
            lambda t: with_values(t, "probabilities", [[2, 0, 0]] * len(t)),
            "row 1: the probabilities",
        ),
        (lambda t: with_values(t, "probabilities", [None] * len(t)), "a value is missing"),
    ],
)
def test_a_damaged_table_of_predictions_is_one_line(large, edit, said):
    file = large / "predictions.parquet"
    pq.write_table(edit(pq.read_table(file)), file)
    with pytest.raises(
        DataError, match=rf"predictions\.parquet: not a table of predictions: .*{said}"
    ):
        _ = Run(large).classes


def test_half_a_table_is_one_line(large):
    for _, name in LABELED:
        data = (large / name).read_bytes()
        (large / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError, match=r"dataset\.parquet is damaged"):
        _ = Run(large).images
    with pytest.raises(DataError, match="not a table of predictions"):
        _ = Run(large).classes


def test_small_runs_have_csv_tables_as_ever(finished):
    assert csv_files.read_dataset(finished / "dataset.csv") == Run(finished).images
    assert not list(finished.glob("*.parquet"))
