"""What the constants of a head on frozen features are worth: docs/recipes.md.

[head | features | close_calls | resize]…: the default network on flowers, three seeds (five for
close calls): other heads and schedules; other parts of the features; labels that differ between
half precision and float32; the whole image squashed against a crop of it, on cats and dogs, in
five folds.
"""

import json
import os
import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from benchmarks.common import GRAFT, WEIGHTS, images, show, timed, workplace
from graft.features.activations import Activations
from graft.inference.saved_model import load
from graft.models.runtime import detect_runtime
from graft.runs.run import Run
from graft.training.head_fit import head_fit
from graft.training.loop import fit
from graft.training.refit import Refit, load_refit
from graft.utils.progress import SILENT

SEEDS = (42, 43, 44)
HIDDEN = "graft.training.head_fit.HIDDEN"
INPUT = "graft.training.plan.USUAL_DROPOUT_IN"
# The constants and the settings of the loop that each way changes.
HEADS: dict[str, tuple[dict[str, float], dict[str, float]]] = {
    "as it is": ({}, {}),
    "linear": ({HIDDEN: 0}, {}),
    "512 units": ({HIDDEN: 512}, {}),
    "dropout of the features 0.4": ({INPUT: 0.4}, {}),
    "30 epochs": ({}, {"epochs": 30}),
    "rate 1e-3": ({}, {"learning_rate": 1e-3}),
    "label smoothing 0.05": ({}, {"label_smoothing": 0.05}),
}
MARGINS = (0.0, 0.05, 0.10, 0.15, 0.20)


@dataclass(frozen=True)
class Columns:
    """A table of features with some of its columns."""

    values: np.ndarray
    columns: np.ndarray

    def features(self, rows: np.ndarray, view: int = 0) -> Activations:
        """The chosen columns of these rows."""
        return Activations.of(np.ascontiguousarray(self.values[rows][:, self.columns]))


@contextmanager
def trained(place: Path, seed: int, precision: str = "auto") -> Iterator[tuple[Path, Refit]]:
    """A run on flowers and what it takes to fit its head again."""
    run, cache = place / f"run-{seed}-{precision}", place / "cache"
    with mock.patch.dict(os.environ, GRAFT_CACHE=str(cache), GRAFT_PRECISION=precision):
        if not run.exists():
            command = [*GRAFT, "train", str(images("flowers")), "--model", WEIGHTS]
            timed([*command, "--seed", str(seed), "--out", str(run)], cache)
        yield run, load_refit(Run(run), SILENT)


def values_of(refit: Refit) -> np.ndarray:
    """The features of all images (N, D), of the unchanged image."""
    return np.asarray(refit.table.features(np.arange(len(refit.table)), 0).whole())


def scored(refit: Refit, table: object, columns: int, seed: int, **more: float) -> list[float]:
    """Accuracy on val and on test of a head fitted on a table's features."""
    backbone = replace(refit.plan.backbone, features=columns)
    made = head_fit(replace(refit.plan, backbone=backbone), table, refit.split, 1, seed)
    settings = replace(refit.plan.probe, seed=seed, **more)
    fit(made.head, made.train, made.steps, made.val, settings, detect_runtime())
    found = []
    for split in ("val", "test"):
        features = torch.from_numpy(table.features(refit.split.rows(split)).whole())
        with torch.inference_mode():
            answers = made.head.cpu()(features).argmax(1).numpy()
        found.append(float((answers == refit.split.labels_of(split)).mean()))
    return found


def told(kind: str, found: dict[str, list[list[float]]]) -> None:
    """A line for each way: val and test, the means over seeds and each."""
    for way, pairs in found.items():
        val, test = ([round(pair[i], 4) for pair in pairs] for i in (0, 1))
        both = statistics.mean(v for pair in pairs for v in pair)
        means = {"val": statistics.mean(val), "test": statistics.mean(test), "both": both}
        rounded = {name: round(value, 4) for name, value in means.items()}
        show("frozen_choices", kind=kind, way=way, **rounded, each=test, seeds=len(pairs))


def head() -> None:
    found: dict[str, list[list[float]]] = {way: [] for way in HEADS}
    with workplace() as place:
        for seed in SEEDS:
            for way, (constants, settings) in HEADS.items():
                # Before the plan is made, which reads some of them.
                patches = [mock.patch(name, value) for name, value in constants.items()]
                with trained(place, seed) as (_, refit):
                    for patch in patches:
                        patch.start()
                    values = values_of(refit)
                    table = Columns(values, np.arange(values.shape[1]))
                    found[way].append(scored(refit, table, values.shape[1], seed, **settings))
                    for patch in patches:
                        patch.stop()
    told("head", found)


def parts(refit: Refit) -> dict[str, np.ndarray]:
    """Columns of the features by name. They are stage after stage, of each the mean, root mean
    square and maximum.
    """
    encoder, count = refit.plan.backbone.build(), refit.plan.backbone.features
    with torch.inference_mode():
        _, maps = encoder.passed(torch.zeros(1, 3, *encoder.input_shape[:2]), encoder.order)
    widths = [each.shape[1] for each in maps]
    if 3 * sum(widths) != count:
        sys.exit(f"expected {3 * sum(widths)} features of stages of {widths}, got {count}")
    stage = np.concatenate([np.full(3 * width, s) for s, width in enumerate(widths)])
    kind = np.concatenate([np.repeat(np.arange(3), width) for width in widths])
    last, late = len(widths) - 1, stage >= len(widths) - 4
    chosen = {
        "all stages, mean + root mean square + maximum": np.full(count, True),
        "all stages, mean + maximum": kind != 1,
        "all stages, mean": kind == 0,
        "last four stages, all three": late,
        "last four stages, mean": late & (kind == 0),
        "last stage, all three": stage == last,
        "last stage, mean": (stage == last) & (kind == 0),
    }
    return {name: np.flatnonzero(columns) for name, columns in chosen.items()}


def features() -> None:
    found: dict[str, list[list[float]]] = {}
    with workplace() as place:
        for seed in SEEDS:
            with trained(place, seed) as (_, refit):
                values = values_of(refit)
                for way, columns in parts(refit).items():
                    pair = scored(refit, Columns(values, columns), len(columns), seed)
                    found.setdefault(f"{way} ({len(columns):,})", []).append(pair)
    told("features", found)


def close_calls() -> None:
    agree: list[np.ndarray] = []
    margins: list[np.ndarray] = []
    with workplace() as place:
        with trained(place, SEEDS[0], "float32") as (_, refit):
            exact = values_of(refit)
        for seed in (42, 43, 44, 45, 46):
            with trained(place, seed) as (run, refit):
                rows = np.concatenate([refit.split.rows(name) for name in ("val", "test")])
                fast, classifier = values_of(refit)[rows], load(run)
                with torch.inference_mode():
                    made = [
                        (classifier.head(torch.from_numpy(x)) / classifier.temperature).softmax(1)
                        for x in (fast, exact[rows])
                    ]
                half, full = (p.numpy() for p in made)
                best = np.sort(half, 1)
                margins.append(best[:, -1] - best[:, -2])
                agree.append(half.argmax(1) == full.argmax(1))
    same, margin = np.concatenate(agree), np.concatenate(margins)
    for limit in MARGINS:
        again = margin < limit
        figures = {"again": float(again.mean()), "differ": float((~same & ~again).mean())}
        show("frozen_choices", kind="close_calls", n=len(same), margin=limit, **figures)


def resize() -> None:
    for size in ("224", "288"):
        for way in ("crop", "squash"):
            each = []
            for seed in SEEDS:
                with workplace() as place:
                    command = [*GRAFT, "train", str(images("cats_dogs")), "--model", WEIGHTS]
                    more = ["--resize", way, "--image-size", size, "--seed", str(seed)]
                    run, cache = place / "run", place / "cache"
                    timed([*command, *more, "--out", str(run)], cache)
                    validate = [*GRAFT, "validate", str(run), "--folds", "5", "--json"]
                    folds = json.loads(timed(validate, cache)[1])["folds"]
                    each.append(round(folds["accuracy"]["value"], 4))
            mean = round(statistics.mean(each), 4)
            show("frozen_choices", kind="resize", size=size, way=way, accuracy=mean, each=each)


WAYS = {
    "head": head,
    "features": features,
    "close_calls": close_calls,
    "resize": resize,
}


def main() -> None:
    for name in sys.argv[1:] or WAYS:
        WAYS[name]()


if __name__ == "__main__":
    main()
