import csv
import json
import os
import re
import shutil
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

import graft as package
from graft.errors import ModelError, UsageError
from graft.inference.policy import policy_for
from graft.inference.predict import predict_paths
from graft.runs.run import Run


@pytest.fixture(params=["finished", "frozen_run"])
def run(request):
    return request.getfixturevalue(request.param)


def predictions_file(run):
    """{path: {class: probability}} of predictions.csv."""
    with (run / "predictions.csv").open(newline="") as stream:
        return {
            row["path"]: {name: float(row[name]) for name in list(row)[3:]}
            for row in csv.DictReader(stream)
        }


def test_what_predict_says_of_a_test_image_is_its_row_in_the_predictions_file(
    run, digits, graft_here
):
    rows = predictions_file(run)
    paths = list(rows)
    files = [digits / path for path in reversed(paths)]  # other company than in the test split
    ended = graft_here("predict", run, *files, "--json")
    assert ended.code == 0, ended.err
    answers = [json.loads(line) for line in ended.out.splitlines()]
    assert [answer["path"] for answer in answers] == [str(file) for file in files]
    for path, answer in zip(reversed(paths), answers, strict=True):
        assert answer["probabilities"] == pytest.approx(rows[path], abs=1e-5)
        assert answer["best_guess"] == max(rows[path], key=rows[path].get)


def test_an_answer_in_json_has_fields_that_agree(finished, digits, graft_here):
    file = next((digits / "1").iterdir())
    (line,) = graft_here("predict", finished, file, "--json").out.splitlines()
    answer = json.loads(line)
    assert set(answer) == {
        *("path", "label", "best_guess", "probability", "probabilities"),
        *("reason", "prediction_set", "ood_score", "nearest"),
    }
    assert answer["nearest"] is None
    assert answer["prediction_set"] is None
    assert answer["label"] == (None if answer["reason"] else answer["best_guess"])
    assert list(answer["probabilities"]) == ["0", "1", "2"]
    assert sum(answer["probabilities"].values()) == pytest.approx(1)
    assert answer["probability"] == max(answer["probabilities"].values())
    assert answer["probabilities"][answer["best_guess"]] == answer["probability"]


def test_the_nearest_training_images_of_a_training_image_begin_with_itself(
    finished, digits, graft_here
):
    with (finished / "dataset.csv").open(newline="") as stream:
        trained = [row for row in csv.DictReader(stream) if row["split"] == "train"]
    file = digits / trained[5]["path"]
    (line,) = graft_here("predict", finished, file, "--nearest", 3, "--json").out.splitlines()
    nearest = json.loads(line)["nearest"]
    assert nearest[0]["path"] == trained[5]["path"]
    assert nearest[0]["label"] == trained[5]["label"]
    assert nearest[0]["similarity"] > 0.999
    assert len({n["path"] for n in nearest}) == 3
    assert {n["path"] for n in nearest} <= {row["path"] for row in trained}
    said = graft_here("predict", finished, file, "--nearest", 3).out
    assert said.splitlines()[1].split()[-1] == trained[5]["path"]


def test_the_page_of_answers_shows_every_image_with_its_like_and_names_what_is_none(
    finished, digits, graft_here, tmp_path
):
    (tmp_path / "song.png").write_text("la la la")
    (tmp_path / "fänzy & <b>.png").write_bytes(next((digits / "1").iterdir()).read_bytes())
    page = tmp_path / "out" / "answers.html"
    settings = ["--nearest", 2, "--coverage", "80%", "--html", page]
    ended = graft_here("predict", finished, digits / "2", tmp_path, *settings)
    assert ended.code == 3
    text = page.read_text()
    assert "<b>.png" not in text
    assert "fänzy &amp; &lt;b&gt;.png" in text
    assert "1\u00a0file that cannot be read as an image" in text
    assert "Guarantee: prediction sets hold every label" in text
    count = len(list((digits / "2").iterdir())) + 1
    assert text.count('<img src="data:image/jpeg') == count * 3
    for link in re.findall(r'<a href="([^"]+)"', text):
        assert (page.parent / unquote(link)).is_file()


def test_the_page_of_answers_does_without_training_images_that_are_gone(
    make_digits, graft_here, tmp_path
):
    source = make_digits(tmp_path / "source", "34", each=30)
    more = ["--model", "base_cnn", "--epochs", 2, "--image-size", 16, "--out", tmp_path / "run"]
    assert graft_here("train", source, *more).code == 0
    image = next((source / "3").iterdir()).rename(tmp_path / "one.png")
    shutil.rmtree(source)
    page = tmp_path / "a.html"
    ended = graft_here("predict", tmp_path / "run", image, "--nearest", 3, "--html", page)
    assert ended.code == 0, ended.err
    assert page.read_text().count("<img") == 1
    assert page.read_text().count('class="gone"') == 3


def test_nearest_images_of_a_run_without_them_are_refused_in_a_line(
    finished, digits, graft_here, tmp_path
):
    shutil.copytree(finished, tmp_path / "old")
    (tmp_path / "old" / "neighbors.safetensors").unlink()
    ended = graft_here("predict", tmp_path / "old", digits / "1", "--nearest", 1)
    assert ended.code == 4
    assert "neighbors.safetensors is missing; train the run again" in ended.err


def test_a_file_that_is_no_image_is_named_and_the_others_are_answered(
    finished, digits, tmp_path, graft
):
    first, last = sorted((digits / "2").iterdir())[:2]
    (tmp_path / "song.png").write_text("la la la")
    (tmp_path / "void.jpg").write_bytes(b"")
    (tmp_path / "half.png").write_bytes(first.read_bytes()[:80])
    bad = [tmp_path / name for name in ("song.png", "void.jpg", "half.png")]
    ended = graft("predict", finished, first, *bad, last, "--json")
    assert ended.code == 3
    assert [json.loads(line)["path"] for line in ended.out.splitlines()] == [str(first), str(last)]
    lines = ended.err.splitlines()
    assert len(lines) == 3, ended.err
    for line, file in zip(lines, bad, strict=True):
        assert line.startswith(f"graft: {file} ")


def test_a_folder_stands_for_the_images_below_it_in_order(finished, digits, tmp_path):
    images = sorted((digits / "0").iterdir())[:3]
    for name, image in zip(("b/2.png", "a/1.png", "b/.hidden.png"), images, strict=True):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(image, tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    found = [result.path for result in predict_paths(package.load(finished), [images[0], tmp_path])]
    assert found == [str(images[0]), str(tmp_path / "a/1.png"), str(tmp_path / "b/2.png")]


def test_a_folder_without_images_is_an_error_and_says_what_was_expected(
    finished, digits, tmp_path, graft_here
):
    (tmp_path / "fish").mkdir()
    (tmp_path / "fish" / "notes.txt").write_text("no image")
    ended = graft_here("predict", finished, tmp_path / "fish")
    assert (ended.code, ended.out) == (3, "")
    assert ended.err.startswith(f"graft: {tmp_path / 'fish'} holds no image file (.apng, .avif, ")
    ended = graft_here("predict", finished, tmp_path / "fish", next((digits / "1").iterdir()))
    assert (ended.code, ended.out.count("\n"), ended.err.count("\n")) == (3, 1, 1)


def test_a_pipe_is_not_waited_for_and_a_link_out_of_a_folder_is_named(
    finished, digits, tmp_path, graft_here
):
    folder = tmp_path / "folder"
    folder.mkdir()
    os.mkfifo(folder / "pipe.jpg")
    shutil.copy(next((digits / "0").iterdir()), folder / "0.png")
    (folder / "1.png").symlink_to(next((digits / "1").iterdir()))
    ended = graft_here("predict", finished, folder)
    assert ended.code == 3
    assert ended.out.startswith(str(folder / "0.png"))
    assert ended.out.count("\n") == 1
    assert f"{folder / 'pipe.jpg'} cannot be read: it is a named pipe, not a file" in ended.err
    assert f"{folder / '1.png'} is a link that leads out of the folder" in ended.err
    assert graft_here("predict", finished, folder / "1.png").code == 0


def test_top_shows_the_likeliest_first(finished, digits, graft_here):
    file = next((digits / "1").iterdir())
    (line,) = graft_here("predict", finished, file, "--top", "3").out.splitlines()
    path, *shown = line.split("  ")
    assert path == str(file)
    shares = [float(item.split()[1].rstrip("%")) for item in shown]
    assert shares == sorted(shares, reverse=True)
    assert len(shares) == 3
    (line,) = graft_here("predict", finished, file).out.splitlines()
    assert line.split("  ") == [path, shown[0]]


def test_a_path_that_is_not_there_stops_before_any_answer(finished, digits, graft_here):
    ended = graft_here("predict", finished, next((digits / "1").iterdir()), digits / "no.png")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == f"graft: {digits / 'no.png'}: no such file or folder\n"


@pytest.fixture
def copy(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "copy")


def test_a_run_folder_can_be_moved(finished, digits, copy):
    file = next((digits / "0").iterdir())
    moved = package.load(copy).predict(file)
    assert moved == package.load(finished).predict(file)


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
@pytest.mark.parametrize("fraction", [0, 0.5])
def test_a_model_cut_short_is_refused(copy, name, fraction):
    data = (copy / name).read_bytes()
    (copy / name).write_bytes(data[: int(len(data) * fraction)])
    with pytest.raises(ModelError, match="the model files are damaged"):
        package.load(copy)


def test_a_model_of_a_newer_graft_is_refused(copy):
    stored = json.loads((copy / "model.json").read_text())
    (copy / "model.json").write_text(json.dumps(stored | {"format": stored["format"] + 1}))
    with pytest.raises(ModelError, match="made by a newer graft"):
        package.load(copy)


def noise_file(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    file = tmp_path / "noise.png"
    Image.fromarray(pixels).save(file)
    return file


def test_an_image_unlike_those_of_training_has_no_label(frozen_run, tmp_path, graft_here):
    file = noise_file(tmp_path)
    answer = json.loads(graft_here("predict", frozen_run, file, "--json").out)
    assert answer["ood_score"] > 1
    assert answer["label"] is None
    assert answer["best_guess"] in ("0", "1", "2")
    assert "unlike the training images" in answer["reason"]
    assert "none of these (unlike" in graft_here("predict", frozen_run, file).out
    answer = json.loads(graft_here("predict", frozen_run, file, "--answer-all", "--json").out)
    assert answer["label"] == answer["best_guess"]


def test_an_error_budget_and_a_coverage_are_kept_by_thresholds_that_are_said(
    run, digits, graft_here
):
    files = sorted((digits / "1").iterdir())[:6]
    ended = graft_here("predict", run, *files, "--coverage", "80%", "--answer-all", "--json")
    assert ended.code == 0, ended.err
    assert "at least 80% of images like these" in ended.err
    for line in ended.out.splitlines():
        answer = json.loads(line)
        assert answer["prediction_set"][0] == answer["best_guess"]
    ended = graft_here("predict", run, *files, "--max-error", "0.1%")
    assert ended.code == 2
    assert "cannot be kept" in ended.err
    assert "2,995 are needed" in ended.err


def test_a_run_without_validation_predictions_cannot_promise(finished, digits, tmp_path):
    copy = shutil.copytree(finished, tmp_path / "copy")
    (copy / "predictions.csv").unlink()
    with pytest.raises(ModelError, match=r"predictions\.csv is missing"):
        policy_for(copy, max_error="5%")


def test_a_promise_says_how_many_are_refused_besides_unless_all_are_answered(finished):
    _, promise = policy_for(finished, coverage="80%")
    assert "of images like these, as unlike the training images" in promise
    _, promise = policy_for(finished, coverage="80%", abstain_ood=False)
    assert "unlike" not in promise


def test_validation_images_of_one_group_promise_nothing(finished, copy):
    policy, _ = policy_for(finished, max_error="60%", coverage="60%")
    assert policy.set_probability > 0
    rows = Run(copy).images
    header, table = ",".join(rows[0]), [row | {"group_id": "group:video"} for row in rows]
    lines = [header, *(",".join(row.values()) for row in table)]
    (copy / "dataset.csv").write_text("\n".join(lines) + "\n")
    policy, _ = policy_for(copy, coverage="60%")
    assert policy.set_probability == 0
    with pytest.raises(UsageError, match="groups, which count as wholes: 1"):
        policy_for(copy, max_error="60%")


def test_the_page_of_answers_shows_the_set_of_a_refused_image_beside_the_reason(
    frozen_run, tmp_path, graft_here
):
    page = tmp_path / "a.html"
    asked = ["--coverage", "80%", "--html", page]
    ended = graft_here("predict", frozen_run, noise_file(tmp_path), *asked, "--json")
    answer = json.loads(ended.out)
    assert answer["reason"]
    text = page.read_text()
    text = re.sub(r"<abbr[^>]*>|</abbr>|<a [^>]*>|</a>", "", text)
    found = f"{answer['reason']}. Prediction set: <b>{' or '.join(answer['prediction_set'])}</b>"
    assert found in text


def test_the_table_of_predictions_has_a_row_an_image_and_the_classes_names_apart(
    frozen_run, digits, graft_here, tmp_path
):
    (tmp_path / "song.png").write_text("la la la")
    files = [*sorted((digits / "1").iterdir())[:3], noise_file(tmp_path), tmp_path / "song.png"]
    table = tmp_path / "out" / "answers.csv"
    asked = ["predict", frozen_run, *files, "--csv", table, "--coverage", "80%", "--json"]
    ended = graft_here(*asked)
    assert ended.code == 3
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["path"] for row in rows] == [str(file) for file in files]
    for row, line in zip(rows, ended.out.splitlines(), strict=False):
        answer = json.loads(line)
        assert row["label"] == (answer["label"] or "")
        assert row["reason"] == answer["reason"]
        assert json.loads(row["prediction_set"]) == answer["prediction_set"]
        shares = {name: float(row[f"p: {name}"]) for name in answer["probabilities"]}
        assert shares == pytest.approx(answer["probabilities"], abs=1e-8)
    assert (rows[3]["label"], rows[4]["label"]) == ("", "")
    assert "cannot be decoded" in rows[4]["problem"]
    assert graft_here(*asked).code == 3, "its own table is replaced"


def test_a_table_that_is_not_its_own_is_left_as_it_is(finished, digits, graft_here, tmp_path):
    own = tmp_path / "photos.csv"
    own.write_text("image,label\na.png,cat\n")
    file = next((digits / "1").iterdir())
    for name, said in ((own, "was not written by graft predict"), (file, "takes the name of a")):
        before = name.read_bytes()
        ended = graft_here("predict", finished, file, "--csv", name)
        assert (ended.code, ended.out) == (2, "")
        assert said in ended.err
        assert name.read_bytes() == before
