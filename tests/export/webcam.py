"""Opens the page with Chromium's own moving picture as webcam: a process, as that is a flag of the
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
flags = ("no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync")
flags += ("disable-background-networking", "disable-component-update")
flags += ("use-fake-device-for-media-stream", "use-fake-ui-for-media-stream")
with sync_playwright() as started:
    browser = started.chromium.launch(executable_path=found, args=[f"--{f}" for f in flags])
    page = browser.new_page()
    page.goto(sys.argv[1])
    page.wait_for_selector("body[data-ready]", timeout=60_000)
    page.evaluate("window.seen = 0; camera.addEventListener('answer', () => seen++)")
    page.click("#webcam")
    page.wait_for_selector("#camera .label", timeout=30_000)
    while page.evaluate("seen") < 3:
        page.wait_for_timeout(20)
    page.evaluate("window.track = video.srcObject.getTracks()[0]")
    page.click("#webcam")
    page.wait_for_timeout(300)
    ended = page.evaluate("track.readyState") == "ended"
    told = {"answers": 3, "stopped": ended, "hidden": page.is_hidden("#camera")}
    print(json.dumps(told))
    browser.close()
