"""`python fake_camera.py SCRIPT ARGUMENT…`: a page in Chromium whose webcam is the browser's own
moving picture, given to the function `drive(page, *arguments)` of a script; what that returns is
printed as JSON. A process, as the camera is a flag of the browser's start and one process runs one
browser at a time. Exit code 77: no browser.
"""

import json
import runpy
import shutil
import sys

from playwright.sync_api import sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync")
FLAGS += ("disable-background-networking", "disable-component-update")
FLAGS += ("use-fake-device-for-media-stream", "use-fake-ui-for-media-stream")
PATIENCE = 240_000  # ms: the machine may have other work


def main(script, *arguments):
    browser_file = next(filter(None, map(shutil.which, NAMES)), None)
    if browser_file is None:
        print("needs a browser: no Chromium is installed")
        sys.exit(77)
    drive = runpy.run_path(script)["drive"]
    with sync_playwright() as started:
        flags = [f"--{flag}" for flag in FLAGS]
        browser = started.chromium.launch(executable_path=browser_file, args=flags)
        page = browser.new_page()
        page.set_default_timeout(PATIENCE)
        print(json.dumps(drive(page, *arguments)))
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
