"""Opens step Try with Chromium's own moving picture as webcam: a process, as that is a flag of the
browser's start, and one process runs one browser at a time. Exit code 77: no browser.
"""

import json
import shutil
import sys

from playwright.sync_api import sync_playwright

found = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
if found is None:
    print("needs a browser: no Chromium is installed")
    sys.exit(77)
address, path = sys.argv[1:]
flags = ("no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync")
flags += ("disable-background-networking", "disable-component-update")
flags += ("use-fake-device-for-media-stream", "use-fake-ui-for-media-stream")
with sync_playwright() as started:
    browser = started.chromium.launch(executable_path=found, args=[f"--{f}" for f in flags])
    page = browser.new_page()
    page.set_default_timeout(120_000)
    page.goto(address)
    page.goto(address.partition("/?")[0] + path)
    page.wait_for_selector("body[data-ready]")
    page.evaluate(
        "window.heard = []; document.addEventListener('answer', (e) => heard.push(e.detail))"
    )
    page.click("#webcam")
    page.wait_for_selector("#live:not(:empty)")
    while page.evaluate("heard.length") < 3:
        page.wait_for_timeout(50)
    live = page.evaluate("heard")
    before = page.locator("#tried li").count()
    page.evaluate("window.track = video.srcObject.getTracks()[0]")
    page.click("#keep-frame")
    page.wait_for_selector("#picture-name:has-text('webcam.jpg')")
    told = {
        "live": [each["best_guess"] for each in live],
        "kept_before": before,
        "ended": page.evaluate("track.readyState") == "ended",
        "hidden": page.is_hidden("#camera"),
    }
    page.wait_for_selector(f"#tried li >> nth={before}")
    told["kept_after"] = page.locator("#tried li").count()
    print(json.dumps(told))
    browser.close()
