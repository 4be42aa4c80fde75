import csv
import json

import pytest
from PIL import Image

from graft.runs.run import Run

FLOWERS = ["daisy", "rose", "tulip"]


@pytest.fixture(scope="session")
def make_run():
    """The function that makes a finished run and its images below a folder."""
    return build


def image(file, color):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30), color).save(file)
    return file


def score(right, n):
    return {"value": right / n, "low": max(0, right / n - 0.1), "high": min(1, right / n + 0.05)}


def build(folder, classes=FLOWERS, each=10, wrong=2, **changes):
    """A finished run with `each` images a class, the first `wrong` test images misclassified."""
    run, k = folder / "run", len(classes)
    run.mkdir()
    files, rows, predictions = {}, [], []
    confusion = [[0] * k for _ in classes]
    for c, label in enumerate(classes):
        for i in range(each):
            path = f"{label}/{i}.jpg"
            split = "test" if i % 5 == 0 else "val" if i % 5 == 1 else "train"
            files[path] = image(folder / "images" / f"{c}_{i}.jpg", (40 * c % 256, 20 * i, 90))
            rows.append([path, label, split, *[f"{c * each + i:064x}"] * 2])
            if split == "test":
                predicted = (c + 1) % k if len(predictions) < wrong else c
                odds = [0.05 / (k - 1)] * k
                odds[predicted] = 0.95
                predictions.append([path, "test", label, *odds])
                confusion[c][predicted] += 1
    table(run / "dataset.csv", ["path", "label", "split", "group_id", "sha256"], rows)
    table(run / "predictions.csv", ["path", "split", "label", *classes], predictions)
    n = len(predictions)
    row = {"precision": 0.75, "recall": 0.5, "f1": 0.6}
    row |= {f"{name}_low": row[name] - 0.2 for name in list(row)}
    row |= {f"{name}_high": row[name] + 0.2 for name in ("precision", "recall", "f1")}
    metrics = {
        "split": "test",
        "n": n,
        "classes": classes,
        "accuracy": score(n - wrong, n) | {"method": "Wilson"},
        **{f"macro_{name}": 0.625 for name in ("precision", "recall", "f1")},
        "intervals": {"macro_f1": [0.5, 0.7], "ece": [0.01, 0.2], "method": "bootstrap"},
        "per_class": {name: row | {"n": sum(confusion[c])} for c, name in enumerate(classes)},
        "confusion": confusion,
        "ece": 0.0421,
        "reliability": [
            {"low": 0.0, "high": 0.9, "n": 0, "confidence": None, "accuracy": None},
            {"low": 0.9, "high": 1.0, "n": n, "confidence": 0.95, "accuracy": (n - wrong) / n},
        ],
        "baseline": {"majority_class": classes[0], "accuracy": score(1, 9), "chosen_on": "train"},
        "temperature": 1.234,
        "seconds": {"decode_and_backbone": 3.5, "fit": 1.25, "total": 125.0},
    }
    epoch = {"train_loss": 0.5, "train_accuracy": 0.9, "val_accuracy": 0.8, "seconds": 0.25}
    contents = {
        "metrics": metrics,
        "findings": [],
        "history": [epoch | {"epoch": i, "val_loss": 1 / i, "learning_rate": 0.1} for i in (1, 2)],
        "model": {
            "backbone": {"name": "resnet18"},
            "classes": classes,
            "parameters": {"total": 11_000_000, "trained": 2565},
        },
        "config": {
            "settings": {"batch_size": 128, "augment": None},
            "source": "/data/flowers",
            "graft": "0.1.0",
            "versions": {"torch": "2.9.0"},
            "seed": 7,
            "device": "cpu",
            "started": "2026-01-02T03:04:05+00:00",
        },
    }
    for name, change in changes.items():
        contents[name] = contents[name] | change if isinstance(change, dict) else change
    history = "".join(json.dumps(line) + "\n" for line in contents.pop("history"))
    (run / "history.jsonl").write_text(history)
    for name, value in contents.items():
        (run / f"{name}.json").write_text(json.dumps(value))
    found = Run(run)
    found.files = files
    return found


def table(file, header, rows):
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])
