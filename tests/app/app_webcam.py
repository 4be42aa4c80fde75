"""Records the webcam into a class of the app at an address; see tests/fake_camera.py."""


def drive(page, address, screenshot=None):
    page.goto(address)
    page.locator(".class-name").nth(1).wait_for()  # the page is at work
    page.fill("#new", "robot")
    page.press("#new", "Enter")
    page.locator("#shown", has_text="robot").wait_for()
    page.click("#webcam")
    page.locator("#camera").wait_for()
    track = page.evaluate_handle("document.getElementById('video').srcObject.getTracks()[0]")
    while not page.evaluate("document.getElementById('video').videoWidth > 0"):
        page.wait_for_timeout(50)  # the page's policy forbids Playwright's own waiting in the page
    page.focus("#record")
    page.keyboard.down(" ")
    page.locator("#last-frames img").nth(2).wait_for()
    page.keyboard.up(" ")
    page.locator("#camera:not([aria-busy])").wait_for()  # the last frame is kept, too
    said = int(page.inner_text("#recorded").split()[0])
    kept = int(page.inner_text('[data-class="robot"] .class-count').split()[0])
    if screenshot:
        page.screenshot(path=screenshot)
    page.click("#camera-close")
    ended = track.evaluate("track => track.readyState") == "ended"
    return {"said": said, "kept": kept, "stopped": ended}
