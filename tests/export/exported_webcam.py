"""Opens an exported page with the webcam, until it is stopped; see tests/fake_camera.py."""


def drive(page, address):
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    page.evaluate("window.seen = 0; camera.addEventListener('answer', () => seen++)")
    page.click("#webcam")
    page.wait_for_selector("#camera .label")
    while page.evaluate("seen") < 3:
        page.wait_for_timeout(20)
    page.evaluate("window.track = video.srcObject.getTracks()[0]")
    page.click("#webcam")
    while page.evaluate("track.readyState") != "ended":
        page.wait_for_timeout(20)
    return {"answers": 3, "stopped": True, "hidden": page.is_hidden("#camera")}
