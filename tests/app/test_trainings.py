"""Step 3 of `graft app`: trainings as processes, and its page in a real Chromium."""

import json
import shutil
import statistics
import time
from datetime import UTC, datetime

import pytest
from app_client import Client, served

from graft.app.project import Project
from graft.app.run_list import (
    FAILED,
    FINISHED,
    RUNNING,
    STOPPED,
    curves_of,
    described,
    run_names,
)
from graft.app.train_routes import _by_last
from graft.app.training_process import Trainings
from graft.errors import DataError, UsageError
from graft.runs.run import Run
from graft.utils.files import write_json

api = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")

QUICK = {"model": "base_cnn", "image_size": 16, "epochs": 3, "flip": False}


def asked(**more):
    return {
        "settings": {"model": "base_cnn", "unfreeze": "none"},
        "images": 120,
        "classes": 3,
        "started": datetime.now(UTC).isoformat(),
        "command": ["graft", "train"],
        "pid": 1,
        **more,
    }


@pytest.fixture
def source(digits, tmp_path):
    return shutil.copytree(digits, tmp_path / "digits")


@pytest.fixture
def with_runs(source, finished):
    """A folder whose project has two finished runs, one that was stopped and one that failed."""
    with Project(source) as project:
        for name in ("1", "2"):
            shutil.copytree(finished, project.runs / name)
            write_json(project.runs / f"{name}.json", asked())
        (project.runs / "3").mkdir()
        shutil.copy(finished / "history.jsonl", project.runs / "3")
        with (project.runs / "3" / "history.jsonl").open("a") as lines:
            lines.write('{"epoch": 3, "val_lo')
        (project.runs / "3.log").write_text("fitting: 3 of 9\ngraft: terminated; what was\n")
        (project.runs / "4.log").write_text("graft: x cannot be trained on: too few\n")
        for name in ("3", "4"):
            write_json(project.runs / f"{name}.json", asked())
    return source


def test_the_state_of_a_run_is_read_from_its_files(with_runs):
    with Project(with_runs) as project:
        trainings = Trainings(project)
        assert run_names(project.runs) == ["4", "3", "2", "1"]
        states = {name: trainings.state_of(name) for name in run_names(project.runs)}
        assert states == {"1": FINISHED, "2": FINISHED, "3": STOPPED, "4": FAILED}
        assert [line["epoch"] for line in curves_of(project.runs, "3")] == [1, 2]
        assert trainings.running() is None
        for name in ("1", "4", "nothing", "../1"):
            with pytest.raises(UsageError, match="was not stopped"):
                trainings.resume(name)
            with pytest.raises(UsageError, match="does not run"):
                trainings.stop(name)


def test_a_run_that_was_stopped_and_went_on_took_the_sum(with_runs):
    with Project(with_runs) as project:
        ended = (project.runs / "2" / "metrics.json").stat().st_mtime
        write_json(project.runs / "2.json", asked(earlier=40.0, began=ended - 3))
        assert described(project.runs, "2", FINISHED)["seconds"] == pytest.approx(43)


def test_the_time_to_learn_is_that_of_the_last_run_of_the_same_settings(with_runs):
    with Project(with_runs) as project:
        fit = Run(project.runs / "2").metrics["seconds"]["fit"]
        told = {"seconds": 50.0, "encode": 1.0, "fit": 40.0, "new": 0, "images": 240}
        found = _by_last(told, project.runs, {"model": "base_cnn", "unfreeze": "none", "seed": 3})
        assert found["seconds"] == pytest.approx(10 + 2 * fit)
        assert _by_last(told, project.runs, {"model": "base_cnn", "unfreeze": "all"}) == told


def test_impossible_settings_and_no_images_begin_nothing(source, tmp_path):
    (tmp_path / "empty").mkdir()
    with Project(source) as project:
        with pytest.raises(UsageError, match="epochs must be"):
            Trainings(project).start({"epochs": 0})
        assert list(project.runs.iterdir()) == []
    with Project(tmp_path / "empty") as project:
        with pytest.raises(DataError, match="no image has a class yet"):
            Trainings(project).start(QUICK)
        assert list(project.runs.iterdir()) == []


def test_the_page_lists_runs_shows_their_curves_and_compares_them(browser, with_runs):
    with served(with_runs) as address:
        context = browser.new_context(viewport={"width": 1200, "height": 900})
        page = context.new_page()
        errors = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        page.goto(address.partition("?")[0] + "train")
        rows = page.locator("#runs tbody tr")
        api.expect(rows).to_have_count(4)
        assert page.locator("[data-run='4'] .problem").inner_text().endswith("too few")
        page.locator("[data-run='3'] button", has_text="Curves").click()
        label = page.locator("#accuracy-chart svg").get_attribute("aria-label")
        assert label.startswith("Validation accuracy over 2 epochs")
        page.check("[data-run='1'] input")
        assert page.is_disabled("#compare")
        page.check("[data-run='2'] input")
        page.click("#compare")
        api.expect(page.locator("#comparison")).to_contain_text("no difference")
        page.set_viewport_size({"width": 400, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        with context.expect_page() as opened:
            page.click("[data-run='1'] a")
        api.expect(opened.value.locator("h1")).to_be_visible()
        assert errors == []
        context.close()


def wait_for(client, wanted, seconds=300):
    """Until the newest run is in this state; gives the run."""
    for _ in range(seconds * 5):
        run = client.json("/api/train/runs")["runs"][0]
        if run["state"] == wanted:
            return run
        assert run["state"] == RUNNING, run
        time.sleep(0.2)
    raise AssertionError(f"not {wanted} in {seconds} s")


@pytest.mark.slow
def test_a_training_is_stopped_survives_a_restart_and_goes_on(source):
    long = {"settings": {**QUICK, "epochs": 2000}}
    with served(source) as address:
        client = Client(address)
        client.wait_until_read()
        assert client.json("/api/train/start", long) == {"name": "1"}
        refused = client.json("/api/train/start", long, status=400)
        assert refused["error"].startswith("run 1 is being trained")
        while not client.json("/api/train/running")["epochs"]:
            time.sleep(0.2)
    with served(source) as address:  # the training went on
        client = Client(address)
        assert client.json("/api/train/running")["name"] == "1"
        client.json("/api/train/stop", {"name": "1"})
        wait_for(client, STOPPED)
        before = len(client.json("/api/train/curves/1")["epochs"])
        assert 0 < before < 2000
        client.json("/api/train/resume", {"name": "1"})
        while len(client.json("/api/train/running").get("epochs", [])) <= before:
            time.sleep(0.2)
        client.json("/api/train/stop", {"name": "1"})
        wait_for(client, STOPPED)


@pytest.mark.slow
def test_the_app_answers_while_it_trains_and_the_run_is_of_the_decided_images(
    source, record_property
):
    with served(source) as address:
        client = Client(address)
        client.wait_until_read()
        images = client.json("/api/images/list")["images"]
        moved = [image["id"] for image in images if image["label"] == "0"][:4]
        client.json("/api/images/delete", {"paths": moved})
        for image in images[:40]:
            client.ask(f"/thumbnail/{image['sha256']}")
        client.json("/api/train/start", {"settings": {**QUICK, "epochs": 10}})
        took = []
        while client.json("/api/train/running")["name"]:
            for path in ("/api/project", "/api/images/list", "/api/train/running", "/train"):
                began = time.perf_counter()
                assert client.ask(path)[0] == 200
                took.append(time.perf_counter() - began)
            time.sleep(0.1)
        run = wait_for(client, FINISHED)
        assert run["images"] == 116
        assert run["accuracy"]["low"] < run["accuracy"]["value"] <= run["accuracy"]["high"]
        record_property("median_ms", statistics.median(took) * 1000)
        assert statistics.median(took) < 0.1
        home = source.with_name("digits-graft")
        finished = Run.finished(home / "runs" / "1")
        assert len(finished.images) <= 116
        digests = {image["sha256"] for image in images if image["id"] in moved}
        assert digests.isdisjoint({row["sha256"] for row in finished.images})
        assert all(file.is_file() for file in finished.files.values())


@pytest.mark.slow
def test_the_time_is_predicted_by_measuring(source):
    with served(source) as address:
        client = Client(address)
        client.wait_until_read()
        told = {"pending": True}
        while told.get("pending"):
            told = client.json("/api/train/predict", {"settings": QUICK})
            time.sleep(0.2)
        assert told["images"] == 120
        began = time.perf_counter()
        client.json("/api/train/start", {"settings": QUICK})
        wait_for(client, FINISHED)
        took = time.perf_counter() - began
        print(json.dumps({"predicted": told, "took": took}))
        assert took / 5 < told["seconds"] < took * 5


@pytest.mark.slow
def test_a_training_is_begun_on_the_page_and_watched_to_its_end(browser, source):
    with served(source) as address:
        context = browser.new_context()
        page = context.new_page()
        page.goto(address)
        page.goto(address.partition("?")[0] + "train")
        page.locator("#cost", has_text="About").wait_for(timeout=120_000)
        page.click("summary")
        page.select_option("#model", "base_cnn")
        page.fill("#epochs", "3")
        page.fill("#image-size", "16")
        page.uncheck("#flip")
        page.click("#train")
        page.locator("#running", has_text="Run 1 is being trained").wait_for()
        assert page.is_disabled("#train")
        page.locator("#accuracy-chart svg").wait_for(timeout=120_000)
        page.locator("[data-run='1'] .finished").wait_for(timeout=120_000)
        api.expect(page.locator(".toast")).to_contain_text("of the test images are right")
        command = Client(address)
        command.cookie = next(
            f"{c['name']}={c['value']}" for c in context.cookies() if c["name"].startswith("graft")
        )
        run = command.json("/api/train/runs")["runs"][0]
        assert {"base_cnn", "--epochs", "3", "--no-flip"} <= set(run["command"])
        # The report is called by the project, not by its table of images.
        assert b", run 1</bdi></h1>" in command.ask("/report/1")[2]
        context.close()
