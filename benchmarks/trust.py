"""Whether the numbers keep what they say.

[ood_score | intervals | sets | ece]…: images out of distribution, after training on flowers;
intervals and prediction sets drawn from real predictions; calibration on flowers and CIFAR-10.
"""

import csv
import json
import sys
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks.common import GRAFT, WEIGHTS, images, photos, show, timed, workplace
from graft.evaluation.metrics import evaluate, expected_calibration_error
from graft.evaluation.selective import (
    prediction_sets,
    probability_for_coverage,
    probability_for_error_budget,
)
from graft.runs.run import Run

DRAWS = 1000


def trained(name: str, place: Path, *more: str) -> dict:
    command = [*GRAFT, "train", str(images(name)), "--model", WEIGHTS, "--json"]
    _, printed = timed([*command, "--out", str(place / "run"), *more], place / "cache")
    return json.loads(printed)


def ood_scores(run: Path, files: list[Path], cache: Path) -> tuple[np.ndarray, float]:
    listed = [str(file) for file in files]
    command = [*GRAFT, "predict", str(run), *listed, "--json"]
    _, printed = timed(command, cache)
    answers = [json.loads(line) for line in printed.splitlines()]
    refused = sum(answer["label"] is None for answer in answers) / len(answers)
    return np.array([answer["ood_score"] for answer in answers]), refused


def ood_score() -> None:
    with workplace() as place:
        trained("flowers", place)
        with (place / "run" / "dataset.csv").open(newline="") as stream:
            rows = [row for row in csv.DictReader(stream) if row["split"] == "test"]
        known = [images("flowers") / row["path"] for row in rows]
        own, refused = ood_scores(place / "run", known, place / "cache")
        show("ood_score", shown="flowers, test split", n=len(own), refused=refused)
        for name, step in (("cats_dogs", 1), ("imagenet_samples", 1), ("cifar10/test", 10)):
            dataset, _, split = name.partition("/")
            files = [file for file in photos(dataset) if not split or split in file.parts][::step]
            found, refused = ood_scores(place / "run", files, place / "cache")
            truth = np.r_[np.zeros(len(own)), np.ones(len(found))]
            auroc = float(roc_auc_score(truth, np.r_[own, found]))
            show("ood_score", shown=name, n=len(found), refused=refused, auroc=auroc)


def population(place: Path) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and labels of test and val images of a run: real predictions."""
    run = Run(place / "run")
    splits = [run.predictions(split) for split in ("test", "val")]
    return np.concatenate([p[2] for p in splits]), np.concatenate([p[1] for p in splits])


def intervals() -> None:
    with workplace() as place:
        trained("flowers", place)
        p, labels = population(place)
    classes = [str(i) for i in range(p.shape[1])]
    truth = evaluate(p, labels, classes)
    random = np.random.default_rng(0)
    for n in (100, 300):
        held = dict.fromkeys(("accuracy", "macro_f1", "macro_recall"), 0)
        of_class = dict.fromkeys(("precision", "recall", "f1"), 0)
        for _ in range(DRAWS):
            rows = random.integers(0, len(p), n)
            found = evaluate(p[rows], labels[rows], classes)
            for name in held:
                low, high = (
                    (found[name]["low"], found[name]["high"])
                    if name == "accuracy"
                    else found["intervals"][name]
                )
                right = truth[name]["value"] if name == "accuracy" else truth[name]
                held[name] += low <= right <= high
            for label in classes:
                row = found["per_class"][label]
                for name in of_class:
                    right = truth["per_class"][label][name]
                    of_class[name] += row[f"{name}_low"] <= right <= row[f"{name}_high"]
        each = {f"class_{name}": v / DRAWS / len(classes) for name, v in of_class.items()}
        show("intervals", n=n, draws=DRAWS, **{k: v / DRAWS for k, v in held.items()}, **each)


def sets() -> None:
    with workplace() as place:
        trained("flowers", place)
        p, labels = population(place)
    random = np.random.default_rng(0)
    for coverage in (0.9, 0.95, 0.99):
        held, exact, size = [], [], []
        for _ in range(DRAWS):
            order = random.permutation(len(p))
            val, test = order[: len(p) // 2], order[len(p) // 2 :]
            least = probability_for_coverage(p[val], labels[val], coverage)
            inside = prediction_sets(p[test], least)
            held.append(inside[np.arange(len(test)), labels[test]].mean())
            exact.append((p[test, labels[test]] >= least).mean())
            size.append(inside.sum(1).mean())
        error = (coverage * (1 - coverage) / (len(p) // 2)) ** 0.5
        show(
            "sets",
            nominal=coverage,
            held=float(np.mean(held)),
            without_the_best_label_always_in=float(np.mean(exact)),
            standard_error_of_one=error,
            labels=float(np.mean(size)),
            n=len(p) // 2,
        )
    for budget in (0.02, 0.05):
        broken, answered, given = 0, [], 0
        for _ in range(DRAWS):
            order = random.permutation(len(p))
            val, test = order[: len(p) // 2], order[len(p) // 2 :]
            least = probability_for_error_budget(p[val], labels[val], budget)
            if least is None:
                continue
            given += 1
            chosen = p[test].max(1) >= least
            answered.append(chosen.mean())
            broken += (p[test].argmax(1) != labels[test])[chosen].mean() > budget
        share = float(np.mean(answered)) if answered else None
        show("max_error", budget=budget, given=given / DRAWS, answered=share, broken=broken / DRAWS)


def ece() -> None:
    ways = {"flowers": [], "cifar10": ["--image-size", "96", "--views", "1"]}
    for name, more in ways.items():
        with workplace() as place:
            found = trained(name, place, *more)
            _, _, p = Run(place / "run").predictions("test")
            folds = {}
            if name == "flowers":
                validate = [*GRAFT, "validate", str(place / "run"), "--folds", "5", "--json"]
                folds = json.loads(timed(validate, place / "cache")[1])["folds"]
        # Labels drawn from the probabilities themselves: what chance alone makes of the ECE.
        random = np.random.default_rng(0)
        drawn = ((p.cumsum(1) < random.random((200, len(p), 1))).sum(2)).clip(0, p.shape[1] - 1)
        floor = float(np.mean([expected_calibration_error(p, labels) for labels in drawn]))
        show(
            "ece",
            data=name,
            test=found["ece"],
            interval=found["intervals"]["ece"],
            if_perfectly_calibrated=floor,
            n=found["n"],
            folds={key: folds.get(key) for key in ("ece", "n")},
        )


def main() -> None:
    ways = {"ood_score": ood_score, "intervals": intervals, "sets": sets, "ece": ece}
    for name in sys.argv[1:] or ways:
        ways[name]()


if __name__ == "__main__":
    main()
