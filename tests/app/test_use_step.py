"""Step Use it: exports, the server and the lines, as the commands themselves give them."""

import io
import json
import time
import urllib.request
import zipfile

import pytest
from run_project import page_of, project_with_runs

import graft
from graft.app.use_downloads import as_notebook, as_script


@pytest.fixture(scope="module")
def app(digits, finished, tmp_path_factory):
    with project_with_runs(tmp_path_factory.mktemp("use"), digits, finished) as client:
        yield client


def until(app, wanted, seconds=300):
    """The state of step Use it, as soon as it is as wanted."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = app.json("/api/use/state?run=first")
        if wanted(found):
            return found
        time.sleep(0.2)
    raise AssertionError(found)


def export_of(found, to):
    return next(each for each in found["exports"] if each["to"] == to)


@pytest.mark.parametrize(
    ("query", "given"),
    [
        ("", {}),
        ("&from=0.8", {"min_probability": 0.8}),
        ("&budget=5%25&from=0.8", {"max_error": "5%"}),
    ],
)
def test_the_lines_are_those_of_repeat_lines(app, query, given):
    found = app.json(f"/api/use/lines?run=first{query}")["lines"]
    expected = graft.repeat_lines(app.runs / "first", **given)
    assert [tuple(line.values()) for line in found] == [
        (line.step, line.command, line.python) for line in expected
    ]


def test_notebook_and_script_have_the_same_lines(app):
    lines = graft.repeat_lines(app.runs / "first")
    status, headers, body = app.ask("/use/lines/notebook?run=first")
    assert status == 200
    assert headers["content-disposition"] == "attachment; filename*=UTF-8''first.ipynb"
    assert body.decode() == as_notebook(lines)
    code = ["".join(c["source"]) for c in json.loads(body)["cells"] if c["cell_type"] == "code"]
    assert code == ["import graft", *(x.python for x in lines if x.python and x.step != "serve")]
    nbformat = pytest.importorskip("nbformat", reason="needs the package nbformat")
    nbformat.validate(nbformat.reads(body.decode(), as_version=4))
    script = app.ask("/use/lines/script?run=first")[2].decode()
    assert script == as_script(lines)
    assert [line for line in script.splitlines() if line.startswith("graft")] == [
        line.command for line in lines if line.command
    ]


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/api/use/export", {"to": "exe"}, "expected one of web, onnx"),
        ("/api/use/export", {"run": "no", "to": "onnx"}, "there is no finished run 'no'"),
        ("/api/use/serve", {"budget": "7%"}, "budget is one of 1%, 2%, 5%"),
        ("/api/use/serve", {"run": "first", "budget": "1%"}, "at most 1% wrong cannot be promised"),
        ("/api/use/lines?run=first&budget=2%25", None, "at most 2% wrong cannot be promised"),
        ("/use/export/onnx?run=first", None, "make it first"),
        ("/use/lines/exe?run=first", None, "expected one of notebook, script"),
    ],
)
def test_what_is_impossible_is_one_line(app, path, body, said):
    found = app.json(path, body, status=400)["error"]
    assert said in found
    assert "\n" not in found


@pytest.mark.slow
def test_an_export_is_made_as_the_command_makes_it_and_handed_over(app):
    started = app.json("/api/use/export", {"run": "first", "to": "openvino"})
    assert started["state"] == "running"
    again = app.json("/api/use/export", {"run": "first", "to": "torch"}, status=400)["error"]
    assert again == "another export is being made; wait until it is done"
    found = export_of(until(app, lambda found: not found["busy"]), "openvino")
    assert found["state"] == "done", found
    assert found["parity"]["labels_changed"] == 0
    status, headers, body = app.ask("/use/export/openvino?run=first")
    assert status == 200
    assert headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(body)) as packed:
        assert packed.testzip() is None
        names = {info.filename: info.file_size for info in packed.infolist()}
    assert names == {f"first-openvino/{name}": size for name, size in found["files"].items()}
    assert "first-openvino/model.xml" in names


@pytest.mark.slow
def test_the_server_is_started_answers_and_is_stopped(app, digits):
    image = sorted((digits / "2").iterdir())[0]
    app.json("/api/use/serve", {"run": "first"})
    address = until(app, lambda found: found["serving"]["state"] == "on")["serving"]["address"]
    line = next(
        x for x in graft.repeat_lines(app.runs / "first", image=str(image)) if x.step == "serve"
    )
    said = []
    exec(line.python.replace("http://127.0.0.1:8000", address), {"print": said.append})
    found = json.loads(said[0])
    expected = graft.load(app.runs / "first").predict(image)
    assert found["best_guess"] == expected.best_guess
    assert found["probability"] == pytest.approx(expected.probability, abs=1e-6)
    again = app.json("/api/use/serve", {"run": "first"}, status=400)["error"]
    assert again == "first is served already; stop it first"
    assert app.json("/api/use/stop-serving", {})["state"] == "off"
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{address}/healthz", timeout=10)


@pytest.mark.slow
@pytest.mark.parametrize("width", [1200, 400])
def test_a_browser_copies_the_lines(app, browser, width):
    lines = graft.repeat_lines(app.runs / "first", max_error="5%")
    with page_of(browser, app, "/use?run=first&from=0.4", width) as page:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.wait_for_selector("#more-exports li >> nth=4", state="attached")
        assert page.locator("#budget").input_value() == "own"
        page.select_option("#budget", "5%")
        page.wait_for_selector('[data-step="serve"] pre:has-text("--max-error")')
        shown = page.locator("#steps pre").all_inner_texts()
        assert shown == [line.command for line in lines if line.command]
        page.locator('[data-step="train"] button').focus()
        page.keyboard.press("Enter")
        page.wait_for_selector("text=Copied.")
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied == next(line.command for line in lines if line.step == "train")
        page.click("#python")
        page.wait_for_selector('[data-step="results"]')
        assert page.locator("#steps pre").all_inner_texts() == [x.python for x in lines if x.python]
        page.click("#copy-all")
        page.reload()
        page.wait_for_selector('[data-step="results"]')
        assert page.locator("#budget").input_value() == "5%", "a reload loses nothing"
        named = [
            each.get_attribute("aria-label") for each in page.locator("#others li button").all()
        ]
        assert named
        assert all(name.startswith("Make: ") for name in named)
