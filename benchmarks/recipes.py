"""What each setting of a recipe is worth: means over seeds, test and validation.

[frozen | loop | last20 | balance | pixels]…: the default network on flowers with its head alone
(its views, its loop) and with its last 20 %; the same on flowers of which two classes lack nine
of ten images; base_cnn on CIFAR-10.
"""

import csv
import json
import random
import statistics
import sys
from pathlib import Path

from benchmarks.common import GRAFT, WEIGHTS, images, photos, show, timed, workplace

SEEDS = (42, 43, 44)
RARE, KEPT = ("rose", "roses", "tulip", "tulips"), 0.1
HEAD: dict[str, list[str]] = {
    "as it is": [],
    "3 views": ["--views", "3"],
    "3 views, augment light": ["--views", "3", "--augment", "light"],
    "3 views, augment strong": ["--views", "3", "--augment", "strong"],
    "mixup 0.2": ["--mixup", "0.2"],
}
LOOP: dict[str, list[str]] = {
    "as it is": [],
    "cosine": ["--schedule", "cosine"],
    "plateau": ["--schedule", "plateau"],
    "label smoothing 0": ["--label-smoothing", "0"],
    "ema 0.99": ["--ema", "0.99"],
    "SGD 0.05": ["--optimizer", "sgd", "--learning-rate", "0.05", "--weight-decay", "1e-4"],
}
LAST20: dict[str, list[str]] = {
    "as it is": [],
    "augment none": ["--augment", "none"],
    "augment strong": ["--augment", "strong"],
    "no mixup": ["--mixup", "0"],
    "no ema": ["--ema", "0"],
    "1e-3, 10 epochs": ["--learning-rate", "1e-3", "--epochs", "10", "--mixup", "0", "--ema", "0"],
    "batch norm train": ["--batch-norm", "train"],
}
BALANCE = {way: ["--balance", way] for way in ("none", "sampling")}
PIXELS: dict[str, list[str]] = {
    "as it is": [],
    "mixup 0.2": ["--mixup", "0.2"],
    "cutmix 1": ["--cutmix", "1"],
}


def measured(
    kind: str, source: Path, ways: dict[str, list[str]], more: list[str], seeds: tuple[int, ...]
) -> None:
    with workplace() as place:
        for way, settings in ways.items():
            found = []
            for seed in seeds:
                command = [*GRAFT, "train", str(source), *more, *settings, "--seed", str(seed)]
                run = place / f"{way}-{seed}"
                took, printed = timed([*command, "--json", "--out", str(run)], place / "cache")
                metrics = json.loads(printed)
                lines = [json.loads(x) for x in (run / "history.jsonl").read_text().splitlines()]
                best = lines[metrics["best_epoch"] - 1]["val_accuracy"]
                found.append((metrics["accuracy"]["value"], best, metrics["macro_recall"], took))
            test, val, recall, took = (
                statistics.mean(column) for column in zip(*found, strict=True)
            )
            show(
                "recipes",
                kind=kind,
                way=way,
                seeds=len(seeds),
                test=round(test, 4),
                val=round(val, 4),
                macro_recall=round(recall, 4),
                each=[round(row[0], 4) for row in found],
                s=round(took),
            )


def uneven(place: Path) -> Path:
    table, generator = place / "uneven.csv", random.Random(0)
    with table.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image", "label", "split"])
        # The test split keeps all it has, or two classes would be measured on a handful.
        for file in photos("flowers"):
            label, split = file.parent.name, "test" if generator.random() < 0.3 else "train"
            if split == "test" or label not in RARE or generator.random() < KEPT:
                writer.writerow([file, label, split])
    return table


def main() -> None:
    flowers = images("flowers")
    for kind in sys.argv[1:] or ("frozen", "loop", "last20", "balance", "pixels"):
        if kind == "frozen":
            measured(kind, flowers, HEAD, ["--model", WEIGHTS], SEEDS)
        elif kind == "loop":
            measured(kind, flowers, LOOP, ["--model", WEIGHTS], SEEDS)
        elif kind == "last20":
            measured(kind, flowers, LAST20, ["--model", WEIGHTS, "--unfreeze", "20%"], SEEDS)
        elif kind == "balance":
            with workplace() as place:
                measured(kind, uneven(place), BALANCE, ["--model", WEIGHTS], SEEDS)
        else:
            small = ["--model", "base_cnn", "--image-size", "32", "--epochs", "6"]
            measured(kind, images("cifar10"), PIXELS, small, (42,))


if __name__ == "__main__":
    main()
