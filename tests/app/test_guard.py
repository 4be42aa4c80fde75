import re

import pytest
from app_client import Client, contents, served

PAGES = ["/images", "/check", "/train", "/results", "/try", "/use"]


@pytest.fixture(scope="module")
def app(rendered, tmp_path_factory):
    from app_client import copied

    folder = copied(rendered, tmp_path_factory.mktemp("guarded") / "photos", 5)
    with served(folder) as address:
        client = Client(address)
        client.wait_until_read()
        client.address, client.folder = address, folder
        yield client


def test_the_address_with_its_token_lets_a_browser_in_once(app):
    status, headers, _ = app.ask("/" + app.address.partition("/?")[2].join(["?", ""]), cookie=None)
    assert status == 303
    assert headers["location"] == "/"
    assert re.search(r"HttpOnly; Path=/; SameSite=strict", headers["set-cookie"])


@pytest.mark.parametrize(
    "headers",
    [
        {"cookie": None},
        {"cookie": "graft-1=x"},
        {"host": "evil.example"},
        {"host": "127.0.0.1"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
    ],
)
def test_whoever_else_asks_is_refused(app, headers):
    before = app.json("/api/images/classes")
    body = {"name": "evil"}
    for path, sent in (("/api/images/classes", None), ("/api/images/new-class", body)):
        status, _, text = app.ask(path, sent, **headers)
        assert status == 403
        assert b'"error"' in text
    assert app.ask("/images", **headers)[0] == 403
    assert app.json("/api/images/classes") == before


def test_a_page_without_the_key_says_what_to_do(app):
    status, headers, body = app.ask("/images", cookie=None)
    assert (status, headers["content-type"]) == (403, "text/html; charset=utf-8")
    assert b"Give the same command once more" in body


def test_a_wrong_token_is_no_way_in(app):
    status, headers, _ = app.ask("/?token=x", cookie=None)
    assert (status, headers["set-cookie"]) == (403, None)


def test_the_way_in_leads_to_no_other_host(app):
    token = app.address.partition("token=")[2]
    _, headers, _ = app.ask(f"//evil.example/?token={token}", cookie=None)
    assert headers["location"] == "/evil.example/"


@pytest.mark.parametrize("path", [*PAGES, "/static/shell.css", "/api/project", "/nowhere"])
def test_every_answer_brings_the_policy(app, path):
    headers = app.ask(path)[1]
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", PAGES)
def test_no_page_holds_script_or_style_of_its_own(app, path):
    text = app.ask(path)[2].decode()
    assert re.findall(r"<script(?![^>]* (?:src=|type=\"application/json\"))", text) == []
    assert " style=" not in text
    assert re.search(r" on\w+=", text) is None
    assert "http://" not in text
    assert "https://" not in text


def test_templates_and_files_elsewhere_are_not_given_away(app):
    for path in ("/static/shell.html", "/static/../application.py", "/static/%2e%2e/__init__.py"):
        assert app.ask(path)[0] == 404


def test_a_post_that_is_no_json_is_refused(app):
    for sent in ("text/plain", "application/x-www-form-urlencoded"):
        headers = {"content-type": sent}
        assert app.ask("/api/images/undo", b"{}", **headers)[0] == 400
    assert app.ask("/api/images/undo", b"[]")[0] == 400


def test_thumbnails_are_made_once_and_are_small(app):
    first = app.json("/api/images/list")["images"][0]["sha256"]
    status, headers, data = app.ask(f"/thumbnail/{first}")
    assert (status, headers["content-type"]) == (200, "image/jpeg")
    assert "immutable" in headers["cache-control"]
    kept = app.folder.with_name("photos-graft") / "thumbnails" / first[:2] / f"{first}.jpg"
    assert kept.read_bytes() == data
    made = kept.stat().st_mtime_ns
    assert app.ask(f"/thumbnail/{first}")[2] == data
    assert kept.stat().st_mtime_ns == made
    assert app.ask(f"/image/{first}")[1]["content-type"] == "image/jpeg"
    for path in ("/thumbnail/" + "0" * 64, "/image/..%2f..%2fetc"):
        assert app.ask(path)[0] == 404


def test_the_users_folder_is_not_written_to(app):
    before = contents(app.folder)
    for path in PAGES:
        assert app.ask(path)[0] == 200
    app.json("/api/images/new-class", {"name": "jug"})
    app.json("/api/images/undo", {})
    assert contents(app.folder) == before
