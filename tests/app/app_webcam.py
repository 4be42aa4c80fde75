"""Records Chromium's own moving picture into a class of the app at an address: a process, as that
is a flag of the browser's start. Exit code 77: no browser.
"""

import json
import re
import shutil
import sys

from playwright.sync_api import sync_playwright

found = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
if found is None:
    print("needs a browser: no Chromium is installed")
    sys.exit(77)
flags = ("no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync")
flags += ("disable-background-networking", "disable-component-update")
flags += ("use-fake-device-for-media-stream", "use-fake-ui-for-media-stream")
with sync_playwright() as started:
    browser = started.chromium.launch(executable_path=found, args=[f"--{f}" for f in flags])
    page = browser.new_page()
    page.goto(sys.argv[1])
    page.locator(".class-name").nth(1).wait_for()  # the page is at work
    page.fill("#new", "robot")
    page.press("#new", "Enter")
    page.locator("#shown", has_text="robot").wait_for()
    page.click("#webcam")
    page.locator("#camera").wait_for()
    track = page.evaluate_handle("document.getElementById('video').srcObject.getTracks()[0]")
    page.wait_for_function("document.getElementById('video').videoWidth > 0")
    page.focus("#record")
    page.keyboard.down(" ")
    page.locator("#recorded", has_text=re.compile("^[3-9]")).wait_for()
    page.keyboard.up(" ")
    page.wait_for_timeout(1000)
    said = int(page.inner_text("#recorded").split()[0])
    kept = page.locator('[data-class="robot"] .class-count')
    kept.filter(has_text=str(said)).wait_for()
    page.click("#camera-close")
    ended = track.evaluate("track => track.readyState") == "ended"
    if len(sys.argv) > 2:
        page.screenshot(path=sys.argv[2])
    told = {"said": said, "kept": int(kept.inner_text().split()[0]), "stopped": ended}
    print(json.dumps(told))
    browser.close()
