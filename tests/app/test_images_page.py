"""Step 1 of `graft app` in a real Chromium."""

import base64
import io
import subprocess
import zipfile
from pathlib import Path

import pytest
from app_client import GRAFT, contents, copied, served

api = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")

DROP = """([selector, files]) => {
  const data = new DataTransfer();
  for (const [name, text] of files) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    data.items.add(new File([bytes], name, { type: "image/png" }));
  }
  const event = new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
  document.querySelector(selector).dispatchEvent(event);
}"""
UNNAMED = """() => [...document.querySelectorAll("button, input, select, a, video, progress, img")]
  .filter((e) => e.checkVisibility() && !e.matches("[hidden]"))
  .filter((e) => !(e.ariaLabel || e.innerText || e.alt || e.labels?.length || e.title))
  .map((e) => e.outerHTML)"""


@pytest.fixture(scope="module")
def app(rendered, tmp_path_factory):
    """A folder of 3 classes with 8 images each, and the address of its app."""
    folder = copied(rendered, tmp_path_factory.mktemp("pages") / "photos", 8)
    before = contents(folder)
    with served(folder) as address:
        yield folder, address
    assert contents(folder) == before, "the user's own files were changed"


@pytest.fixture
def page(browser, app):
    """Step 1, and `asked`: the addresses of all requests. What was done is undone afterwards."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    opened = context.new_page()
    opened.errors, opened.asked = [], []
    opened.on("pageerror", lambda error: opened.errors.append(str(error)))
    opened.on(
        "console",
        lambda said: (
            said.type == "error" and opened.errors.append(f"{said.text} {said.location.get('url')}")
        ),
    )
    opened.on("request", lambda request: opened.asked.append(request.url))
    opened.goto(app[1])
    opened.locator(".class-name", has_text="vase").wait_for()
    yield opened
    # An image that is taken back may just have been asked for.
    errors = [said for said in opened.errors if not ("404" in said and "/thumbnail/" in said)]
    while opened.evaluate(
        """async () => (await (await fetch("/api/images/undo", { method: "POST", body: "{}",
        headers: { "content-type": "application/json" } })).json()).undone"""
    ):
        pass
    context.close()
    assert not errors


def counts(page, **expected):
    """The classes have this many images, on the page."""
    for name, count in expected.items():
        said = "1 image" if count == 1 else f"{count} images"
        row = page.locator(f'#classes [data-class="{name}"] .class-count')
        api.expect(row).to_have_text(said)


def choose(page, name):
    page.click(f'#classes [data-class="{name}"]')
    page.locator("#grid .cell img").first.wait_for()


def as_text(file):
    return base64.b64encode(file.read_bytes()).decode()


def test_files_are_chosen_into_a_class_and_taken_back(page, app, rendered):
    page.fill("#new", "jug")
    page.press("#new", "Enter")
    api.expect(page.locator("#shown")).to_have_text("jug")
    files = sorted((rendered / "teapot").iterdir())[:3]
    page.set_input_files("#files", files)
    counts(page, jug=3, vase=8)
    assert page.locator("#grid .cell").count() == 3
    api.expect(page.locator("#grid .cell.fresh")).to_have_count(3)  # what is new is marked
    page.click("#undo")
    counts(page, jug=0)
    api.expect(page.locator(".toast")).to_contain_text("3 images were added to “jug”")
    page.click("#delete-class")  # without images nothing is asked
    api.expect(page.locator('[data-class="jug"]')).to_have_count(0)
    page.keyboard.press("z")
    counts(page, jug=0)
    page.keyboard.press("z")
    api.expect(page.locator('[data-class="jug"]')).to_have_count(0)


def test_only_the_last_message_offers_to_undo_and_none_once_it_is_undone(page):
    choose(page, "bowl")
    for left in (7, 6):
        page.locator("#grid .cell").first.click()
        page.keyboard.press("Delete")
        counts(page, bowl=left)
    api.expect(page.locator(".toast[data-undo]")).to_have_count(1)
    page.keyboard.press("z")
    counts(page, bowl=7)
    api.expect(page.locator(".toast[data-undo]")).to_have_count(0)


def drop(page, place, files):
    page.evaluate(DROP, [place, [[file.name, as_text(file)] for file in files]])


def test_an_image_that_is_there_already_is_said_to_be_and_offers_no_undo(page, app, rendered):
    new = sorted((rendered / "teapot").iterdir())[:4]
    drop(page, '[data-class="mug"]', new[:3])
    counts(page, mug=11)
    drop(page, '[data-class="mug"]', new[:1])
    said = page.locator(".toast", has_text=f"1 image was there already: {new[0].name}.")
    api.expect(said).to_be_visible()
    api.expect(said).not_to_contain_text("added")
    api.expect(said.get_by_role("button", name="Undo")).to_have_count(0)
    drop(page, '[data-class="mug"]', [new[3], new[1]])
    both = page.locator(
        ".toast", has_text=f"1 image added. 1 image was there already: {new[1].name}."
    )
    both.get_by_role("button", name="Undo").click()
    counts(page, mug=11)


def test_an_image_of_another_class_stays_there_unless_it_is_moved(page, app):
    own = sorted((app[0] / "bowl").iterdir())[0]
    drop(page, '[data-class="mug"]', [own])
    said = page.locator(".toast", has_text=f"another class has it: {own.name} is in “bowl”")
    api.expect(said).to_be_visible()
    counts(page, bowl=8, mug=8)
    said.get_by_role("button", name="Move to “mug”").click()
    counts(page, bowl=7, mug=9)


def test_the_undo_of_a_message_goes_when_something_newer_is_done(page, rendered):
    api.expect(page.locator("#undo")).to_be_disabled()
    drop(page, '[data-class="mug"]', sorted((rendered / "teapot").iterdir())[:3])
    counts(page, mug=11)
    api.expect(page.locator(".toast[data-undo]")).to_have_count(1)
    page.fill("#new", "jug")
    page.press("#new", "Enter")
    counts(page, jug=0)
    api.expect(page.locator(".toast[data-undo]")).to_have_count(0)
    page.click("#undo")
    api.expect(page.locator(".toast", has_text="the class “jug” was made")).to_be_visible()
    counts(page, mug=11)


def test_messages_are_two_at_most_and_not_over_a_dialog(page):
    choose(page, "bowl")
    page.locator("#grid .cell").first.dblclick()
    for left in (7, 6, 5):
        shown = page.get_attribute("#view-image", "src")
        page.keyboard.press("Delete")
        counts(page, bowl=left)
        api.expect(page.locator("#view-image")).not_to_have_attribute("src", shown)
    message = page.locator("#view .toast")
    message.get_by_role("button", name="Undo").click()
    counts(page, bowl=6)
    assert page.locator(".toast").count() <= 2
    page.keyboard.press("Escape")
    api.expect(page.locator("body > #toasts")).to_have_count(1)
    page.mouse.move(0, 0)
    api.expect(page.locator(".toast")).to_have_count(0, timeout=9000)


def test_images_stay_where_they_are_when_one_is_selected(page):
    choose(page, "bowl")
    assert "bowl" not in page.locator("#move option").all_inner_texts()
    for width in (1200, 400):
        page.set_viewport_size({"width": width, "height": 800})
        before = page.locator("#grid").bounding_box()["y"]
        page.locator("#grid .cell").first.click()
        api.expect(page.locator("#selection-tools")).to_be_visible()
        assert page.locator("#grid").bounding_box()["y"] == before
        page.click("#select-none")


def test_the_large_image_goes_on_by_keys_and_deletes(page):
    choose(page, "bowl")
    page.locator("#grid .cell").first.dblclick()
    api.expect(page.locator("#view-before")).to_be_disabled()
    first = page.get_attribute("#view-image", "src")
    page.keyboard.press("ArrowRight")
    api.expect(page.locator("#view-before")).to_be_enabled()
    assert page.get_attribute("#view-image", "src") != first
    page.keyboard.press("ArrowLeft")
    api.expect(page.locator("#view-image")).to_have_attribute("src", first)
    page.keyboard.press("Delete")
    counts(page, bowl=7)
    api.expect(page.locator("#view-image")).not_to_have_attribute("src", first)
    page.keyboard.press("Escape")


def test_a_class_that_differs_in_case_alone_is_refused(page):
    page.fill("#new", "Bowl")
    page.press("#new", "Enter")
    api.expect(page.locator(".toast.error")).to_contain_text("there is a class 'bowl' already")
    page.fill("#new", "")
    page.press("#new", "Enter")
    api.expect(page.locator(".toast.error").last).to_contain_text("Type a name")
    page.errors.clear()  # the browser says that it was refused


def test_an_archive_is_dropped_and_its_folders_become_classes(page, rendered):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for file in sorted((rendered / "bottle").iterdir())[:3]:
            archive.write(file, f"mine/bottle/{file.name}")
        archive.writestr("mine/bottle/broken.png", b"no image")
    page.evaluate(DROP, ["body", [["mine.zip", base64.b64encode(packed.getvalue()).decode()]]])
    counts(page, bottle=3)
    api.expect(page.locator(".toast.error")).to_contain_text("mine/bottle/broken.png")
    page.click("#undo")
    api.expect(page.locator('[data-class="bottle"]')).to_have_count(0)


def test_selected_images_are_moved_and_deleted_and_z_undoes_it(page):
    choose(page, "bowl")
    page.locator("#grid .cell").nth(0).click()
    page.locator("#grid .cell").nth(2).click(modifiers=["Shift"])
    api.expect(page.locator("#selected")).to_have_text("3 selected")
    page.select_option("#move", "mug")
    counts(page, bowl=5, mug=11)
    page.locator("#grid .cell").nth(0).click()
    page.keyboard.press("Delete")
    counts(page, bowl=4)
    page.keyboard.press("z")
    counts(page, bowl=5)
    page.keyboard.press("z")
    counts(page, bowl=8, mug=8)


def test_a_class_is_renamed_and_deleted(page):
    choose(page, "vase")
    page.click("#rename")
    page.fill("#ask-name", "Vase mit Größe")
    page.press("#ask-name", "Enter")
    counts(page, **{"Vase mit Größe": 8})
    api.expect(page.locator("#shown")).to_have_text("Vase mit Größe")
    page.click("#delete-class")
    page.click("#ask-yes")
    api.expect(page.locator(".class-name", has_text="Vase")).to_have_count(0)
    page.click("#undo")
    counts(page, **{"Vase mit Größe": 8})


def test_files_are_dropped_on_a_class_and_what_is_no_image_is_named(page, rendered):
    files = sorted((rendered / "teapot").iterdir())[3:5]
    dropped = [[f"{i}.png", as_text(file)] for i, file in enumerate(files)]
    dropped.append(["notes.png", base64.b64encode(b"no image").decode()])
    page.evaluate(DROP, ['[data-class="mug"]', dropped])
    counts(page, mug=10)
    api.expect(page.locator(".toast.error")).to_contain_text("notes.png")
    page.errors.clear()  # the browser, too, says that this one was refused
    page.evaluate(DROP, ["body", dropped[:1]])
    api.expect(page.locator(".toast.error", has_text="Choose a class first")).to_be_visible()


def test_all_is_done_by_the_keyboard(page):
    page.focus('[data-class="mug"]')
    page.keyboard.press("Enter")
    page.focus("#grid")
    page.locator("#grid .cell img").first.wait_for()
    for key in ("ArrowRight", "Space", "ArrowRight", "Space"):
        page.keyboard.press(key)
    api.expect(page.locator("#selected")).to_have_text("2 selected")
    active = page.get_attribute("#grid", "aria-activedescendant")
    cell = page.locator(f"#{active}")
    assert cell.get_attribute("aria-posinset") == "3"
    assert cell.get_attribute("aria-setsize") == "8"
    assert cell.get_attribute("aria-selected") == "true"
    assert cell.locator("img").get_attribute("alt") == "mug, image 3 of 8"
    page.keyboard.press("Enter")
    api.expect(page.locator("#view-image")).to_be_visible()
    page.keyboard.press("Escape")
    page.focus("#grid")
    page.keyboard.press("Backspace")
    counts(page, mug=6)


@pytest.mark.parametrize("step", ["images", "train"])
def test_each_page_fits_and_everything_on_it_has_a_name(page, app, step):
    page.goto(app[1].partition("?")[0] + step)
    page.locator("#lead", has_text="24 images in 3 classes").wait_for()
    if step == "images":
        choose(page, "bowl")
        page.locator("#grid .cell").first.click()
    else:
        page.click("summary")
    for width in (1200, 400):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate(UNNAMED) == []
    assert page.locator("h1:visible").count() == 1
    assert page.locator("nav [aria-current=page]").inner_text().lower() == step


def test_what_one_tab_changes_the_others_show(page, app):
    other = page.context.new_page()
    other.goto(app[1].partition("?")[0] + "images")
    counts(other, bowl=8)
    choose(page, "bowl")
    page.locator("#grid .cell").first.click()
    page.select_option("#move", "mug")
    counts(page, bowl=7)
    other.bring_to_front()
    counts(other, bowl=7, mug=9)
    other.close()


def test_no_request_leaves_the_machine_and_none_can(page, app):
    base = app[1].partition("?")[0]
    choose(page, "mug")
    page.goto(base + "train")
    page.locator("#model option").first.wait_for(state="attached")
    assert [url for url in page.asked if not url.startswith((base, "data:", "blob:"))] == []
    page.errors.clear()
    tries = """async () => {
      const image = new Image();
      image.src = "http://127.0.0.1:9/image";
      try { await fetch("http://127.0.0.1:9/", { mode: "no-cors" }); return "sent"; }
      catch { return document.createElement("script").nonce === "" ? "refused" : ""; }
    }"""
    assert page.evaluate(tries) == "refused"
    assert all("Content Security Policy" in said for said in page.errors)
    page.errors.clear()


@pytest.mark.slow
def test_a_folder_is_chosen_on_the_page_and_a_second_user_gets_a_clear_word(
    browser, rendered, tmp_path
):
    folder = copied(rendered, tmp_path / "mine" / "photos", 2)
    with served() as address:
        page = browser.new_page()
        page.goto(address)
        api.expect(page.locator("#path")).not_to_have_value("")  # the page is at work
        page.fill("#path", str(tmp_path / "mine"))
        page.press("#path", "Enter")
        page.click("#folders button")
        api.expect(page.locator("#path")).to_have_value(str(folder))
        page.click("#use")
        counts(page, bowl=2, vase=2)
        ended = subprocess.run(
            [GRAFT, "app", folder, "--no-browser", "--port", "0"], capture_output=True, text=True
        )
        assert ended.returncode == 2
        assert ended.stderr.count("\n") == 1
        assert f"{folder} is open in another graft app ({address.partition('?')[0]} by" in (
            ended.stderr
        )
        assert f"use that at {address}, or end it" in ended.stderr, "the same user gets the key"
        key = folder.with_name("photos-graft") / ".graft-address"
        assert key.stat().st_mode & 0o077 == 0, "no other user does"
        page.close()


@pytest.mark.slow
def test_a_page_goes_on_when_the_app_is_started_again(browser, rendered, tmp_path):
    folder = copied(rendered, tmp_path / "photos", 2)
    context = browser.new_context()
    page = context.new_page()
    with served(folder) as address:
        page.goto(address)
        choose(page, "bowl")
        page.locator("#grid .cell").first.click()
        page.select_option("#move", "mug")
        counts(page, bowl=1, mug=3)
        port = address.partition("/?")[0].rpartition(":")[2]
    page.locator(".toast.error", has_text="does not answer").wait_for()
    with served(folder, "--port", port) as again:
        assert again == address, "the key is the project's"
        api.expect(page.locator(".toast.error")).to_have_count(0)
        page.keyboard.press("z")
        counts(page, bowl=2, mug=2)
    context.close()


@pytest.mark.slow
def test_the_webcam_is_recorded_into_a_class_while_the_button_is_held(app, fake_camera):
    told = fake_camera(Path(__file__).with_name("app_webcam.py"), app[1])
    assert told["stopped"]
    assert told["kept"] == told["said"] >= 3
    kept = list((app[0].with_name("photos-graft") / "added" / "robot").iterdir())
    assert len(kept) == told["kept"]
