"""`graft compare`, as a user meets it: runs, sources, refusals."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from graft.errors import UsageError
from graft.evaluation.comparison import read_comparison
from graft.report import comparison_sentences
from graft.report.slides import cells
from graft.training.compare import _folder_names, seconds_of

SMALL = ["--image-size", "16"]


@pytest.fixture(scope="module")
def compared(make_digits, graft_here, tmp_path_factory, finished):
    """A comparison of three ways on digits, and the folder that it is in."""
    root = tmp_path_factory.mktemp("compare")
    images = make_digits(root / "digits", each=40)
    out = root / "out"
    models = f"base_cnn,{finished},{finished}@1"
    command = ["compare", images, "--models", models, "--out", out, *SMALL]
    ended = graft_here(*command, "--json")
    assert ended.code == 0, ended.err
    return command, out, json.loads(ended.out)


def test_models_are_trained_on_one_split_and_compared_pair_by_pair(compared):
    _, out, result = compared
    assert len(result["models"]) == 3
    assert len(result["pairs"]) == 3
    splits = {(out / "base_cnn" / "dataset.csv").read_text()}
    splits |= {path.read_text() for path in out.glob("*/dataset.csv")}
    assert len(splits) == 1
    for model in result["models"]:
        assert model["images_per_second"] > 0
        assert model["bytes"] > 1000
        assert 0 < model["parameters"]["trained"] <= model["parameters"]["total"]
    assert json.loads((out / "comparison.json").read_text()) == result


def test_the_page_and_the_slides_are_whole(compared):
    _, out, result = compared
    page = (out / "comparison.html").read_text()
    assert "<script" not in page
    assert f"{result['conclusion']['best']} has the highest accuracy" in page
    slides = (out / "comparison.pdf").read_bytes()
    assert slides.startswith(b"%PDF")
    assert slides.count(b"/Type /Page ") + slides.count(b"/Type /Page\n") >= 9


def test_each_figure_of_the_slides_table_has_its_interval_below(compared):
    _, out, _ = compared
    (row, *_) = read_comparison(sorted(path.parent for path in out.glob("*/metrics.json"))).runs
    found = {name: text.split("\n") for name, text in cells(row).items()}
    figures, under = comparison_sentences.cells(row), comparison_sentences.small_print(row)
    for name in ("accuracy", "precision", "recall", "F1", "ECE"):
        for text, whole in zip(found[name], (figures[name], under[name]), strict=True):
            assert f"{text}\u00a0%" == whole


def test_a_second_time_nothing_is_trained_again(compared, graft_here):
    command, out, result = compared
    before = {p: p.stat().st_mtime_ns for p in out.glob("*/model.safetensors")}
    assert json.loads(graft_here(*command, "--json").out) == result
    assert before == {p: p.stat().st_mtime_ns for p in out.glob("*/model.safetensors")}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--seed", "43"], "with seed 42, not 43"),
        (["--no-flip"], "with flip True, not False"),
        (["--image-size", "20"], "with image_size 16, not 20"),
    ],
)
def test_runs_of_other_settings_are_not_taken_for_those_asked_for(
    compared, graft_here, change, said
):
    command, _, _ = compared
    ended = graft_here(*command, *change)
    assert ended.code == 2
    assert said in ended.err
    assert ended.err.count("\n") == 1


def test_runs_of_other_images_are_not_taken_for_those_asked_for(
    compared, graft_here, make_digits, tmp_path
):
    command, out, _ = compared
    again = list(command)
    again[1] = make_digits(tmp_path / "digits", each=40)
    assert graft_here(*again).code == 0  # the same images, elsewhere
    extra = next((tmp_path / "digits").rglob("*.png"))
    pixels = np.asarray(Image.open(extra)).copy()
    pixels[0] = 255 - pixels[0]
    Image.fromarray(pixels).save(extra.with_name("new.png"))
    ended = graft_here(*again)
    assert ended.code == 2
    assert "of other images than these" in ended.err
    assert json.loads((out / "comparison.json").read_text())["n"] > 0


def test_models_of_one_name_in_two_places_have_folders_of_their_own():
    names = ["local-dir:/a/v1", "local-dir:/b/v1", "base_cnn", "m@20%"]
    first, second, *others = _folder_names(names)
    assert first != second
    assert first.startswith("v1-")
    assert others == ["base_cnn", "m@20%"]
    assert _folder_names(names) == [first, second, *others]


def test_runs_that_learned_from_other_images_are_compared_but_not_said_to_have_learned_the_same(
    compared, graft_here, tmp_path
):
    _, out, result = compared
    assert result["same_training_images"]
    other = tmp_path / "other"
    shutil.copytree(out / "base_cnn", other)
    lines = (other / "dataset.csv").read_text().splitlines(keepends=True)
    lines.remove(next(line for line in lines if ",train," in line))
    (other / "dataset.csv").write_text("".join(lines))
    ended = graft_here("compare", out / "base_cnn", other, "--out", tmp_path / "c", "--json")
    assert not json.loads(ended.out)["same_training_images"]
    page = (tmp_path / "c" / "comparison.html").read_text()
    assert "were not all trained on the same images" in page
    assert "All models were trained on the same" not in page


def test_images_of_one_group_are_not_counted_as_so_many_proofs(compared, graft_here, tmp_path):
    _, out, _ = compared
    folders = []
    for name in ("base_cnn", "worse"):
        folders.append(tmp_path / name)
        shutil.copytree(out / "base_cnn", folders[-1])
        rows = list(csv.DictReader((folders[-1] / "dataset.csv").read_text().splitlines()))
        for i, row in enumerate(rows):
            row["group_id"] = f"given:patient {i % 3}"
        with (folders[-1] / "dataset.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    lines = (folders[1] / "predictions.csv").read_text().splitlines(keepends=True)
    body = [line.rstrip().split(",") for line in lines[1:]]
    wrong = [",".join([*row[:2], *row[3:], row[2]]) + "\n" for row in body]
    (folders[1] / "predictions.csv").write_text(lines[0] + "".join(wrong))
    ended = graft_here("compare", *folders, "--out", tmp_path / "c", "--json")
    (pair,) = json.loads(ended.out)["pairs"]
    assert pair["groups"] == 3
    assert pair["p"] == pytest.approx(0.25)
    assert pair["verdict"] == "no difference shown"
    assert "sign-flip test over 3" in (tmp_path / "c" / "comparison.html").read_text()


def test_how_fast_a_finished_run_predicts_is_measured_where_nobody_has(
    compared, graft_here, tmp_path
):
    _, out, _ = compared
    for name in ("a", "b"):
        shutil.copytree(out / "base_cnn", tmp_path / name)
    (tmp_path / "b" / "speed.json").unlink()
    ended = graft_here("compare", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "c", "--json")
    assert all(model["images_per_second"] > 0 for model in json.loads(ended.out)["models"])


def test_finished_runs_are_compared_without_pytorch(compared, graft, tmp_path):
    _, out, result = compared
    folders = sorted(path.parent for path in out.glob("*/metrics.json"))
    blocked = tmp_path / "blocked" / "torch"
    blocked.mkdir(parents=True)
    (blocked / "__init__.py").write_text("raise ImportError('PyTorch was imported')")
    ended = graft(
        "compare", *folders, "--out", tmp_path / "again", "--json", PYTHONPATH=str(blocked.parent)
    )
    assert ended.code == 0, ended.err
    again = json.loads(ended.out)
    assert {m["name"] for m in again["models"]} == {m["name"] for m in result["models"]}
    assert (tmp_path / "again" / "comparison.html").is_file()


def test_runs_with_other_test_images_are_refused(compared, graft_here, tmp_path):
    _, out, _ = compared
    other = tmp_path / "other"
    shutil.copytree(out / "base_cnn", other)
    lines = (other / "predictions.csv").read_text().splitlines(keepends=True)
    (other / "predictions.csv").write_text("".join(lines[:-1]))
    ended = graft_here("compare", out / "base_cnn", other, "--out", tmp_path / "no")
    assert ended.code == 3
    assert "different images or labels" in ended.err
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--models", "base_cnn"],
        ["--models", "base_cnn,base_cnn"],
        ["--models", "base_cnn@20%,deep_cnn"],
        ["--time-budget", "soon"],
        ["--time-budget", "0m"],
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_trained(
    arguments, graft_here, tmp_path
):
    ended = graft_here("compare", "digits", *arguments, "--out", tmp_path / "out")
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_budgets_are_seconds_minutes_or_hours():
    assert [seconds_of(b) for b in ("90s", "1.5m", "2h", None)] == [90, 90, 7200, None]
    with pytest.raises(UsageError):
        seconds_of("2 days")


def test_models_past_the_time_budget_are_left_out_and_named(
    graft_here, make_digits, tmp_path, finished
):
    images = make_digits(tmp_path / "digits", each=20)
    models = f"base_cnn,deep_cnn,{finished}"
    ended = graft_here(
        "compare",
        images,
        "--models",
        models,
        "--out",
        tmp_path / "out",
        *SMALL,
        "--time-budget",
        "0.1s",
        "--json",
    )
    assert ended.code == 0, ended.err
    assert [m["name"] for m in json.loads(ended.out)["models"]] == ["base_cnn", "deep_cnn"]
    assert f"{finished} is left out" in ended.err


def test_weights_that_are_not_there_are_missed_before_anything_is_trained(graft_here, tmp_path):
    models = f"base_cnn,local-dir:{tmp_path / 'nowhere'}"
    ended = graft_here("compare", "digits", "--models", models, "--out", tmp_path / "out")
    assert ended.code == 4
    assert not (tmp_path / "out").exists()
