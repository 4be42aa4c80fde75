"""Step Try: the answers of predict, explain and chat, in the app."""

import base64
import hashlib
import io
import json
import re
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image
from run_project import page_of, project_with_runs

import graft
from graft.app.try_images import KEPT, file_name
from graft.explanation.heat_map import share

MINE = "my “first” photo.png"


@pytest.fixture(scope="module")
def app(digits, finished, tmp_path_factory):
    with project_with_runs(tmp_path_factory.mktemp("try"), digits, finished) as client:
        yield client


@pytest.fixture(scope="module")
def image(finished):
    """A file that the run was tested on, and answers."""
    run = graft.Run(finished)
    files = [run.files[each.path] for each in graft.results(run.path).images]
    return Path(next(p.path for p in graft.load(run.path).predict(files) if not p.abstained))


@pytest.fixture(scope="module")
def noise_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("noise") / "noise.png"
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(file)
    return file


def sent(app, file, name=None, path="image", **query):
    asked = "&".join(f"{key}={value}" for key, value in query.items())
    where = f"/api/try/{path}?run=first&name={quote(name or file.name)}&{asked}"
    return app.json(where, file.read_bytes(), "PUT")


def test_an_image_is_answered_as_predict_answers_it(app, image, noise_file):
    predictor = graft.load(app.runs / "first")
    for file in (image, noise_file):
        expected = predictor.predict(file, graft.Policy(nearest=6)).to_json()
        found = sent(app, file)
        for key in ("label", "best_guess", "reason", "ood_score", "prediction_set"):
            assert found[key] == expected[key], key
        assert found["probabilities"] == expected["probabilities"]
        near = [(each["path"], each["similarity"]) for each in found["nearest"]]
        assert near == [(each["path"], each["similarity"]) for each in expected["nearest"]]
        assert app.ask(f"/thumbnail/{found['nearest'][0]['sha256']}")[0] == 200
    assert (found["label"], found["refusal"]) == (None, "none of these")


def test_below_the_threshold_it_does_not_answer(app, image):
    found = sent(app, image, **{"from": 1})
    assert found["label"] is None
    assert "below the 100.0% asked for" in found["reason"]


def test_an_image_of_the_training_set_is_said_to_prove_nothing(app, finished):
    run = graft.Run(finished)
    row = next(row for row in run.images if row["split"] == "train")
    found = sent(app, run.files[row["path"]])
    assert found["seen"].startswith("the network learned from this very image")
    assert row["path"] not in [each["path"] for each in found["nearest"]]


@pytest.mark.slow
def test_the_heat_map_is_that_of_explain(app, image):
    found = sent(app, image)
    drawn = app.json(f"/api/try/map?run=first&image={found['image']}&label=2")
    expected = graft.explain(app.runs / "first", image, method="gradients", label="2")
    assert drawn["method"] == "gradients"
    assert (drawn["sentence"], drawn["comparison"]) == (expected.sentence, expected.comparison)
    shown = Image.open(io.BytesIO(base64.b64decode(drawn["overlay"].partition(",")[2])))
    own = np.asarray(expected.overlay(shown.width), float)
    assert np.abs(np.asarray(shown, float) - own).mean() < 6, "but for JPEG's losses"


@pytest.mark.slow
def test_page_and_chat_say_the_same_numbers_and_the_chat_names_no_commands(app, image):
    kept = sent(app, image)["image"]
    drawn = app.json(f"/api/try/map?run=first&image={kept}")
    body = {"run": "first", "image": kept, "tab": "c", "before": []}
    said = app.json("/api/try/ask", body | {"text": "Why?"})["evidence"]
    assert said["method"] == drawn["method"] == "gradients"
    assert drawn["sentence"].endswith(share(said["after_covering"]))
    assert drawn["comparison"].endswith(share(said["after_covering_elsewhere"]))
    for text in ("Why?", "How good are you?", "Which images should I photograph next?"):
        answer = app.json("/api/try/ask", body | {"text": text})["text"]
        assert not re.search(r"\bgraft \w|\.json|\.csv", answer), answer


@pytest.mark.slow
def test_a_question_waits_in_the_box_while_another_is_answered(app, browser):
    held = []
    with page_of(browser, app, "/try?run=first") as page:
        page.wait_for_selector("body[data-ready]")
        page.route("**/api/try/ask", lambda route: held.append(route))
        page.fill("[name=text]", "How good are you?")
        page.keyboard.press("Enter")
        page.wait_for_selector(".thinking:has-text(' s')")  # how long it takes
        page.fill("[name=text]", "What do you know?")
        page.keyboard.press("Enter")
        assert page.input_value("[name=text]") == "What do you know?"
        assert page.is_disabled("#ask-form button")
        held.pop().continue_()
        page.wait_for_selector(".reply details")
        page.click("#ask-form button")
        page.wait_for_selector(".question >> nth=1")
        while not held:
            page.wait_for_timeout(50)
        held.pop().continue_()
        page.wait_for_selector(".reply details >> nth=1")


@pytest.mark.slow
def test_an_image_of_no_class_is_not_put_into_one(app, browser, noise_file):
    before = app.json("/api/images/classes")["total"]
    with page_of(browser, app, "/try?run=first&from=0.999") as page:
        page.wait_for_selector("body[data-ready]")
        page.set_input_files("#file", noise_file)
        page.wait_for_selector("#label.none")
        assert page.inner_text("#sure").startswith("Closest of its classes: “")
        assert "of the validation images were" in page.inner_text("#reason")
        assert "answers from 99.9" in page.inner_text("#reason"), "both reasons"
        assert page.input_value("#teach") == "", "no class is preset"
        assert page.is_disabled("#teach-button")
        page.select_option("#teach", label="none of these")
        assert "was right. The image is not added" in page.inner_text("#teach-note")
        assert page.is_disabled("#teach-button")
        page.select_option("#teach", "1")
        assert page.is_enabled("#teach-button")
    assert app.json("/api/images/classes")["total"] == before


@pytest.mark.slow
def test_the_chat_answers_as_graft_chat_does(app, image, graft_here):
    kept = sent(app, image)["image"]
    file = next((app.photos.parent / "photos-graft" / "tried" / kept).iterdir())
    questions = ["What is it?", "and 2?", "How good are you?", "who painted this?"]
    asks = [word for question in questions for word in ("--ask", question)]
    ended = graft_here("chat", app.runs / "first", file, *asks, "--json")
    expected = [json.loads(line) for line in ended.out.splitlines()]
    body = {"run": "first", "image": kept, "tab": "a"}
    for i, question in enumerate(questions):
        found = app.json("/api/try/ask", body | {"text": question, "before": questions[:i]})
        assert found["intent"] == expected[i]["intent"]
        # Where an answer is from is told in the words of the app.
        own, theirs = (
            text.partition(" That is ")[0] for text in (found["text"], expected[i]["text"])
        )
        assert own == theirs
    # A talk of which the app knows nothing any more goes on where it was.
    again = body | {"tab": "b", "text": questions[1], "before": questions[:1]}
    assert app.json("/api/try/ask", again)["text"] == expected[1]["text"]
    offered = app.json(f"/api/try/questions?run=first&image={kept}")["questions"]
    assert "Why?" in offered
    assert "Why?" not in app.json("/api/try/questions?run=first")["questions"]


def test_what_was_tried_is_kept_by_its_bytes_and_can_be_forgotten(app, image):
    found = sent(app, image, MINE)
    assert found["image"] == hashlib.sha256(image.read_bytes()).hexdigest()
    listed = [each["image"] for each in app.json("/api/try/tried")["images"]]
    assert listed[0] == found["image"]
    assert app.ask(f"/try/image/{found['image']}?small")[0] == 200
    app.json("/api/try/forget", {"image": found["image"]})
    assert found["image"] not in [i["image"] for i in app.json("/api/try/tried")["images"]]
    said = app.json(f"/api/try/answer?image={found['image']}", status=400)["error"]
    assert said == "this image was forgotten; drop it again"
    assert not list((app.photos.parent / "photos-graft" / "tried").glob(found["image"]))


def test_a_frame_of_the_webcam_is_answered_and_not_kept(app, image):
    before = app.json("/api/try/tried")
    found = sent(app, image, path="frame")
    assert found["best_guess"] == graft.load(app.runs / "first").predict(image).best_guess
    assert app.json("/api/try/tried") == before


def test_a_tried_image_can_be_put_into_a_class(app, image):
    kept = sent(app, image)["image"]
    before = {each["name"]: each["count"] for each in app.json("/api/images/classes")["classes"]}
    app.json("/api/try/teach", {"image": kept, "label": "1"})
    after = {each["name"]: each["count"] for each in app.json("/api/images/classes")["classes"]}
    # It is one of the user's own images, so it moves; what is new would be added.
    own = image.parent.name
    assert after == before | {"1": before["1"] + 1, own: before[own] - 1}
    assert len(list(app.photos.rglob("*.png"))) == 120, "the user's own folder stays as it is"


@pytest.mark.parametrize("data", [b"", b"no image", b"\x89PNG\r\n\x1a\nbroken"])
def test_what_is_no_image_is_told_in_one_line(app, data):
    found = app.json("/api/try/image?name=x.png&run=first", data, "PUT", status=400)
    assert found["error"].startswith("x.png ")
    assert found["error"].endswith("; expected an image, such as a JPEG or PNG")
    where = "/api/images/add?class=1&name=x.png&batch=20260101120000000d"
    assert app.json(where, data, "PUT", status=400)["error"] == found["error"], (
        "in step Images, too"
    )
    for sha256 in ("", "x" * 64, "../../photos", "0" * 64):
        assert (
            "forgotten"
            in app.json(f"/api/try/answer?image={quote(sha256, safe='')}", status=400)["error"]
        )


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("rose.jpg", "rose.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\photos\\a b.png", "a b.png"),
        ("", "image"),
        ("...", "image"),
        ("a" * 300 + ".jpeg", "a" * 72 + ".jpeg"),
        ("x\n\0y?.png", "x__y_.png"),
    ],
)
def test_names_of_files_are_made_fit(given, kept):
    assert file_name(given) == kept


def test_only_the_last_ones_are_kept(tmp_path):
    from types import SimpleNamespace

    from graft.app.try_images import keep_tried, tried_images

    project = SimpleNamespace(home=tmp_path)
    for shade in range(KEPT + 3):
        drawn = io.BytesIO()
        Image.new("RGB", (8, 8), (shade, 0, 0)).save(drawn, "PNG")
        keep_tried(project, f"{shade}.png", drawn.getvalue())
    names = [each.name for each in tried_images(project)]
    assert names == [f"{shade}.png" for shade in range(KEPT + 2, 2, -1)]


@pytest.mark.slow
@pytest.mark.parametrize("width", [1200, 400])
def test_a_browser_shows_answer_map_and_neighbors_and_talks(app, browser, image, noise_file, width):
    app.json("/api/results/answering", {"run": "first", "from": 0})
    expected = graft.load(app.runs / "first").predict(image)
    with page_of(browser, app, "/try?run=first", width) as page:
        page.wait_for_selector("body[data-ready]")
        page.set_input_files("#file", image)
        page.wait_for_selector(f'#picture-name:has-text("{image.name}")')
        assert page.locator("#label").inner_text() == expected.label
        assert page.locator("#bars li").count() == 3
        page.wait_for_selector("#maps img >> nth=2")
        assert page.locator("#nearest img").count() == 6
        page.fill("[name=text]", "How good are you?")
        page.keyboard.press("Enter")
        page.wait_for_selector(".reply details")
        said = page.locator(".reply p").inner_text()
        page.reload()  # neither the image nor the talk is lost
        page.wait_for_selector(f'#picture-name:has-text("{image.name}")')
        page.wait_for_selector(".reply details")
        assert page.locator(".reply p").inner_text() == said
        # Dropped, then pasted.
        drop = (
            "(bytes) => { const data = new DataTransfer();"
            "data.items.add(new File([new Uint8Array(bytes)], 'dropped.png', {type: 'image/png'}));"
            "document.querySelector('main').dispatchEvent("
            "new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true})); }"
        )
        page.evaluate(drop, list(noise_file.read_bytes()))
        page.wait_for_selector("#label.none")
        assert page.locator("#label").inner_text() == "none of these"
        assert page.locator(".reply").count() == 0, "another image, another talk"
        paste = drop.replace("dropped.png", "image.png").replace("DragEvent", "ClipboardEvent")
        paste = paste.replace("'drop', {dataTransfer", "'paste', {clipboardData")
        page.evaluate(paste, list(image.read_bytes()))
        page.wait_for_selector("#label:not(.none)")
        page.click("#forget")
        page.wait_for_selector("#result", state="hidden")


@pytest.mark.slow
def test_what_is_chosen_before_the_runs_are_known_waits_for_them(app, browser, image):
    held, free = [], []
    with page_of(browser, app, "/use?run=first") as page:
        page.route(
            "**/api/results/runs*",
            lambda route: route.continue_() if free else held.append(route),
        )
        page.goto(app.base + "/try?run=first")
        page.set_input_files("#file", str(image))
        page.wait_for_timeout(500)
        free.append(True)
        for route in held:
            route.continue_()
        page.wait_for_selector(f'#picture-name:has-text("{image.name}")')
        assert page.locator(".toast.error").count() == 0


@pytest.mark.slow
def test_the_webcam_is_answered_live_and_one_frame_looked_at(app, fake_camera):
    script = Path(__file__).with_name("try_webcam.py")
    told = fake_camera(script, app.address, "/try?run=first")
    assert set(told["live"]) <= {"0", "1", "2"}
    assert told["ended"]
    assert told["hidden"]
    assert told["kept_after"] == told["kept_before"] + 1
