"""Step 2 in a real browser, as `graft review` opens it: keys, undo, the grid, the blind pass."""

import contextlib
import hashlib
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from app_client import Client, contents, copied

from graft.data.dataset import Example
from graft.data.split import expected_split
from graft.quality.corrections import read_journal

GRAFT = str(Path(sys.executable).parent / "graft")
CLASSES = ("bowl", "mug", "vase")


@contextlib.contextmanager
def reviewed(*arguments):
    """`graft review ARGUMENTS` as a process; gives the address that it printed."""
    command = [GRAFT, "review", *map(str, arguments), "--no-browser", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield line.split()[0]
    finally:
        process.terminate()
        _, err = process.communicate(timeout=60)
        assert "Traceback" not in err, err


def digest(file):
    return file_digest(file).hex()


def split_of(file):
    return expected_split(42, Example("", file, ""), file_digest(file))


def file_digest(file):
    return hashlib.sha256(file.read_bytes()).digest()


def shows(page, digest):
    """Waits until the image in view is this one. The page's security policy forbids Playwright's
    own waiting in the page.
    """
    wait_for(lambda: (page.get_attribute("#image", "src") or "").endswith(digest))


def wait_for(condition, seconds=240):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.2)
    raise AssertionError("it did not come")


@pytest.fixture(scope="module")
def planted(rendered, tmp_path_factory):
    """Three classes of 30 images, 8 of which lie in the folder of another; their true classes."""
    folder = copied(rendered, tmp_path_factory.mktemp("review") / "photos", 30, CLASSES)
    truth = {digest(file): file.parent.name for file in folder.rglob("*.*")}
    wrong = {}
    for name, other in zip(CLASSES, (*CLASSES[1:], CLASSES[0]), strict=True):
        files = sorted((folder / name).iterdir())
        tested = [file for file in files if split_of(file) == "test"]
        for file in [*tested[:1], *(file for file in files if file not in tested)][:3]:
            wrong[digest(file)] = name
            file.rename(folder / other / f"{name}-{file.name}")
    return folder, truth, wrong


@pytest.fixture
def open_page(browser, planted, tmp_path):
    """open_page(width): a review of the planted images in a project of its own, once it is ready;
    gives the page, a client and the folder of the project.
    """
    folder = tmp_path / "photos"
    shutil.copytree(planted[0], folder)
    before = contents(folder)
    with contextlib.ExitStack() as stack:

        def opened(width=1200):
            address = stack.enter_context(reviewed(folder))
            context = browser.new_context(viewport={"width": width, "height": 900})
            stack.callback(context.close)
            page = context.new_page()
            page.problems, page.asked = [], []
            page.on("pageerror", lambda error: page.problems.append(str(error)))
            page.on("console", lambda m: m.type == "error" and page.problems.append(m.text))
            page.on("request", lambda request: page.asked.append(request.url))
            page.goto(address)
            page.wait_for_selector("#work:not([hidden])", timeout=240_000)
            client = Client(address)
            yield_to.extend([page, client])
            return page, client, folder.parent / "photos-graft"

        yield_to = []
        yield opened
        page, client = yield_to
        assert page.problems == []
        assert {url.split("/")[2] for url in page.asked if "://" in url} == {
            f"127.0.0.1:{client.port}"
        }
    assert contents(folder) == before, "the user's files are never changed"


def standing(home):
    return read_journal(home / "decisions.csv").standing


@pytest.mark.slow
def test_keys_decide_undo_takes_back_and_a_reload_loses_nothing(open_page, planted):
    page, client, home = open_page()
    _, truth, wrong = planted
    said = page.text_content("#said")
    assert "looks like" in said
    state = client.json("/api/check/state")
    first, second, third = (one["sha256"] for one in state["suspects"][:3])
    assert first in wrong
    assert state["suspects"][0]["suggested"] == truth[first]
    assert page.locator("#beside img").count() == 4
    page.keyboard.press("r")
    shows(page, second)
    page.keyboard.press("k")
    page.keyboard.press("x")
    found = wait_for(lambda: len(standing(home)) == 3 and standing(home))
    assert [(one.decision, one.sha256) for one in found] == [
        ("relabel", first),
        ("keep", second),
        ("keep_out", third),
    ]
    assert found[0].new == truth[first]
    page.keyboard.press("z")
    wait_for(lambda: len(standing(home)) == 2)
    shows(page, third)
    page.keyboard.press("s")
    wait_for(lambda: not page.get_attribute("#image", "src").endswith(third))
    page.keyboard.press("z")  # takes back the skip, and no decision
    shows(page, third)
    assert len(standing(home)) == 2
    page.keyboard.press("s")
    left = page.text_content("#lead")
    now = page.get_attribute("#image", "src")
    page.reload()
    page.wait_for_selector("#one:not([hidden])")
    assert page.text_content("#lead") == left
    assert page.get_attribute("#image", "src") == now
    number = client.json("/api/check/state")["classes"].index("vase") + 1
    shown = now.rpartition("/")[2]
    page.keyboard.press(str(number))
    last = wait_for(lambda: len(standing(home)) == 3 and standing(home)[-1])
    assert (last.sha256, last.new) == (shown, "vase")


@pytest.mark.slow
def test_a_group_is_confirmed_at_once_and_taken_back_at_once(open_page):
    page, client, home = open_page()
    page.click("[data-way=many]")
    cells = page.locator("#grid button")
    count = cells.count()
    likely = page.locator("#grid button[aria-pressed=true]").count()
    assert count >= likely > 1
    cells.first.click()
    spared = cells.first.get_attribute("data-sha256")
    label, suggested = (
        client.json("/api/check/state")["suspects"][0][k] for k in ("label", "suggested")
    )
    assert page.text_content("#confirm").startswith(str(likely - 1))
    page.locator("#main").focus()
    page.keyboard.press("Enter")
    found = wait_for(lambda: len(standing(home)) == count and standing(home))
    assert {one.sha256: one.new for one in found}[spared] == label
    assert sum(one.new == suggested for one in found) == likely - 1
    page.keyboard.press("z")
    wait_for(lambda: not standing(home))


@pytest.mark.slow
def test_test_images_are_looked_at_without_what_the_model_says(open_page, planted):
    page, client, _ = open_page(400)
    _, _, wrong = planted
    state = client.json("/api/check/state")
    assert {frozenset(one) for one in state["blind"]} == {frozenset({"sha256", "label"})}
    blind = {one["sha256"] for one in state["blind"]}
    assert not blind & {one["sha256"] for one in state["suspects"]}
    doubted = blind & set(wrong)
    assert len(blind) >= 2 * len(doubted) > 0
    page.click("[data-way=blind]")
    assert "looks like" not in page.text_content("#one")
    assert page.locator("#beside img:visible").count() == 0
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 400
    while page.locator("#one:not([hidden])").count():
        shown = page.get_attribute("#image", "src").rpartition("/")[2]
        page.keyboard.press("r")  # nothing is suggested, so nothing happens
        if shown in wrong:
            name = wrong[shown]
            page.keyboard.press(str(state["classes"].index(name) + 1))
        else:
            page.keyboard.press("k")
        wait_for(
            lambda old=shown: (
                page.is_hidden("#one") or not page.get_attribute("#image", "src").endswith(old)
            )
        )
    page.click("#measure")
    wait_for(lambda: "After" in page.text_content("#accuracy"))
    effect = client.json("/api/check/state")["effect"]
    assert effect["of"] == len(blind)
    assert effect["tested"] == len(doubted)
    assert effect["from_training"] == 0
    assert effect["undoubted"] > 0
    assert effect["accuracy"] - effect["before"] == pytest.approx(effect["from_test"])
    assert "So few say little" in page.text_content("#accuracy-hidden")
    test = client.json("/api/check/state")["test"]
    assert (test["decided"], test["doubted"] + test["random"]) == (len(blind), len(blind))
