"""CIFAR-10 on its own test split: accuracy and the time of the whole process, cold.

[WAY…]: base_cnn, deep_cnn, frozen, last20, whole (the default network); one run each, seed 42.
"""

import json
import sys

from benchmarks.common import GRAFT, WEIGHTS, images, show, timed, workplace

SIZE = "128"  # pixels a side that CIFAR's 32 are enlarged to for a pretrained network
LAST = ["--views", "2", "--batch-size", "128", "--epochs", "12"]
WAYS = {
    "base_cnn": ["--model", "base_cnn", "--image-size", "32", "--epochs", "6"],
    "deep_cnn": [
        *("--model", "deep_cnn", "--image-size", "32"),
        *("--epochs", "22", "--augment", "strong", "--val-fraction", "0.05"),
    ],
    "frozen": ["--model", WEIGHTS, "--image-size", SIZE, "--views", "2"],
    "last20": ["--model", WEIGHTS, "--image-size", SIZE, "--unfreeze", "20%", *LAST],
    "whole": [
        *("--model", WEIGHTS, "--image-size", "96", "--unfreeze", "all", "--views", "2"),
        *("--batch-size", "64", "--epochs", "6", "--learning-rate", "1e-3"),
        *("--batch-norm", "train", "--val-fraction", "0.05"),
    ],
}


def main() -> None:
    for way in sys.argv[1:] or WAYS:
        with workplace() as place:
            train = [*GRAFT, "train", str(images("cifar10")), *WAYS[way], "--json", "--out"]
            took, printed = timed([*train, str(place / "run")], place / "cache")
        metrics = json.loads(printed)
        accuracy = metrics["accuracy"]
        show(
            "cifar",
            way=way,
            accuracy=accuracy["value"],
            interval=[accuracy["low"], accuracy["high"]],
            n=metrics["n"],
            process_s=round(took),
            seconds=metrics["seconds"],
        )


if __name__ == "__main__":
    main()
