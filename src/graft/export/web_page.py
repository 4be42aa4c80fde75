"""The page of `graft export RUN --to web`: index.html beside model.onnx, which classifies images
in the browser. No server computes anything, and nothing leaves the machine.
"""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from graft.export import web_runtime
from graft.export.vectors import FILE, FOLDER
from graft.export.write import Job, write_checked
from graft.models.ood import expected_refusals
from graft.report.numbers import counted, decimal, listed, percent, span
from graft.runs.digest_file import digest_of
from graft.runs.run import Run
from graft.utils.files import write_json, write_text
from graft.utils.progress import Progress

SURE = 0.9  # what the page calls sure


@dataclass(frozen=True)
class KnownAnswer:
    """Pixels of the network's own size, as an image beside the page, and their probabilities (K,):
    by these a browser is checked before it answers.
    """

    image: str
    probabilities: Sequence[float]


def write_web(job: Job) -> dict[str, Any]:
    """Write model.onnx, its test vectors and the page into `job.folder`; the parity found."""
    run = Run.finished(job.run.path)
    web_runtime.require_runtime(job.offline, job.progress)  # before the long work
    _, parity = write_checked(replace(job, square=True), "onnx")
    write_json(job.folder / "parity.json", parity)
    stored = json.loads((job.folder / FOLDER / FILE).read_text(encoding="utf-8"))
    answers = [
        KnownAnswer(f"{FOLDER}/{row['pixels']}", row["probabilities"]) for row in stored["vectors"]
    ]
    write_web_page(run, job.folder, answers, offline=job.offline, progress=job.progress)
    return {"parity": parity}


def write_web_page(
    run: Run, folder: Path, answers: Sequence[KnownAnswer], *, offline: bool, progress: Progress
) -> Path:
    """Write index.html into `folder`, where model.onnx and the answers' images are already.

    The graph takes `image`, (N, height, width, 3) uint8 at the network's input size, and gives
    `probabilities` and `ood_score`. With `offline` the runtime is laid beside the page, else the
    page loads it from a content delivery network; both by their digests. Returns the page's path.

    Raises DownloadError for a runtime that cannot be fetched.
    """
    if offline:
        web_runtime.lay_beside(folder, progress)
    page = render_page(run, folder, answers, offline)
    write_text(folder / "index.html", page)
    return folder / "index.html"


def render_page(run: Run, folder: Path, answers: Sequence[KnownAnswer], offline: bool) -> str:
    """The text of index.html."""
    loaders = ChoiceLoader([PackageLoader("graft.export", ""), PackageLoader("graft.report", "")])
    environment = Environment(
        loader=loaders,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    model = folder / "model.onnx"
    megabytes = (model.stat().st_size + sum(_bytes("wasm"))) / 1e6
    page = environment.get_template("web_page.html").render(
        name=run.name,
        knows=knows(run),
        loads=f"{megabytes:.0f} MB",
        facts=facts(run),
        meaning=meaning(run),
        about=about(run, offline),
        settings=_data(settings(run, folder, answers, offline)),
        worker=Markup(_source("web_resize.js") + _source("web_worker.js")),  # noqa: S704 (our own)
        script=Markup(_source("web_page.js")),  # noqa: S704
    )
    return page.replace("POLICY", policy(page, web_runtime.address(offline)), 1)


def settings(
    run: Run, folder: Path, answers: Sequence[KnownAnswer], offline: bool
) -> dict[str, Any]:
    """What the page's script is told."""
    return {
        "classes": list(run.model["classes"]),
        "preprocess": run.model["preprocess"],
        "detectsOod": run.model.get("ood_limit") is not None,
        "model": _pinned(folder, "model.onnx"),
        "runtime": web_runtime.described(offline),
        "vectors": [
            {"image": _pinned(folder, v.image), "probabilities": list(v.probabilities)}
            for v in answers
        ],
    }


def policy(page: str, runtime: str) -> str:
    """The Content-Security-Policy of a page: its own scripts and styles by their digests, its own
    origin, and the address that the runtime comes from; nothing else is reached.
    """
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    styles = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    network = f" {runtime}" if urlsplit(runtime).scheme else ""
    # blob: is how the worker and the checked runtime are started; the page alone can make one.
    rules = {
        "default-src": "'none'",
        "script-src": f"{_digests(scripts)} blob: 'wasm-unsafe-eval'",
        "style-src": _digests(styles),
        "worker-src": "blob:",
        "connect-src": f"'self'{network}",
        "img-src": "blob: data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def knows(run: Run) -> str:
    """Which classes there are, and that every answer is one of them."""
    classes = list(run.model["classes"])
    return f"This classifier knows {listed(classes, 12)}, and no other class."


def facts(run: Run) -> list[tuple[str, str, str]]:
    """The run's numbers: title, value, note."""
    metrics = run.metrics
    accuracy = metrics["accuracy"]
    found = [
        (
            "Accuracy",
            percent(accuracy["value"]),
            f"of {counted(metrics['n'], 'test image')} it had never seen; 95 % interval "
            f"{span(accuracy['low'], accuracy['high'])}",
        )
    ]
    _, labels, probabilities = run.predictions("test")
    sure = probabilities.max(axis=1) >= SURE
    if sure.any():
        right = (probabilities.argmax(axis=1) == labels)[sure]
        found.append(
            (
                f"At least {SURE:.0%} sure",
                percent(float(right.mean())),
                f"of the {counted(int(sure.sum()), 'test image')} it was so sure of were right",
            )
        )
    found.append(
        (
            "Calibration error (ECE)",
            decimal(metrics["ece"]),
            "by how much its probabilities miss how often it is right; 0 is best",
        )
    )
    return found


def meaning(run: Run) -> list[str]:
    """What a probability and "none of these" mean."""
    sentences = [
        "A probability says how often the classifier is right when it is as sure as that, for "
        "images like those it learned from. It was set by images that it did not learn from. For "
        "other images, such as another camera’s, it may be wrong more often than it says."
    ]
    if run.model.get("ood_limit") is None:
        sentences.append(
            "This classifier cannot tell an image of no class from the others: it always names a "
            "class, whatever the image shows."
        )
        return sentences
    images = len(run.predictions("val")[0])
    refused = percent(expected_refusals(images))
    sentences.append(
        "“None of these” means that the image is unlike all the training images, whatever the "
        f"probabilities are. This also happens to about {refused} of images of the right classes; "
        "and an image of another kind that looks like the training images is not noticed."
    )
    return sentences


def about(run: Run, offline: bool) -> list[str]:
    """How the page works, where its files come from, and what made it."""
    version = f"onnxruntime-web {web_runtime.VERSION}"
    where = (
        f"{version} lies beside the page"
        if offline
        else f"{version} is loaded from {urlsplit(web_runtime.address(False)).hostname}"
    )
    return [
        f"Everything is computed in this browser. {where}; it and the model are checked by their "
        "SHA-256 before they are used. The page’s Content-Security-Policy allows no other "
        "connection, so no image can leave this computer.",
        "Decoding is the browser’s: TIFF and other formats that it does not know cannot be read.",
        f"Made by graft {run.config['versions']['graft']} from run {run.name}, whose weights have "
        f"the SHA-256 {digest_of(run.weights)[:16]}…",
    ]


def _bytes(backend: str) -> list[int]:
    return [web_runtime.FILES[name][0] for name in web_runtime.BACKENDS[backend]]


def _pinned(folder: Path, name: str) -> dict[str, str]:
    return {"url": name, "integrity": web_runtime.integrity(digest_of(folder / name))}


def _digests(texts: Sequence[str]) -> str:
    found = (hashlib.sha256(text.encode()).digest() for text in texts)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode('ascii')}'" for digest in found)


def _source(name: str) -> str:
    return files("graft.export").joinpath(name).read_text(encoding="utf-8")


def _data(value: Any) -> Markup:
    """JSON that can stand in a script element: nothing in it ends the element."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704
