"""Predicting and evaluating in shards: many machines give the numbers of one."""

import csv
import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

import graft as package
from graft.data.shard import Shard
from graft.errors import DataError, UsageError
from graft.inference import evaluation_shards, prediction_shards
from graft.inference.evaluate_run import evaluate_run
from graft.utils.progress import Progress

COUNT = 4


@pytest.fixture(scope="module")
def source(tmp_path_factory, make_digits, digits):
    """Digits that the run has not seen, one class it does not know, copies of images that it was
    trained on, a broken file and one without a label.
    """
    folder = make_digits(tmp_path_factory.mktemp("new") / "digits", "012", each=14, start=60)
    make_digits(folder, "3", each=3)
    for file in sorted((digits / "0").iterdir())[:6]:
        shutil.copy(file, folder / "0" / f"known{file.name}")
    (folder / "1" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n123")
    shutil.copy(next((folder / "2").iterdir()), folder / "lost.png")
    return folder


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory, finished, source):
    """The folder of the source's evaluation in shards."""
    out = tmp_path_factory.mktemp("shards") / "evaluation"
    package.evaluate_shards(finished, source, out, shards=COUNT)
    return out


@pytest.fixture
def out(evaluated, tmp_path):
    return shutil.copytree(evaluated, tmp_path / "out")


def shard_file(out, number, count=COUNT, kind="evaluation"):
    return out / f"{kind}-{Shard(number, count).name}.parquet"


def alike(found, expected):
    """Equal, numbers to rounding: in another batch a network's sums come out in another order."""
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            alike(found[key], expected[key])
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            alike(one, other)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, abs=1e-6)
    else:
        assert found == expected


def test_the_shards_give_the_numbers_and_findings_of_one_machine(finished, source, evaluated):
    one = evaluate_run(finished, source, Progress())
    alike(package.evaluate_from(finished, evaluated), one)
    assert one["n"] > 40
    assert {f["kind"] for f in one["findings"]} >= {"unknown_class", "trained_on", "no_label"}


def test_one_shard_gives_the_same_to_the_last_bit(finished, source, tmp_path):
    package.evaluate_shards(finished, source, tmp_path)
    assert json.dumps(package.evaluate_from(finished, tmp_path)) == json.dumps(
        evaluate_run(finished, source, Progress())
    )


def test_shards_by_commands_give_the_same(finished, source, evaluated, tmp_path, graft_here):
    out = tmp_path / "out"
    for number in (3, 1, 4, 2):
        ended = graft_here(
            *("evaluate", finished, source, "--shard", f"{number}/{COUNT}", "--out", out)
        )
        assert ended.code == 0, ended.err
    ended = graft_here("evaluate", finished, "--from", out, "--json")
    assert ended.code == 0, ended.err
    alike(json.loads(ended.out), package.evaluate_from(finished, evaluated))


def test_a_shard_that_is_done_is_skipped_and_one_that_was_cut_is_made_anew(
    finished, source, out, monkeypatch
):
    cut = shard_file(out, 2)
    before = {file: file.stat().st_mtime_ns for file in out.iterdir()}
    data = cut.read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    package.evaluate_shards(finished, source, out, shards=COUNT)
    changed = {f for f in out.iterdir() if f.stat().st_mtime_ns != before[f]}
    assert changed == {cut}
    assert pq.read_table(cut).num_rows == pq.ParquetFile(cut).metadata.num_rows
    monkeypatch.setattr(evaluation_shards, "load", None)  # nothing is computed
    package.evaluate_shards(finished, source, out, shards=COUNT)


def rename(out):
    shard_file(out, 2).rename(shard_file(out, 2).with_name("other.parquet"))


def double(out):
    shutil.copy(shard_file(out, 1), shard_file(out, 2))


def halve(out):
    data = shard_file(out, 3).read_bytes()
    shard_file(out, 3).write_bytes(data[: len(data) // 2])


def lose_all(out):
    shutil.rmtree(out)
    out.mkdir()


def mix(out):
    shutil.copy(shard_file(out, 1), shard_file(out, 1, 7))


def edited(out, change):
    file = shard_file(out, 1)
    table = pq.read_table(file)
    known = json.loads(table.schema.metadata[b"graft"])
    change(known)
    pq.write_table(table.replace_schema_metadata({b"graft": json.dumps(known)}), file)


def other_run(out):
    edited(out, lambda known: known["facts"].update(model="0 1"))


def other_source(out):
    edited(out, lambda known: known["facts"].update(source="elsewhere"))


def other_classes(out):
    edited(out, lambda known: known.update(classes=["a", "b", "c"]))


def no_metadata(out):
    file = shard_file(out, 4)
    pq.write_table(pq.read_table(file).replace_schema_metadata(None), file)


def other_columns(out):
    file = shard_file(out, 4)
    table = pq.read_table(file)
    pq.write_table(table.drop_columns(["label"]), file)


def image_in_two(out):
    file, other = shard_file(out, 1), shard_file(out, 2)
    table, row = pq.read_table(file), pq.read_table(other).slice(0, 1)
    import pyarrow as pa

    joined = pa.concat_tables([table, row.replace_schema_metadata(table.schema.metadata)])
    pq.write_table(joined, file)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (rename, r"1 of 4 shards missing \(2/4\); run graft evaluate with --shard 2/4"),
        (double, r"00002-of-00004\.parquet holds shard 1/4, which its name does not say"),
        (halve, r"00003-of-00004\.parquet is damaged or not whole"),
        (lose_all, "expected the shards of graft evaluate --shard, found none"),
        (mix, "found some of 4 and some of 7"),
        (
            other_run,
            r"00001-of-00004\.parquet is of another job: it was made by the model of another",
        ),
        (other_source, r"is of another job: its source is .*, not"),
        (other_classes, "its classes are not those of"),
        (no_metadata, "expected the shard of a job of graft"),
        (other_columns, "its columns are not those of a shard"),
        (image_in_two, "is in two shards"),
    ],
)
def test_shards_that_do_not_belong_together_are_one_clear_line(
    finished, out, graft_here, change, said
):
    change(out)
    with pytest.raises(DataError, match=said):
        package.evaluate_from(finished, out)
    ended = graft_here("evaluate", finished, "--from", out)
    assert ended.code == 3
    assert len(ended.err.strip().splitlines()) == 1


def test_a_folder_of_another_job_is_refused(finished, frozen_run, source, digits, out):
    with pytest.raises(UsageError, match="made by the model of another run; choose another --out"):
        package.evaluate_shards(frozen_run, source, out, shard=f"1/{COUNT}")
    with pytest.raises(UsageError, match="its source is"):
        package.evaluate_shards(finished, digits, out, shard=f"1/{COUNT}")
    with pytest.raises(UsageError, match="holds shards of a job of 4, not 5"):
        package.evaluate_shards(finished, source, out, shard="1/5")


def test_predictions_in_shards_are_those_of_the_table(finished, source, tmp_path, graft_here):
    out = tmp_path / "out"
    ended = graft_here("predict", finished, source, "--shards", COUNT, "--out", out, "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["files"] == [
        str(shard_file(out, n, kind="predictions")) for n in range(1, COUNT + 1)
    ]
    graft_here("predict", finished, source, "--csv", tmp_path / "p.csv")
    with (tmp_path / "p.csv").open(newline="") as stream:
        expected = {row["path"]: row for row in csv.DictReader(stream)}
    found = [r for file in sorted(out.iterdir()) for r in pq.read_table(file).to_pylist()]
    assert {row["path"] for row in found} == set(expected)
    assert len(found) == len(expected)
    assert list(found[0]) == list(next(iter(expected.values())))
    for row in found:
        other = expected[row["path"]]
        texts = ("label", "best_guess", "reason", "problem")
        assert [row[name] or "" for name in texts] == [other[name] for name in texts]
        if not row["problem"]:
            values = [float(other[name]) for name in other if name.startswith("p: ")]
            assert [row[n] for n in other if n.startswith("p: ")] == pytest.approx(values, rel=1e-6)


def test_many_classes_have_the_largest_probabilities(finished, source, tmp_path, monkeypatch):
    monkeypatch.setattr(prediction_shards, "MOST_COLUMNS", 2)
    monkeypatch.setattr(prediction_shards, "TOP", 2)
    (file,) = package.predict_shards(finished, source, tmp_path, shard="1/1")
    for row in pq.read_table(file).to_pylist():
        if row["problem"]:
            assert row["top_labels"] is None
            continue
        assert row["top_labels"][0] == row["best_guess"]
        assert row["top_probabilities"][0] == pytest.approx(row["probability"], rel=1e-6)
        assert np.diff(row["top_probabilities"])[0] <= 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--shard", "1/2"], "need --out"),
        (["--shard", "3/2", "--out", "x"], "expected I/N"),
        (["--shard", "1/2", "--shards", "2", "--out", "x"], "leave --shards out"),
        (["--out", "x", "--csv", "y.csv"], "without --html, --csv"),
    ],
)
def test_what_does_not_go_together_is_told(finished, source, graft_here, arguments, said):
    ended = graft_here("predict", finished, source, *arguments)
    assert ended.code == 2
    assert said in ended.err


def test_evaluate_takes_a_source_or_shards(finished, source, graft_here, tmp_path):
    for given in ([], [source, "--from", tmp_path]):
        ended = graft_here("evaluate", finished, *given)
        assert ended.code == 2
        assert "expected RUN SOURCE, or RUN --from FOLDER" in ended.err


@pytest.mark.slow
def test_tasks_of_ray_give_the_files_of_this_process(finished, source, evaluated, tmp_path):
    ray = pytest.importorskip("ray", reason="needs the package ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))
        package.evaluate_shards(
            finished, source, tmp_path / "evaluation", shards=COUNT, cluster="local"
        )
        there = package.predict_shards(
            finished, source, tmp_path / "there", shards=COUNT, cluster="local"
        )
    here = package.predict_shards(finished, source, tmp_path / "here", shards=COUNT)
    assert not ray.is_initialized()
    alike(
        package.evaluate_from(finished, tmp_path / "evaluation"),
        package.evaluate_from(finished, evaluated),
    )
    for file, other in zip(there, here, strict=True):
        alike(pq.read_table(file).to_pylist(), pq.read_table(other).to_pylist())
