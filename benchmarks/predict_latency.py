"""One image, one thread of eight, one batch: what `predict` takes beside a bare forward pass.

[ROUNDS]: default 40 images. Each way is timed beside a bare forward of one image (the compiled
backend alone, on pixels that are ready) and beside the least that any way has to do (decode, resize
and forward), one after the other and image by image; medians. `eager` is a forward of the plain
PyTorch module in float32. The batch of 1,000 is held against the bare
forwards of 1,000 in batches; eight threads against one. Then 2,000 predictions: the memory that
the process has gained after the first 200.
"""

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.common import GRAFT, WEIGHTS, median, photos, show, timed, workplace
from graft.inference.image_input import network_pixels
from graft.inference.predictor import Predictor
from graft.inference.saved_model import load

BATCH_OF, MANY, WARM, THREADS = 1000, 2000, 200, 8


def seconds(work: Callable[[], Any]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def resident() -> float:
    """The memory of the process in MB; 0 where the system does not say."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    lines = status.read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def one_image(predictor: Predictor, files: list[Path]) -> dict[str, float]:
    """Milliseconds and ratios of each form of an image."""
    shape = (1, *predictor.classifier.encoder.input_shape)
    ready: NDArray[np.uint8] = np.zeros(shape, np.uint8)
    module, backend = predictor.classifier, predictor.single()
    predictor.exact()
    times: dict[str, list[float]] = {name: [] for name in ("path", "pil", "array")}
    ratios: dict[str, list[float]] = {name: [] for name in times}
    bare, least, eager = [], [], []
    fed = predictor.backbone.preprocess
    for file in files:
        with Image.open(file) as image:
            image.load()
            forms = {"path": file, "pil": image, "array": np.array(image.convert("RGB"))}
            for name, form in forms.items():
                bare.append(seconds(lambda: backend.submit(ready)()))
                times[name].append(seconds(lambda form=form: predictor.predict(form)))
                ratios[name].append(times[name][-1] / bare[-1])
        least.append(
            seconds(lambda file=file: backend.submit(network_pixels(file, fed)[np.newaxis])())
        )
    for _ in files:  # apart from the others: its threads would be in their way
        with torch.inference_mode():
            eager.append(seconds(lambda: module(torch.from_numpy(ready))))
    return {
        **{f"{name}_ms": 1000 * median(values) for name, values in times.items()},
        "bare_ms": 1000 * median(bare),
        "decode_and_bare_ms": 1000 * median(least),
        "eager_float32_ms": 1000 * median(eager),
        **{f"{name}_ratio": median(values) for name, values in ratios.items()},
        "path_to_decode_and_bare_ratio": median(
            [a / b for a, b in zip(times["path"], least, strict=True)]
        ),
    }


def many_images(predictor: Predictor, files: list[Path]) -> dict[str, float]:
    """Images a second in a batch and from threads, as ratios to bare forwards."""
    backend = predictor.backend()
    thousand = (files * -(-BATCH_OF // len(files)))[:BATCH_OF]
    ready = np.zeros((backend.batch, *predictor.classifier.encoder.input_shape), np.uint8)

    def bare() -> None:
        waiting: list[Callable[[], Any]] = []
        for _ in range(-(-BATCH_OF // backend.batch)):
            if len(waiting) >= backend.depth:
                waiting.pop(0)()
            waiting.append(backend.submit(ready))
        for wait in waiting:
            wait()

    forwards = seconds(bare)
    batch = seconds(lambda: sum(1 for _ in predictor.predict_batch(thousand)))
    some = thousand[:200]
    alone = seconds(lambda: [predictor.predict(file) for file in some])
    with ThreadPoolExecutor(THREADS) as pool:
        shared = seconds(lambda: list(pool.map(predictor.predict, some)))
    return {
        "batch_images_s": BATCH_OF / batch,
        "batch_ratio": batch / forwards,
        "one_at_a_time_images_s": len(some) / alone,
        "eight_threads_images_s": len(some) / shared,
        "eight_threads_ratio": shared / alone,
    }


def memory(predictor: Predictor, files: list[Path]) -> dict[str, float]:
    """MB gained by MANY predictions after the first WARM."""
    for file in files[:WARM]:
        predictor.predict(file)
    before = resident()
    for i in range(MANY):
        predictor.predict(files[i % len(files)])
    return {"memory_mb": before, f"gained_mb_after_{MANY}": resident() - before}


def main() -> None:
    files = photos("flowers")
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    random = np.random.default_rng(0).permutation(len(files))[:WARM]
    chosen = [files[i] for i in random]
    with workplace() as place:
        run, cache = place / "run", place / "cache"
        command = [*GRAFT, "train", str(files[0].parent.parent), "--model", WEIGHTS]
        timed([*command, "--views", "1", "--out", str(run)], cache)
        predictor = load(run)
        for file in chosen[:5]:
            predictor.predict(file)
        figures = one_image(predictor, chosen[:rounds])
        figures |= many_images(predictor, chosen)
        figures |= memory(predictor, chosen)
        show("predict_latency", backend=predictor.backend.name, **figures)


if __name__ == "__main__":
    main()
