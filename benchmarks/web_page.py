"""The page of `graft export --to web` in Chromium: its size, the time to its first answer and of
each answer, and how far it is from `graft predict`, on 50 photos of flowers and on a photo of 12
megapixels. GRAFT_ONNXRUNTIME_WEB names the folder dist of onnxruntime-web, if it is at hand.
"""

import functools
import http.server
import shutil
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright

import graft
from benchmarks.common import WEIGHTS, images, median, photos, show, workplace
from graft.export.write import export_run

FLAGS = ("no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync")
FLAGS += ("disable-background-networking", "disable-component-update")


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A file server that prints nothing."""

    def log_message(self, *_: object) -> None:  # noqa: D102
        pass


def answers(page: Page, files: list[Path]) -> list[dict]:
    """What the page says of the files, in order."""
    page.evaluate("window.heard = []")
    page.set_input_files("#files", files)
    while page.evaluate("heard.length") < len(files):
        time.sleep(0.01)
    return page.evaluate("heard")


def large_photo(place: Path) -> Path:
    """A photo of 4000 × 3000 pixels, with noise as cameras have it."""
    photo = Image.open(photos("flowers")[0]).convert("RGB").resize((4000, 3000))
    noise = np.random.default_rng(0).normal(0, 6, (3000, 4000, 3))
    pixels = (np.asarray(photo) + noise).clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(place / "large.jpg", quality=92)
    return place / "large.jpg"


def main() -> None:
    with workplace() as place:
        run = graft.train(images("flowers"), model=WEIGHTS, out=place / "run")
        export_run(run.path, "web", out=place / "page", offline=True)
        sizes = {f.name: f.stat().st_size for f in (place / "page").rglob("*") if f.is_file()}
        loaded = ("index.html", "model.onnx", "ort.wasm.bundle.min.mjs")
        loaded += ("ort-wasm-simd-threaded.wasm",)
        show("web_page", loaded_mb=sum(sizes[name] for name in loaded) / 1e6)
        show("web_page", offline_mb=sum(sizes.values()) / 1e6)
        handler = functools.partial(Quiet, directory=str(place / "page"))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        names = ("chromium", "chromium-browser", "google-chrome")
        found = next(filter(None, map(shutil.which, names)))
        files = photos("flowers")[::65][:50]
        with sync_playwright() as started:
            flags = [f"--{f}" for f in FLAGS]
            browser = started.chromium.launch(executable_path=found, args=flags)
            page, begun = browser.new_page(), time.perf_counter()
            page.goto(f"http://127.0.0.1:{server.server_port}/")
            page.evaluate("document.addEventListener('answer', (e) => heard.push(e.detail))")
            answers(page, files[:1])  # waits until the page is ready
            show("web_page", first_answer_s=time.perf_counter() - begun)
            told = {answer["name"]: answer for answer in answers(page, files)}
            for step in ("decode", "resize", "network"):
                spent = [answer["milliseconds"][step] for answer in told.values()]
                show("web_page", step=step, median_ms=median(spent))
            large = answers(page, [large_photo(place)] * 3)[-1]["milliseconds"]
            show("web_page", megapixels=12, **{f"{step}_ms": ms for step, ms in large.items()})
            browser.close()
        server.shutdown()
        for backend in ("float32", "auto"):
            expected = graft.load(run.path, backend).predict(files)
            pairs = [(told[file.name], own) for file, own in zip(files, expected, strict=True)]
            worst = max(
                np.abs(np.array(a["probabilities"]) - list(own.probabilities.values())).max()
                for a, own in pairs
            )
            changed = sum(a["label"] != own.label for a, own in pairs)
            show("web_page", against=backend, labels_changed=changed, worst=float(worst))


if __name__ == "__main__":
    main()
