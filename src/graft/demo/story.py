"""`graft demo`: the whole job on rendered images of which the truth is known.

An audit of a messy folder; a network from scratch, a frozen one and a fine-tuned one on 20 images a
class; a class that was never seen. Every claim is checked against the truth.
"""

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from graft.choices import DEFAULT_MODEL
from graft.config import SplitConfig, TrainConfig
from graft.demo.messy_folder import Planted, compared, make_messy_folder
from graft.demo.rendered_images import RenderedImages, rendered_images
from graft.errors import UsageError
from graft.evaluation.comparison import read_comparison
from graft.evaluation.intervals import wilson
from graft.inference.policy import Policy, policy_for
from graft.inference.saved_model import load
from graft.quality.check import check
from graft.report.demo_page import Shown, write_story
from graft.report.run_page import write_report
from graft.runs.run import Run
from graft.training.recipe import train
from graft.utils.cache_folder import cache_in_use
from graft.utils.files import write_json
from graft.utils.locks import lock
from graft.utils.progress import Progress

EACH = 20  # images of each class in the comparison
SIZES = (5, 10, EACH)  # and on the curve, besides all that there are
# Images of each class on the page and in its grid of answers; copies beside their originals.
STRIP, ANSWERS, COUPLES = 7, 6, 6
BUDGET = 0.05  # of the predictions at most this fraction may be wrong
# What was best of a dozen ways to train a small network on 20 images a class.
SCRATCH: dict[str, Any] = {
    "model": "base_cnn",
    "image_size": 32,
    "batch_size": 16,
    "epochs": 50,
    "patience": 50,
    "learning_rate": 1e-3,
    "ema": 0.98,
    "mixup": 1.0,
}
WAYS: dict[str, dict[str, Any]] = {
    "scratch": SCRATCH,
    "frozen": {"model": DEFAULT_MODEL},
    "tuned": {"model": DEFAULT_MODEL, "unfreeze": "20%"},
}
OURS = {"messy", "tables", "runs", "demo.json", "report.html"}
RUNS = re.compile(rf"({'|'.join(WAYS)})-\d+-and-\d+")
MARK = ".graft-demo"  # in folders that graft made for a demo: no others are emptied


def run_demo(out: Path, progress: Progress) -> dict[str, Any]:
    """Tell the story below `out` and write out/report.html; return what it shows, as demo.json.

    An earlier demo in `out` is replaced. Raises UsageError if `out` holds anything else.
    """
    with cache_in_use(), _room(out):
        return _tell(out, progress)


def _tell(out: Path, progress: Progress) -> dict[str, Any]:
    began = time.perf_counter()
    images = rendered_images()
    progress.say("1 of 4: the audit of a messy folder")
    planted = make_messy_folder(images, out / "messy")
    audited = compared(planted, check(planted.folder, DEFAULT_MODEL).findings)
    progress.say(f"2 of 4: {EACH} images a class, three ways to learn from them")
    runs = {way: _few(images, out, way, EACH) for way in WAYS}
    progress.say("3 of 4: accuracy against images a class")
    sizes = sorted({*SIZES, images.most})
    curve = {
        way: {n: runs[way] if n == EACH else _few(images, out, way, n) for n in sizes}
        for way in ("scratch", "frozen")
    }
    progress.say(f"4 of 4: what it answers, also to a class never seen: {images.unseen_class}")
    best = _train(images, out, "frozen", EACH, images.most - EACH)
    result: dict[str, Any] = {"model": DEFAULT_MODEL, "each": EACH, "most": images.most}
    result |= {"unseen_class": images.unseen_class, "framed": planted.framed}
    result["tuned_kept"] = not runs["tuned"].model["frozen"]
    result |= {"tuned_note": "; ".join(runs["tuned"].config.get("training_notes", []))}
    result |= {"audit": audited} | _ways(runs) | {"curve": _curve(curve)}
    result |= {"answers": _answers(best, images), "calibration": _calibration(best)}
    for run in (*runs.values(), best):
        write_report(run)
    result["claims"] = _claims(result)
    result["seconds"] = round(time.perf_counter() - began, 1)
    result["report"] = str(write_story(out, result, _shown(images, planted, audited, best)))
    write_json(out / "demo.json", result)
    return result


@contextlib.contextmanager
def _room(out: Path) -> Iterator[None]:
    """The folder `out`, emptied of an earlier demo, and locked as long as this lasts."""
    _refuse_strange(out)
    out.mkdir(parents=True, exist_ok=True)
    descriptor = lock(out / MARK)
    if descriptor is None:
        raise UsageError(f"another demo is being made in {out}; choose another --out")
    try:
        _refuse_strange(out)
        for name in OURS:
            place = out / name
            shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
        yield
    finally:
        os.close(descriptor)


def _refuse_strange(out: Path) -> None:
    if not out.exists():
        return
    strange = [out.name]
    if out.is_dir():
        known = {*OURS, MARK} if (out / MARK).is_file() else {MARK}
        strange = [file.name for file in out.iterdir() if file.name not in known]
        if (runs := out / "runs").is_dir():
            strange += [f.name for f in runs.iterdir() if not RUNS.fullmatch(f.name)]
    if strange:
        raise UsageError(
            f"{out} holds something else than a demo that graft made ({strange[0]}); choose "
            "another --out"
        )


def _few(images: RenderedImages, out: Path, way: str, each: int) -> Run:
    """A run on `each` images of each class, a fifth of them for validation."""
    return _train(images, out, way, each - each // 5, each // 5)


def _train(images: RenderedImages, out: Path, way: str, learned: int, val: int) -> Run:
    name = f"{learned}-and-{val}"
    table = images.write_table(out / "tables" / f"{name}.csv", learned, val)
    folder = out / "runs" / f"{way}-{name}"
    return train(table, TrainConfig(**WAYS[way]), SplitConfig(), folder, Progress())


def _ways(runs: dict[str, Run]) -> dict[str, Any]:
    """The figures of the three ways, and the test of each of the others against scratch."""
    pairs = read_comparison([run.path for run in runs.values()]).pairs
    return {
        "ways": {
            way: {
                "accuracy": run.metrics["accuracy"],
                "macro_f1": run.metrics["macro_f1"],
                "macro_f1_interval": run.metrics["intervals"]["macro_f1"],
                "seconds": run.metrics["seconds"]["total"],
                "report": f"runs/{run.path.name}/report.html",
            }
            for way, run in runs.items()
        },
        "gains": {
            way: pair.to_json() for pair, way in zip(pairs, ("frozen", "tuned"), strict=False)
        },
    }


def _curve(curve: dict[str, dict[int, Run]]) -> dict[str, list[dict[str, Any]]]:
    return {
        way: [{"images": n, **run.metrics["accuracy"]} for n, run in runs.items()]
        for way, runs in curve.items()
    }


def _answers(run: Run, images: RenderedImages) -> dict[str, Any]:
    """What it says of the test images and of the unseen class, with and without an error budget."""
    predictor = load(run.path)
    policy, promise = policy_for(run.path, max_error=BUDGET)
    tested = images.test_files
    found: dict[str, Any] = {"budget": BUDGET, "promise": promise}
    for name, rule in (("plain", Policy()), ("careful", policy)):
        said = predictor.predict([file for file, _ in tested], rule)
        unseen = predictor.predict(list(images.unseen), rule)
        answered = [
            (answer.label, label)
            for answer, (_, label) in zip(said, tested, strict=True)
            if answer.label is not None
        ]
        found[name] = {
            "n": len(tested),
            "answered": len(answered),
            "wrong": sum(answer != label for answer, label in answered),
            "unseen": len(images.unseen),
            "unseen_refused": sum(answer.label is None for answer in unseen),
        }
    return found


def _calibration(run: Run) -> dict[str, Any]:
    """Whether probabilities mean what they say: test images by the probability of their label."""
    _, labels, probabilities = run.predictions("test")
    said, right = probabilities.max(1), probabilities.argmax(1) == labels
    edges = [0.0, 0.5, 0.8, 0.95, 1.01]
    rows = []
    for low, high in pairwise(edges):
        mine = (said >= low) & (said < high)
        if mine.any():
            least, most = wilson(int(right[mine].sum()), int(mine.sum()))
            rows.append(
                {
                    "from": low,
                    "to": min(high, 1.0),
                    "n": int(mine.sum()),
                    "said": float(said[mine].mean()),
                    "right": float(right[mine].mean()),
                    "low": least,
                    "high": most,
                }
            )
    low, high = wilson(int(right.sum()), len(right))
    return {
        "said": float(np.mean(said)),
        "right": float(np.mean(right)),
        "low": low,
        "high": high,
        "rows": rows,
    }


def _shown(images: RenderedImages, planted: Planted, audited: dict[str, Any], best: Run) -> Shown:
    """The images on the page."""
    folder = planted.folder
    classes = {
        name: [images.folder / p for p in paths[:STRIP]] for name, paths in images.order.items()
    }
    policy, _ = policy_for(best.path, max_error=BUDGET)
    predictor = load(best.path)
    asked = [
        (images.folder / path, name)
        for name, paths in images.order.items()
        for path in paths[:ANSWERS]
    ]
    asked += [(file, images.unseen_class) for file in images.unseen[: 2 * ANSWERS]]
    answers = predictor.predict([file for file, _ in asked], policy)
    return Shown(
        classes=classes | {images.unseen_class: images.unseen[:STRIP]},
        wrong_labels=[
            (folder / path, Path(path).parent.name, truth) for path, truth in planted.labels.items()
        ],
        copies=[(folder / old, folder / new) for new, old in planted.copies.items()][:COUPLES],
        framed=sorted((folder / planted.framed).glob("[0-9]*"))[:4],
        suspects=frozenset(folder / path for path in audited["label_errors"]["paths"]),
        answers=list(zip(answers, [truth for _, truth in asked], strict=True)),
    )


def _claims(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Each claim of the page with whether it held."""
    audit, gain = result["audit"], result["gains"]["frozen"]
    careful, calibration = result["answers"]["careful"], result["calibration"]
    claims = {
        "the audit finds at least three quarters of the wrong labels": (
            audit["label_errors"]["found"] >= 0.75 * audit["label_errors"]["planted"]
        ),
        "the audit finds at least nine of ten edited copies": (
            audit["near_duplicates"]["found"] >= 0.9 * audit["near_duplicates"]["planted"]
        ),
        "the audit finds the broken file": audit["broken"]["found"] == 1,
        "the audit names the class that a frame gives away": audit["shortcut"]["found"] == 1,
        "transfer learning beats learning from scratch, by an interval without zero": (
            gain["low"] > 0
        ),
        "of the predictions, no more are wrong than the error budget allows": (
            careful["wrong"] <= BUDGET * careful["answered"]
        ),
        "most images of the unseen class are answered with: none of these": (
            careful["unseen_refused"] > 0.5 * careful["unseen"]
        ),
        "the probabilities say how often the labels are right": (
            calibration["low"] <= calibration["said"] <= calibration["high"]
        ),
    }
    return [{"claim": claim, "held": bool(held)} for claim, held in claims.items()]
