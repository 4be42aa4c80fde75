"""Prediction from JPEG files: `predict` against the plain eager float32 loop, images a second.

[ROUNDS]: default 3, alternating, medians. Both rates are of the loop, without start-up; the whole
process of `graft predict` is shown too.
"""

import json
import sys
import time
from pathlib import Path

from benchmarks.common import GRAFT, WEIGHTS, images, median, module, show, timed, workplace


def rate(run: str, folder: str) -> None:
    """Print the images a second of the loop in this process."""
    from graft.data.sources import find_images
    from graft.inference.saved_model import load

    classifier = load(run)
    classifier.backend()
    start = time.perf_counter()
    count = sum(1 for _ in classifier.predict_files(find_images(Path(folder))))
    print(json.dumps({"rate": count / (time.perf_counter() - start), "images": count}))


def main() -> None:
    folder = images("flowers")
    ours, plain, whole, count = [], [], [], 0
    with workplace() as place:
        run, cache = place / "run", place / "cache"
        command = [*GRAFT, "train", str(folder), "--model", WEIGHTS, "--views", "1"]
        timed([*command, "--out", str(run)], cache)
        for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 3):
            printed = json.loads(timed(module("predict_speed", "rate", run, folder), cache)[1])
            ours.append(printed["rate"])
            printed = json.loads(timed(module("plain", "predict", folder), cache)[1])
            count = printed["images"]
            plain.append(count / printed["seconds"])
            predict = [*GRAFT, "predict", str(run), str(folder), "--json"]
            whole.append(timed(predict, cache)[0])
    show(
        "predict_speed",
        images=count,
        graft_images_s=median(ours),
        plain_images_s=median(plain),
        ratio=median(ours) / median(plain),
        graft_predict_process_s=median(whole),
    )


if __name__ == "__main__":
    rate(*sys.argv[2:]) if sys.argv[1:2] == ["rate"] else main()
