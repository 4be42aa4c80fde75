"""Does the fast path give the same labels as the float32 eager model? On test splits of flowers.

Each run's predictions.csv against the saved model run by PyTorch in float32, in a plain loop.
"""

import numpy as np
import torch

from benchmarks.common import GRAFT, WEIGHTS, images, show, timed, workplace
from graft.data.decode import center_view, decode
from graft.inference.saved_model import load
from graft.runs.run import Run

SEEDS = (42, 43, 44)


def main() -> None:
    folder = images("flowers")
    same, fast_right, eager_right, count = 0, 0, 0, 0
    with workplace() as place:
        for seed in SEEDS:
            run = place / f"run{seed}"
            train = [*GRAFT, "train", str(folder), "--model", WEIGHTS, "--seed", str(seed)]
            timed([*train, "--out", str(run)], place / "cache")
            classifier = load(run)
            encoder, preprocess = classifier.backbone.build(), classifier.backbone.preprocess
            paths, labels, fast = Run(run).predictions("test")
            eager = []
            for start in range(0, len(paths), 32):
                views = [
                    center_view(decode((folder / path).read_bytes()), preprocess)
                    for path in paths[start : start + 32]
                ]
                with torch.inference_mode():
                    eager.append(classifier.head(encoder(torch.from_numpy(np.stack(views)))))
            answers = torch.cat(eager).argmax(1).numpy()
            same += int((answers == fast.argmax(1)).sum())
            fast_right += int((fast.argmax(1) == labels).sum())
            eager_right += int((answers == labels).sum())
            count += len(paths)
    show(
        "truth",
        images=count,
        labels_agree=same / count,
        accuracy_fast=fast_right / count,
        accuracy_float32=eager_right / count,
        difference_points=100 * abs(fast_right - eager_right) / count,
    )


if __name__ == "__main__":
    main()
