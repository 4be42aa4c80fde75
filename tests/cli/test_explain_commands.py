import json
import re
import shutil

import numpy as np
import pytest

from graft.runs.run import Run


def images_of(digits, label, count=2):
    return sorted((digits / label).glob("*.png"))[:count]


def test_json_is_an_object_an_image_with_a_map_over_the_whole_of_it(finished, digits, graft_here):
    files = images_of(digits, "0")
    ended = graft_here("explain", finished, *files, "--against", "2", "--json")
    assert ended.code == 0, ended.err
    found = [json.loads(line) for line in ended.out.splitlines()]
    assert [one["path"] for one in found] == [str(file) for file in files]
    for one in found:
        assert one.keys() >= {"path", "label", "probability", "against", "method", "map"}
        values = np.array(one["map"])
        assert values.shape == (16, 16)
        assert values.min() >= 0
        assert one["method"] == "occlusion"


def test_people_are_told_what_covering_did(finished, digits, graft_here):
    file = images_of(digits, "1")[0]
    ended = graft_here("explain", finished, file)
    assert ended.code == 0, ended.err
    first, second, third = ended.out.splitlines()
    label, probability = re.fullmatch(rf"{re.escape(str(file))}  (\d) (\d+\.\d)%", first).groups()
    assert float(probability) > 100 / 3
    change = r"(falls|rises) from \d+ % to \d+ %|stays at \d+ %"
    assert re.fullmatch(rf"    with this covered, {label} ({change})", second), second
    assert third.startswith("    with as much covered where the map is lowest")


def test_a_file_that_is_no_image_is_named_and_the_others_are_explained(
    finished, digits, graft_here, tmp_path
):
    (tmp_path / "song.png").write_text("la la la")
    shutil.copy(images_of(digits, "0")[0], tmp_path / "zero.png")
    ended = graft_here("explain", finished, tmp_path, "--method", "gradients")
    assert ended.code == 3
    assert "song.png cannot be decoded" in ended.err
    assert str(tmp_path / "zero.png") in ended.out


def test_an_image_that_the_network_learned_from_is_named(finished, digits, graft_here):
    files = {row["split"]: digits / row["path"] for row in Run(finished).images}
    ended = graft_here("explain", finished, *files.values(), "--method", "gradients")
    assert ended.code == 0, ended.err
    about = {
        split: [line for line in ended.err.splitlines() if str(files[split]) in line]
        for split in ("train", "val", "test")
    }
    assert any("learned from this very image" in line for line in about["train"])
    assert any("validation images" in line for line in about["val"])
    assert not any("proves" in line for line in about["test"])


def test_the_class_predicted_is_not_held_against_itself(finished, digits, graft_here):
    file = images_of(digits, "0")[0]
    best = json.loads(graft_here("predict", finished, file, "--json").out)["best_guess"]
    ended = graft_here("explain", finished, file, "--against", best, "--json")
    assert ended.code == 0
    assert json.loads(ended.out)["against"] is None
    assert f"is taken for {best} itself" in ended.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["{image}", "--against", "cat"], 2, "no class 'cat': expected one of 0, 1, 2"),
        (["{image}", "--method", "magic"], 2, "--method: 'magic' is not one of"),
        (["nowhere.png"], 2, "nowhere.png: no such file or folder"),
        ([], 2, "expected images to explain, or --mistakes"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_what_is_wrong_is_said_in_a_line(arguments, code, message, finished, digits, graft_here):
    image = str(images_of(digits, "0")[0])
    ended = graft_here("explain", finished, *(a.format(image=image) for a in arguments))
    assert ended.code == code
    assert message in ended.err
    assert ended.err.count("\n") == 1
    assert not ended.out


def test_a_page_shows_all_there_is_to_see(finished, digits, graft_here, tmp_path):
    page = tmp_path / "why.html"
    ended = graft_here(
        "explain", finished, *images_of(digits, "0"), "--method", "gradients", "--html", page
    )
    assert ended.code == 0, ended.err
    text = page.read_text()
    assert len(text) < 2 * 1.5e6
    for words in (
        "With this covered",
        "What would change its mind?",
        "Stage 3 of 3",
        "excited most by",
        "The training images most like it",
        "The filters of the first layer",
        "32\u00a0filters",
        "What a heat map cannot tell",
        "glossary-heat-map",
    ):
        assert words in text, words
    assert "://" not in text, "nothing from elsewhere"
    images = re.findall(r"<img[^>]* src=\"data:image/(?:jpeg|png);base64,", text)
    assert len(images) == text.count("<img")
    # Per image: 4 views, 12 changes, 6 neighbors, and in each of 3 stages the evidence and 3
    # channels with 3 training images.
    assert len(images) == 2 * (4 + 12 + 6 + 3 * (1 + 3 * 4)) + 32


def test_mistakes_get_heat_maps_in_the_report(finished, graft_here, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    run = Run(folder)
    _, labels, probabilities = run.predictions("test")
    wrong = int((probabilities.argmax(1) != labels).sum())
    assert wrong, "the run is too good for this test"
    ended = graft_here("explain", folder, "--mistakes", "--method", "gradients")
    assert ended.code == 0, ended.err
    maps = Run(folder).heat_maps
    assert len(maps) == min(wrong, 12)
    for path, one in maps.items():
        assert one["path"] == path
        assert one["against"] != one["label"]
        assert "with this covered" in one["sentence"]
    text = (folder / "report.html").read_text()
    assert text.count('class="overlay"') == len(maps)
    assert text.count("with this covered") >= len(maps)
    assert "--mistakes" not in text


def test_training_gives_the_first_mistakes_of_its_report_heat_maps(finished):
    run = Run(finished)
    _, labels, probabilities = run.predictions("test")
    wrong = int((probabilities.argmax(1) != labels).sum())
    text = (finished / "report.html").read_text()
    assert text.count('class="overlay"') == len(run.heat_maps) == min(wrong, 12)
    for one in run.heat_maps.values():
        assert one["method"] == "gradients"
        assert np.max(one["map"]) == pytest.approx(1)
    assert "--mistakes</code> says of each what covering that region does" in text
