"""The page of `graft chat --serve`: real requests, a real browser."""

import http.client
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import graft as package
from graft.errors import ModelError

pytest.importorskip("starlette", reason="needs graft[serve]")
from graft.app.chat_page_routes import LONGEST, chat_application
from graft.app.local_server import LocalServer


def served(chat, ask):
    """A server of the page in a thread; to be ended by `stopped`."""
    server = LocalServer(chat_application(chat.subject, ask), 0)
    server.thread = threading.Thread(target=server.serve_until_stopped)
    server.thread.start()
    return server


def stopped(server):
    server.should_exit = True
    server.thread.join()


@pytest.fixture(scope="module")
def page(flower_run, two_images):
    chat = package.Chat(flower_run, two_images)
    server = served(chat, chat.ask)
    yield server
    stopped(server)


def request(page, method, path, body=None, **headers):
    """Status, headers and body of a request, with the cookie unless `headers` say else."""
    cookie = {"Cookie": f"{page.guard.cookie}={page.guard.token}"}
    connection = http.client.HTTPConnection("127.0.0.1", page.guard.port, timeout=60)
    connection.request(method, path, body, cookie | headers)
    reply = connection.getresponse()
    found = reply.status, dict(reply.getheaders()), reply.read().decode()
    connection.close()
    return found


def asked(page, text, **headers):
    named = {"Content-Type": "application/json"} | headers
    return request(page, "POST", "/api/ask", json.dumps({"text": text}), **named)


def test_the_page_shows_the_images_and_loads_nothing_from_elsewhere(page, two_images):
    status, headers, text = request(page, "GET", "/")
    assert status == 200
    assert headers["content-type"].startswith("text/html")
    for image in two_images:
        assert f"<bdi>{image.name}</bdi>" in text
    assert text.count("data:image/jpeg;base64") == 2
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", text)
    nonce = re.search(r"script-src 'nonce-([\w-]+)'", headers["content-security-policy"])[1]
    assert f'<script nonce="{nonce}">' in text
    assert nonce not in request(page, "GET", "/")[2]


def test_an_answer_comes_with_evidence_and_images(page):
    status, _, text = asked(page, "Why?")
    found = json.loads(text)
    assert status == 200
    assert found["intent"] == "why"
    assert found["images"][0]["source"].startswith("data:image/png;base64,")
    rows = dict(found["rows"])
    assert float(rows["probability"]) == pytest.approx(found["evidence"]["probability"], abs=1e-5)


def test_only_its_own_address_is_answered(page):
    port = page.guard.port
    assert asked(page, "hi", Host="evil.example")[0] == 403
    assert asked(page, "hi", Host=f"evil.example:{port}")[0] == 403
    assert asked(page, "hi", Origin="http://evil.example")[0] == 403
    assert asked(page, "hi", Origin="null")[0] == 403
    assert asked(page, "hi", Cookie="")[0] == 403
    assert request(page, "GET", "/", Cookie="")[0] == 403
    assert asked(page, "hi", Origin=f"http://127.0.0.1:{port}")[0] == 200
    assert asked(page, "hi", Host=f"localhost:{port}")[0] == 200
    for path in ("/ask", "/wrong/", "/../etc/passwd", "/api/project"):
        assert request(page, "GET", path)[0] == 404
    assert page.socket.getsockname()[0] == "127.0.0.1"


def test_what_is_no_question_is_refused(page):
    kind = {"Content-Type": "application/json"}
    for body in ("", "no json", "[]", '{"text": 3}', "{}"):
        assert request(page, "POST", "/api/ask", body, **kind)[0] == 400
    sent = request(page, "POST", "/api/ask", '{"text": "hi"}')
    assert sent[0] == 400, "a form cannot send JSON"
    status, _, text = asked(page, "a" * (LONGEST + 1))
    assert status == 400
    assert "too long" in json.loads(text)["error"]


def test_a_language_model_that_fails_is_told_on_the_page(flower_run):
    def fails(text):
        raise ModelError("nobody is there")

    server = served(package.Chat(flower_run), fails)
    try:
        status, _, text = asked(server, "hi")
    finally:
        stopped(server)
    assert status == 502
    assert json.loads(text) == {"error": "nobody is there"}


def test_a_port_in_use_is_one_clear_line(page, flower_run, graft_here):
    port = page.guard.port
    ended = graft_here("chat", flower_run, "--serve", "--port", port)
    assert ended.code == 2
    assert f"127.0.0.1 port {port} cannot be used" in ended.err


def test_the_command_prints_the_address_and_serves_until_it_is_stopped(flower_run):
    command = [Path(sys.executable).parent / "graft", "chat", flower_run, "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        try:
            address = process.stdout.readline().split()[0]
            port, token = re.fullmatch(
                r"http://127\.0\.0\.1:(\d+)/\?token=([\w-]+)", address
            ).groups()
            connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=60)
            connection.request("GET", "/", headers={"Cookie": f"graft-{port}={token}"})
            assert connection.getresponse().status == 200
            connection.close()
        finally:
            process.terminate()
        assert process.wait(30) == 0


@pytest.mark.slow
def test_a_browser_asks_and_shows_answers_wide_and_narrow(page):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as engines:
        browser = engines.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=["--no-sandbox"]
        )
        for width in (1200, 400):
            view = browser.new_page(viewport={"width": width, "height": 900})
            problems = []
            view.on("console", lambda said, kept=problems: kept.append(said.text))
            view.on("pageerror", lambda error, kept=problems: kept.append(str(error)))
            view.goto(page.address)
            view.wait_for_function("document.activeElement.name === 'text'")
            view.keyboard.type("where did you look?")
            view.keyboard.press("Enter")
            view.wait_for_selector(".reply .shown img")
            assert view.locator(".reply th", has_text="after covering").count() >= 1
            view.click("text=What do you confuse?")
            view.wait_for_selector(".reply >> text=metrics.json")
            view.fill("input", "<img src=x onerror=alert(1)>")
            view.press("input", "Enter")
            view.wait_for_selector(".reply.unknown")
            assert view.locator(".question img").count() == 0
            assert view.evaluate("document.documentElement.scrollWidth") <= width
            assert problems == []
        browser.close()
