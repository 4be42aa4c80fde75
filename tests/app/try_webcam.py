"""Opens step Try with the webcam, then looks at one frame closely; see tests/fake_camera.py."""


def drive(page, address, path):
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
    return told | {"kept_after": page.locator("#tried li").count()}
