"""`graft export --to web` in a real Chromium: the same answers as predict, and nothing sent."""

import base64
import contextlib
import functools
import http.server
import io
import json
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import graft as package
from graft.data.decode import decode
from graft.errors import DownloadError, UsageError
from graft.export import web_runtime
from graft.export.web_page import KnownAnswer, render_page, write_web_page
from graft.export.write import export_run
from graft.runs.run import Run
from graft.utils.progress import Progress

IMAGES = 50


class Files(http.server.SimpleHTTPRequestHandler):
    """A folder's files, and `asked`: the paths that came."""

    def log_message(self, *_):
        pass

    def end_headers(self):
        self.send_header("Access-Control-Allow-Origin", "*")
        self.server.asked.append(self.path)
        super().end_headers()


@contextlib.contextmanager
def served(folder):
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Files, directory=str(folder))
    )
    server.asked = []
    server.address = f"http://127.0.0.1:{server.server_port}/"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    """The folder dist of onnxruntime-web: the one that is named, or npm's."""
    if given := os.environ.get(web_runtime.MIRROR):
        return Path(given)
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip(f"needs onnxruntime-web: neither {web_runtime.MIRROR} nor npm is there")
    folder = tmp_path_factory.mktemp("npm")
    name = f"onnxruntime-web@{web_runtime.VERSION}"
    done = subprocess.run([npm, "pack", name], cwd=folder, capture_output=True, timeout=120)
    if done.returncode:
        pytest.skip(f"npm cannot fetch {name}: {done.stderr.decode().strip()[-200:]}")
    shutil.unpack_archive(next(folder.glob("*.tgz")), folder, filter="data")
    return folder / "package" / "dist"


@pytest.fixture(scope="module")
def exported(finished, runtime, tmp_path_factory):
    """The page with its runtime beside it."""
    pytest.importorskip("onnxscript", reason="needs graft[onnx]")
    folder = tmp_path_factory.mktemp("web") / "page"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(web_runtime.MIRROR, str(runtime))
        export_run(finished, "web", out=folder, offline=True, most=40)
    return folder


@pytest.fixture
def page(browser):
    opened = browser.new_page(viewport={"width": 400, "height": 900})
    opened.errors = []
    opened.on("pageerror", lambda error: opened.errors.append(str(error)))
    yield opened
    opened.close()
    assert not opened.errors


def opened(page, address):
    page.goto(address)
    page.wait_for_selector("body[data-ready], body[data-failed]", timeout=60_000)
    page.evaluate(
        "window.heard = []; document.addEventListener('answer', (e) => heard.push(e.detail))"
    )
    return page


def answers(page, count):
    for _ in range(600):
        if page.evaluate("heard.length") >= count:
            return page.evaluate("heard")
        page.wait_for_timeout(50)
    raise AssertionError(f"{page.evaluate('heard.length')} of {count} answers came")


def all_kinds(folder):
    """Images of all kinds a browser reads, drawn from the digits, as files."""
    from sklearn.datasets import load_digits

    random, files = np.random.default_rng(0), []
    for number, row in enumerate(load_digits().images[:IMAGES]):
        side = (int(random.integers(8, 300)), int(random.integers(8, 300)))
        image = Image.fromarray((row * 15).astype(np.uint8)).resize(side).convert("RGB")
        noise = random.normal(0, 9, np.asarray(image).shape)
        image = Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))
        ending = ("jpg", "png", "webp", "gif", "bmp")[number % 5]
        file, more = folder / f"{number}.{ending}", {}
        if ending == "jpg":
            turned = Image.Exif()
            turned[0x0112] = number // 5 % 8 + 1
            more = {"quality": int(random.integers(70, 98)), "exif": turned}
        elif ending == "webp":
            more = {"lossless": True}
        elif ending == "png" and number % 2:
            image = image.convert("L")
        image.save(file, **more)
        files.append(file)
    return files


def test_the_page_says_of_fifty_images_what_predict_says(page, exported, finished, tmp_path):
    files = all_kinds(tmp_path)
    with served(exported) as server:
        opened(page, server.address)
        assert page.get_attribute("body", "data-backend") == "wasm"
        page.set_input_files("#files", files)
        found = {answer["name"]: answer for answer in answers(page, IMAGES)}
    # A browser decodes JPEGs whole; graft decodes one of 300 pixels at a quarter, for 16 pixels.
    whole = [decode(file.read_bytes()) for file in files]
    for file, expected in zip(files, package.load(finished, "float32").predict(whole), strict=True):
        answer = found[file.name]
        assert answer["label"] == expected.label, file
        assert answer["best_guess"] == expected.best_guess
        assert answer["ood_score"] == pytest.approx(expected.ood_score, rel=2e-3), file
        own = list(expected.probabilities.values())
        assert answer["probabilities"] == pytest.approx(own, abs=1e-3), file


def test_an_image_unlike_the_others_is_none_of_these(page, exported, finished, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    expected = package.load(finished, "float32").predict(tmp_path / "noise.png")
    assert expected.label is None
    with served(exported) as server:
        opened(page, server.address)
        page.set_input_files("#files", tmp_path / "noise.png")
        assert answers(page, 1)[0]["label"] is None
        assert page.inner_text(".card .label:visible") == "None of these"
        assert expected.reason in page.inner_text(".card .told:visible")


def test_a_file_that_is_no_image_is_named_and_the_next_is_answered(page, exported, tmp_path):
    (tmp_path / "text.jpg").write_text("no image")
    Image.new("RGB", (20, 20)).save(tmp_path / "black.png")
    with served(exported) as server:
        opened(page, server.address)
        page.set_input_files("#files", [tmp_path / "text.jpg", tmp_path / "black.png"])
        first, second = answers(page, 2)
    assert "cannot be decoded" in first["problem"]
    assert second["name"] == "black.png"
    assert "probability" in second


def test_it_asks_its_own_server_only_and_can_ask_no_other(page, exported, tmp_path):
    Image.new("RGB", (20, 20)).save(tmp_path / "black.png")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    with served(exported) as server, served(tmp_path) as other:
        opened(page, server.address)
        page.set_input_files("#files", tmp_path / "black.png")
        answers(page, 1)
        wanted = {"/", "/model.onnx", "/runtime/ort.wasm.bundle.min.mjs"}
        wanted |= {"/runtime/ort-wasm-simd-threaded.wasm"}
        wanted |= {f"/vectors/{name}-pixels.png" for name in ("turned", "gray", "transparent")}
        assert set(server.asked) == wanted
        own = (server.address, "blob:", "data:")
        assert [url for url in asked if not url.startswith(own)] == []
        tries = f"""async () => {{
          const image = new Image();
          image.src = "{other.address}image";
          navigator.sendBeacon?.("{other.address}beacon", "x");
          try {{ await fetch("{other.address}fetch", {{ mode: "no-cors" }}); return "sent"; }}
          catch {{ return "refused"; }}
        }}"""
        assert page.evaluate(tries) == "refused"
        page.wait_for_timeout(200)
        assert other.asked == []


@pytest.mark.parametrize("name", ["model.onnx", "runtime/ort-wasm-simd-threaded.wasm"])
def test_a_file_that_was_changed_is_not_used(page, exported, tmp_path, name):
    shutil.copytree(exported, tmp_path / "page")
    file = tmp_path / "page" / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with served(tmp_path / "page") as server:
        opened(page, server.address)
    assert "cannot be run here" in page.inner_text("#state")
    assert Path(name).name in page.inner_text("#state")


def test_without_offline_the_runtime_comes_from_the_network_by_its_digests(
    page, exported, finished, runtime, tmp_path, monkeypatch
):
    shutil.copytree(exported, tmp_path / "page", ignore=shutil.ignore_patterns("runtime"))
    with served(runtime) as network, served(tmp_path / "page") as server:
        monkeypatch.setenv(web_runtime.MIRROR, network.address)
        run = Run.finished(finished)
        write_web_page(run, tmp_path / "page", [], offline=False, progress=Progress())
        opened(page, server.address)
        assert page.get_attribute("body", "data-ready")
        script, wasm = web_runtime.BACKENDS["wasm"]
        assert set(network.asked) == {f"/{script}", f"/{wasm}"}


def test_the_address_is_a_network_of_npm_packages_unless_another_is_named(monkeypatch):
    monkeypatch.delenv(web_runtime.MIRROR, raising=False)
    assert web_runtime.address(False) == web_runtime.CDN
    assert web_runtime.CDN.startswith("https://")
    assert web_runtime.address(True) == "runtime/"


def test_a_runtime_that_is_not_the_pinned_one_is_refused(tmp_path, monkeypatch):
    for name in web_runtime.FILES:
        (tmp_path / name).write_bytes(b"something else")
    monkeypatch.setenv(web_runtime.MIRROR, str(tmp_path))
    with pytest.raises(DownloadError, match="not the file that was promised"):
        web_runtime.lay_beside(tmp_path / "out", Progress())
    monkeypatch.setenv(web_runtime.MIRROR, str(tmp_path / "nowhere"))
    with pytest.raises(DownloadError, match="name the folder dist"):
        web_runtime.lay_beside(tmp_path / "out", Progress())


def test_a_folder_with_the_runtime_is_refused_where_the_page_could_not_use_it(
    finished, tmp_path, monkeypatch, graft_here
):
    monkeypatch.setenv(web_runtime.MIRROR, str(tmp_path))
    ended = graft_here("export", finished, "--to", "web", "--out", tmp_path / "page")
    assert ended.code == UsageError.exit_code
    assert "add --offline, or name an address" in ended.err
    assert not list(tmp_path.iterdir())


def test_opened_as_a_file_it_says_what_to_do(page, exported):
    page.goto((exported / "index.html").as_uri())
    assert "python -m http.server" in page.inner_text("#state")


def test_images_can_be_pasted_and_dropped_and_the_keys_reach_all(page, exported):
    paste = """([kind, target]) => {
      const data = new DataTransfer();
      const bytes = Uint8Array.from(atob(IMAGE), (c) => c.charCodeAt(0));
      data.items.add(new File([bytes], kind + ".png", { type: "image/png" }));
      const event = kind === "paste"
        ? new ClipboardEvent(kind, { clipboardData: data, bubbles: true })
        : new DragEvent(kind, { dataTransfer: data, bubbles: true });
      document.querySelector(target).dispatchEvent(event);
    }"""
    file = io.BytesIO()
    Image.new("RGB", (3, 2)).save(file, "PNG")
    paste = paste.replace("IMAGE", json.dumps(base64.b64encode(file.getvalue()).decode()))
    with served(exported) as server:
        opened(page, server.address)
        page.evaluate(paste, ["paste", "body"])
        page.evaluate(paste, ["drop", "#drop"])
        assert [answer["name"] for answer in answers(page, 2)] == ["paste.png", "drop.png"]
        reached = []
        page.evaluate("document.activeElement.blur()")
        for _ in range(3):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.id"))
        assert reached == ["choose", "webcam", "clear"]
        with page.expect_file_chooser():
            page.focus("#choose")
            page.keyboard.press("Enter")
        page.click("#clear")
        assert page.locator("#answers li").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_webcam_is_classified_until_it_is_stopped(exported, fake_camera):
    with served(exported) as server:
        told = fake_camera(Path(__file__).with_name("exported_webcam.py"), server.address)
    assert told == {"answers": 3, "stopped": True, "hidden": True}


def test_names_of_strangers_cannot_end_the_script_or_the_text(finished, exported):
    run = Run.finished(finished)
    run.model["classes"] = ["</script><img src=x onerror=alert(1)>", "<!--", "&amp;"]
    text = render_page(run, exported, [KnownAnswer("model.onnx", [1.0])], True)
    assert "<img" not in text
    settings = re.search(r'id="settings">(.*?)</script>', text, re.DOTALL)[1]
    assert json.loads(settings)["classes"] == run.model["classes"]


def test_the_policy_names_every_script_and_style_of_the_page(exported):
    text = (exported / "index.html").read_text()
    policy = re.search(r'Policy" content="([^"]*)"', text)[1]
    assert "unsafe-inline" not in policy
    assert "'unsafe-eval'" not in policy
    assert policy.startswith("default-src 'none'; ")
    assert policy.count("'sha256-") == len(re.findall("<script>|<style>", text)) == 3
    assert "connect-src 'self';" in policy
    assert " style=" not in text
    assert " onclick=" not in text


@pytest.mark.slow
def test_photos_by_the_default_network_are_answered_as_predict_does(
    page, flowers, runtime, tmp_path, graft_here, monkeypatch
):
    monkeypatch.setenv(web_runtime.MIRROR, str(runtime))
    ended = graft_here("train", flowers, "--out", tmp_path / "run")
    assert ended.code == 0, ended.err
    export_run(tmp_path / "run", "web", out=tmp_path / "page", offline=True)
    files = sorted(flowers.rglob("*.jpg"))[::65][:IMAGES]
    with served(tmp_path / "page") as server:
        opened(page, server.address)
        page.set_input_files("#files", files)
        found = {answer["name"]: answer for answer in answers(page, len(files))}
    exact, usual = (package.load(tmp_path / "run", kind) for kind in ("float32", "auto"))
    for file, by_float32, told in zip(
        files, exact.predict(files), usual.predict(files), strict=True
    ):
        answer, own = found[file.name], list(by_float32.probabilities.values())
        assert answer["probabilities"] == pytest.approx(own, abs=1e-3)
        assert answer["label"] == by_float32.label == told.label
