"""How long a training will take, measured: some of the images are decoded and encoded, and some
steps are trained, in a process of its own.

Early stopping may end a training sooner; images that were encoded before cost nothing again.
"""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from graft.app.child_process import lower_priority
from graft.errors import GraftError
from graft.utils.parent_watch import end_with_parent

SAMPLE = 32  # images that are measured
BATCH = 16
STEPS = 4
TRAINED = 0.7  # of the images, about
# Writing the run and its report, as against importing and compiling: both grow with the machine.
AFTER = 1.0
PROGRAM = "from graft.app.time_prediction import answer; answer()"


def predicted_time(source: str | Path, digests: Sequence[str], **settings: Any) -> dict[str, Any]:
    """The seconds that `graft.train(source, **settings)` will take: `seconds` in all, of which
    `encode` and `fit`; and how many images are `new`, that is not encoded yet.

    `digests` are the SHA-256 of the images, in hexadecimal. Raises as `graft.train` for settings
    that are not possible.
    """
    # Of this process alone: others, such as step Check, use the cores meanwhile.
    began = time.process_time()
    from graft.config import TrainConfig, configs_of
    from graft.data.sources import load_dataset
    from graft.training.defaults import network, resolve
    from graft.training.head_fit import batch_size
    from graft.utils.cache_folder import cache_folder, sources_folder

    config, _ = configs_of(settings, TrainConfig)
    dataset = load_dataset(source, sources_folder())
    backbone = network(config, cache_folder())
    resolved = resolve(config, backbone)
    rows = range(0, len(dataset.examples), max(1, len(dataset.examples) // SAMPLE))
    files = [dataset.examples[row].file for row in rows][:SAMPLE]
    count, classes = len(dataset.examples), len(dataset.classes)
    batch = BATCH
    if resolved.unfreeze == "none" and backbone.weights is not None:
        batch = batch_size(resolved.batch_size, round(count * TRAINED))
    train, cut = _what_is_trained(resolved, backbone, classes, batch)
    views = 1 if resolved.augment == "none" else resolved.views
    started = time.process_time() - began
    encoder = _encoder(resolved, backbone, views, cut)
    new = count - sum(bytes.fromhex(each) in encoder.stores[0] for each in digests)
    each, compiled = _encoding(encoder, files)
    step = _seconds_of(train)
    encode = compiled + new * views * each
    fit = resolved.epochs * count * TRAINED * step / batch
    if cut is not None or backbone.weights is None:
        fit *= 1 + 0.4 * (1 - TRAINED) / TRAINED  # the validation images, forward only
    total = started * (1 + AFTER) + encode + fit
    return {"seconds": total, "encode": encode, "fit": fit, "new": new, "images": count}


def _what_is_trained(
    resolved: Any, backbone: Any, classes: int, batch: int
) -> tuple[Callable[[], Any], Any]:
    """A function that trains on one batch of this many images, and where the network is cut: None
    where it stays frozen, or is trained whole.
    """
    import torch

    from graft.models.halves import split_backbone
    from graft.models.head import Head
    from graft.models.split_point import find_split_point
    from graft.training.defaults import DROPOUT_HIDDEN, HIDDEN

    labels = torch.zeros(batch, dtype=torch.int64)
    shape = (batch, backbone.preprocess.height, backbone.preprocess.width, 3)
    frozen = resolved.unfreeze == "none" and backbone.weights is not None
    head = Head(backbone.features, classes, HIDDEN if frozen else 0, 0.2, DROPOUT_HIDDEN)
    body: Any = torch.nn.Identity()
    rows: Any = torch.randn(batch, backbone.features)
    cut = None
    if not frozen:
        encoder = backbone.build()
        if backbone.weights is not None:
            cut = find_split_point(encoder, resolved.unfreeze)
        if cut is not None and cut.unit is not None:
            prefix, body = split_backbone(backbone, cut)
            with torch.inference_mode():
                rows = prefix(torch.zeros(shape, dtype=torch.uint8))
            rows = rows.clone()
        else:
            cut, body, rows = None, encoder, torch.zeros(shape, dtype=torch.uint8)
    model = torch.nn.Sequential(body, head).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])

    def train() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(rows), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return train, cut


def _encoder(resolved: Any, backbone: Any, views: int, cut: Any) -> Any:
    """Where the activations of this training are kept, and what computes them."""
    import math

    from graft.features.backends import LazyBackend, backend_of
    from graft.features.cached_encoder import CachedEncoder
    from graft.models.halves import split_backbone
    from graft.utils.cache_folder import cache_folder

    if backbone.weights is None:
        return CachedEncoder(cache_folder(), backbone, None, 1)
    if cut is None:
        backend = backend_of(backbone, resolved.backend)
        return CachedEncoder(cache_folder(), backbone, backend, 1)
    prefix = LazyBackend(lambda: split_backbone(backbone, cut)[0], resolved.backend)
    size = math.prod(cut.shape)
    return CachedEncoder(cache_folder(), backbone, prefix, 1, cut=cut.unit, cut_size=size)


def _encoding(encoder: Any, files: Sequence[Path]) -> tuple[float, float]:
    """The seconds to decode and encode one image, and those to compile the network."""
    from graft.data.reader import stream
    from graft.features.extraction import encode_pixels

    began = time.perf_counter()
    pixels = [item.views[0] for item in stream(files, encoder.backbone.preprocess) if item.views]
    decode = (time.perf_counter() - began) / max(1, len(files))
    if encoder.backend is None or not pixels:
        return decode, 0.0
    began, used = time.perf_counter(), time.process_time()
    list(encode_pixels(pixels, encoder.backend))
    first = min(time.perf_counter() - began, time.process_time() - used)
    again = _least_of(2, lambda: list(encode_pixels(pixels, encoder.backend)))
    # The cores decode while the network runs, but each has the other's work beside its own.
    return decode + again / len(pixels), max(0.0, first - again)


def _seconds_of(train: Callable[[], None]) -> float:
    train()
    return _least_of(STEPS, train)


def _least_of(times: int, act: Callable[[], Any]) -> float:
    """The least of so many times that an act takes: what else runs can only lengthen one."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        act()
        found.append(time.perf_counter() - began)
    return min(found)


def in_another_process(
    source: str | Path, digests: Sequence[str], settings: dict[str, Any]
) -> dict[str, Any]:
    """`predicted_time`, by a process of low priority; `error` if it cannot be told."""
    asked = json.dumps({"source": str(source), "digests": list(digests), "settings": settings})
    with subprocess.Popen(  # noqa: S603 - this Python, with a program of graft's own
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        lower_priority(process.pid)
        told = ""
        if process.stdin is not None and process.stdout is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(asked + "\n")
                process.stdin.flush()  # and stays open: the process ends with the app
                told = process.stdout.read()
    lines = told.strip().splitlines()
    return dict(json.loads(lines[-1])) if lines else {"error": "the time could not be measured"}


def answer() -> None:
    """The process: reads what is asked on stdin, answers on stdout."""
    asked = json.loads(sys.stdin.readline())
    end_with_parent()
    try:
        found = predicted_time(asked["source"], asked["digests"], **asked["settings"])
    except GraftError as error:
        found = {"error": str(error)}
    sys.stdout.write("\n" + json.dumps(found) + "\n")
