"""Step Results: the same numbers as graft.results, cells that open, a threshold that moves."""

import json
import re
from urllib.parse import urlencode

import pytest
from app_client import Client, copied, served
from run_project import page_of, project_with_runs

import graft
from graft.report.run_page import write_report


@pytest.fixture(scope="module")
def app(digits, finished, tmp_path_factory):
    with project_with_runs(tmp_path_factory.mktemp("results"), digits, finished) as client:
        yield client


def test_runs_are_listed_the_newest_first_with_their_accuracy(app):
    found = app.json("/api/results/runs")
    assert [run["name"] for run in found["runs"]] == ["first", "guess"]
    metrics = graft.Run(app.runs / "first").metrics
    assert found["runs"][0]["accuracy"] == metrics["accuracy"]
    assert found["begun"] == found["damaged"] == []


@pytest.mark.parametrize("least", [0, 0.45, 0.8, 1])
def test_the_numbers_at_a_threshold_are_those_of_graft_results(app, least):
    found = app.json(f"/api/results/threshold?run=guess&from={least}")
    for split in ("test", "val"):
        expected = graft.results(app.runs / "guess", split).answering_from(least)
        assert found[split] == json.loads(json.dumps(expected))
    curve = app.json("/api/results/summary?run=guess")["curve"]
    assert curve == json.loads(json.dumps(graft.results(app.runs / "guess").curve()))


def test_a_cell_gives_its_images_which_the_app_shows(app):
    results = graft.results(app.runs / "guess")
    for label in results.classes:
        for predicted in results.classes:
            query = urlencode({"run": "guess", "label": label, "predicted": predicted, "from": 0.4})
            found = app.json(f"/api/results/images?{query}")
            expected = results.cell(label, predicted, min_probability=0.4)
            assert [each["id"] for each in found["images"]] == [each.path for each in expected]
            assert found["total"] == len(expected)
    image = found["images"][0] if found["images"] else app.json("/api/results/images")["images"][0]
    status, headers, _ = app.ask(f"/thumbnail/{image['sha256']}")
    assert (status, headers["content-type"]) == (200, "image/jpeg")


def answering(app, name):
    """From where a run answers, as every page is told."""
    runs = app.json("/api/results/runs")["runs"]
    return next(run["answering"] for run in runs if run["name"] == name)


def test_the_threshold_of_a_run_is_kept_apart_from_that_of_others(app):
    own = app.json("/api/results/answering", {"run": "first", "from": 0.8})
    assert own == {"from": 0.8, "budget": None, "own": 0.8} == answering(app, "first")
    assert answering(app, "guess")["from"] != 0.8
    budget = app.json("/api/results/answering", {"run": "first", "budget": "5%"})
    assert budget == {"from": 0.9, "budget": "5%", "own": 0.8} == answering(app, "first")
    always = app.json("/api/results/answering", {"run": "first", "from": 0})
    assert always == {"from": 0, "budget": None, "own": 0.8} == answering(app, "first")
    assert json.loads((app.runs.parent / "answering.json").read_text())
    refused = app.json("/api/results/answering", {"run": "first", "budget": "1%"}, status=400)
    assert "at most 1% wrong cannot be promised for run first" in refused["error"]
    assert answering(app, "first") == always


@pytest.mark.slow
@pytest.mark.parametrize("width", [1200, 400])
def test_a_threshold_goes_with_the_menu_to_the_other_steps_and_back(app, browser, width):
    app.json("/api/results/answering", {"run": "first", "from": 0})
    with page_of(browser, app, "/results", width) as page:
        page.wait_for_selector(".matrix button")
        page.fill("#least-percent", "80")
        page.keyboard.press("Enter")
        page.wait_for_selector('#budgets button[aria-pressed="true"]', state="detached")
        page.click("nav a[href='/try']")
        page.wait_for_selector('#threshold-text:has-text("at least 80.0")')
        page.click("nav a[href='/use']")
        page.wait_for_selector("#budget option >> nth=4", state="attached")
        assert page.locator("#budget").input_value() == "own"
        values = "each => each.map(one => one.value)"
        disabled = page.locator("#budget option:disabled").evaluate_all(values)
        assert disabled == ["1%", "2%"]
        page.select_option("#budget", "5%")
        page.wait_for_selector('[data-step="serve"] pre:has-text("--max-error")')
        there = page.locator("#budget option").evaluate_all(values)
        assert there == ["", "own", "1%", "2%", "5%"]
        page.click("nav a[href='/results']")
        page.wait_for_selector('#budgets button[aria-pressed="true"]:has-text("5")')
        assert page.input_value("#least-percent") == "90"
        page.goto(app.base + "/results?from=0.7")  # a link
        page.wait_for_selector(".matrix button")
        assert page.input_value("#least-percent") == "70"
        assert answering(app, "first") == {"from": 0.7, "budget": None, "own": 0.7}


def test_the_report_is_shown_as_it_is_with_links_that_lead_to_the_images(app):
    write_report(graft.Run(app.runs / "first"))  # the run was copied: its links are relative
    status, headers, body = app.ask("/results/report?run=first")
    text = body.decode()
    assert status == 200
    assert "script-src" not in headers["content-security-policy"]
    assert headers["content-security-policy"].startswith("default-src 'none'")
    links = re.findall(r'href="(/image/[0-9a-f]{64})"', text)
    assert links
    assert app.ask(links[0])[0] == 200
    assert "photos/" not in "".join(re.findall(r'href="([^"]*)"', text))


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/api/results/threshold?from=2", "from is a probability from 0 to 1"),
        ("/api/results/threshold?from=x", "from is a probability from 0 to 1"),
        ("/api/results/images?label=x", "no class 'x'"),
        ("/api/results/summary?run=..%2F..", "there is no finished run '../..'"),
        ("/results/report?run=none", "there is no finished run 'none'"),
    ],
)
def test_what_is_impossible_is_one_line(app, path, said):
    found = app.json(path, status=400)["error"]
    assert said in found
    assert "\n" not in found


def test_without_a_run_and_while_one_is_begun_the_app_says_what_to_do(rendered, tmp_path):
    folder = copied(rendered, tmp_path / "photos", 3)
    with served(folder) as address:
        client = Client(address)
        said = client.json("/api/results/summary", status=400)["error"]
        assert said == "there is no finished run yet; train one first, in step Train"
        begun = tmp_path / "photos-graft" / "runs" / "one"
        begun.mkdir()
        (begun / ".graft-run").touch()
        assert client.json("/api/results/runs")["begun"] == ["one"]


@pytest.mark.slow
@pytest.mark.parametrize("width", [1200, 400])
def test_a_browser_opens_cells_and_moves_the_threshold(app, browser, width):
    results = graft.results(app.runs / "guess")
    names = results.classes
    app.json("/api/results/answering", {"run": "guess", "from": 0})
    with page_of(browser, app, "/results?run=guess", width) as page:
        page.wait_for_selector(".matrix button")
        table = results.answering_from()["confusion"]
        shown = [
            [int(page.locator(f'[data-cell="{i}-{j}"]').inner_text()) for j in range(len(names))]
            for i in range(len(names))
        ]
        assert shown == table
        i, j = next((i, j) for i in range(3) for j in range(3) if i != j and table[i][j])
        cell = page.locator(f'[data-cell="{i}-{j}"]')
        said = cell.get_attribute("aria-label")
        assert said.startswith(f"{names[i]} predicted as {names[j]}: {table[i][j]} image")
        cell.click()
        page.wait_for_selector("#cell li img")
        paths = [each.path for each in results.cell(names[i], names[j])]
        assert [each.get_attribute("alt") for each in page.locator("#cell img").all()] == paths
        page.locator("#cell li button").first.click()
        page.wait_for_selector("#view[open]")
        assert page.locator("#view-name").inner_text().startswith(paths[0])
        page.keyboard.press("Escape")
        # By keys alone: along the row, into an image list.
        cell.focus()
        page.keyboard.press("ArrowLeft" if j else "ArrowRight")
        page.keyboard.press("Enter")
        neighbor = names[j - 1 if j else 1]
        page.wait_for_selector(f'#cell-title:has-text("{names[i]} predicted as {neighbor}")')
        # The slider, by keys; then a number.
        page.locator("#least").focus()
        page.keyboard.press("End")
        page.wait_for_selector('#errors:text-is("–")')
        page.fill("#least-percent", "60")
        page.keyboard.press("Tab")
        at = results.answering_from(0.6)
        page.wait_for_selector(f'#errors-of:has-text("{at["wrong"]} of {at["answered"]} answers")')
        left = page.locator(f'[data-cell="{i}-3"]').inner_text()
        assert int(left) == at["abstained_by_class"][i]
        page.wait_for_selector("#curve .bad")
        page.reload()
        page.wait_for_selector(f'#errors-of:has-text("{at["wrong"]} of {at["answered"]} answers")')
        assert page.locator("#next-link").get_attribute("href") == "/try?run=guess"
        page.select_option("#run", "first")
        page.wait_for_selector('#headline:has-text("of 13")')
