"""The same head fitted again on other parts of the same features: what a leak, another split or
fewer pictures would have made of the result. Features are computed already, so each costs seconds.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.data.split import split, units
from graft.evaluation.calibration import fit_temperature
from graft.evaluation.curve import fit_curve
from graft.evaluation.metrics import confusion_matrix, evaluate
from graft.evaluation.per_class import precision_recall_f1
from graft.learning.learn import probe
from graft.learning.prepare import complete
from graft.learning.stage import Job
from graft.models.classifier import Classifier
from graft.progress import Progress

Parts = NDArray[np.str_]

# Below this share of test pictures with a copy in train a leak cannot show.
LEAKS = 0.01
# Shares of the training part that a learning curve tries, and how often each.
SHARES, TRIES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0), (4, 4, 3, 2, 1)
# Pictures of a class, at least, in the smallest share.
FEWEST = 3


def refit(
    job: Job, parts: Parts, seed: int, views: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """A head fitted and calibrated on these parts (N,); its test rows (n,) and their calibrated
    probabilities (n, K).
    """
    prepared = changed(job.prepared, parts=parts)
    complete(prepared.frozen, prepared.examples, prepared.digests, parts, views, job.progress)
    with tempfile.TemporaryDirectory() as folder:
        plan = changed(job.plan, probe=changed(job.plan.probe, seed=seed), events=None)
        config = changed(job.config, seed=seed)
        other = Job(prepared, plan, config, Path(folder), Progress(), False)
        head = probe(other, views).cpu()
    if job.plan.engine is None:
        raise ValueError("a network trained from pixels has no frozen features to fit again")
    classifier = Classifier(job.backbone, head, prepared.classes, job.plan.engine)
    val, test = (prepared.features(part).whole() for part in ("val", "test"))
    classifier.temperature = fit_temperature(classifier.logits(val), other.labels("val"))
    return prepared.rows("test"), classifier.probabilities(test)


def _score(job: Job, rows: NDArray[np.int64], probabilities: NDArray[np.float64]) -> dict[str, Any]:
    prepared = job.prepared
    found = evaluate(
        probabilities, prepared.labels[rows], prepared.classes, groups=prepared.groups(rows)
    )
    return {
        "accuracy": found["accuracy"],
        "macro_f1": found["macro_f1"],
        "macro_f1_interval": found["intervals"]["macro_f1"],
        "ece": found["ece"],
        "n": found["n"],
        "per_class": {name: row["recall"] for name, row in found["per_class"].items()},
    }


def leaky(job: Job) -> dict[str, Any] | None:
    """What a split that ignores near duplicates would have shown; None where there are none, or
    the parts were given. `accuracy` is None where fewer than LEAKS of its test pictures have a
    copy in train: too few to show.
    """
    prepared = job.prepared
    given = any(example.part for example in prepared.examples)
    if not prepared.near or given or job.config.time_by is not None:
        return None
    parts, _ = split(
        prepared.examples, prepared.digests, job.config.seed, val_share=job.config.val_share
    )
    seen = sum(
        parts[i] == "test"
        for cluster in prepared.near
        if {parts[i] for i in cluster} >= {"train", "test"}
        for i in cluster
    )
    found: dict[str, Any] = {
        "near": sum(map(len, prepared.near)),
        "test_seen": int(seen),
        "n": int((parts == "test").sum()),
        "accuracy": None,
    }
    if seen < LEAKS * found["n"]:
        return found
    rows, probabilities = refit(job, parts, job.config.seed, prepared.frozen.views)
    return found | _score(job, rows, probabilities)


def folds(job: Job, count: int) -> dict[str, Any]:
    """k-fold cross-validation: every usable picture is in test once.

    Pictures that belong together stay in one fold, and classes are as even as that allows. Each
    fold leaves a half of another for val and the rest, 70 % for five folds, for train.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    prepared, config = job.prepared, job.config
    unit = np.empty(len(prepared.labels), np.int64)
    for number, members in enumerate(units(prepared.examples, prepared.digests, prepared.near)):
        unit[members] = number
    dealt = StratifiedGroupKFold(2 * count, shuffle=True, random_state=config.seed)
    half = np.empty(len(unit), np.int64)
    for number, (_, rows) in enumerate(dealt.split(unit, prepared.labels, unit)):
        half[rows] = number
    probabilities = np.zeros((len(unit), len(prepared.classes)))
    each = []
    for number in range(count):
        parts = np.full(len(unit), "train", "<U5")
        parts[half // 2 == number] = "test"
        parts[half == (2 * number + 2) % (2 * count)] = "val"
        rows, found = refit(job, parts, config.seed, prepared.frozen.views)
        probabilities[rows] = found
        each.append(float((found.argmax(1) == prepared.labels[rows]).mean()))
        job.progress.say(f"fold {number + 1} of {count}: {each[-1]:.1%}")
    return _score(job, np.arange(len(unit)), probabilities) | {"folds": count, "each": each}


def repeats(job: Job, count: int) -> dict[str, Any]:
    """The accuracy on the test parts of `count` other splits, with the seeds that follow."""
    prepared = job.prepared
    each = []
    for number in range(1, count + 1):
        seed = job.config.seed + number
        parts, _ = split(
            prepared.examples, prepared.digests, seed, prepared.near, job.config.val_share
        )
        rows, found = refit(job, parts, seed, prepared.frozen.views)
        each.append(float((found.argmax(1) == prepared.labels[rows]).mean()))
        job.progress.say(f"repeat {number} of {count}, seed {seed}: {each[-1]:.1%}")
    spread = float(np.std(each, ddof=1)) if count > 1 else None
    return {"each": each, "mean": float(np.mean(each)), "standard_deviation": spread}


def learning_curve(job: Job) -> dict[str, Any]:
    """Accuracy on test against the number of training pictures, and what twice as many would give.

    Nested random subsets of each class, each fitted anew on one view.
    """
    prepared, config = job.prepared, job.config
    train = prepared.rows("train")
    points = []
    for share, tries in zip(SHARES, TRIES, strict=True):
        for number in range(tries):
            kept = _subset(prepared.labels[train], share, config.seed + number)
            parts = prepared.parts.copy()
            parts[train] = "out"
            parts[train[kept]] = "train"
            rows, found = refit(job, parts, config.seed + number, 1)
            # Intervals, a thousand resamples each, are not asked for here.
            classes = prepared.classes
            confusion = confusion_matrix(prepared.labels[rows], found.argmax(1), len(classes))
            recall = precision_recall_f1(confusion)[1].tolist()
            points.append(
                {
                    "pictures": len(kept),
                    "accuracy": float(np.trace(confusion) / len(rows)),
                    "per_class": dict(zip(classes, recall, strict=True)),
                }
            )
        job.progress.say(f"{len(kept):,} training pictures: {points[-1]['accuracy']:.1%}")
    sizes = np.array([point["pictures"] for point in points], np.float64)
    errors = 1 - np.array([point["accuracy"] for point in points])
    tested = int((prepared.parts == "test").sum())
    return {"points": points, **fit_curve(sizes, errors, tested), "next": _next_class(points)}


def _subset(labels: NDArray[np.int64], share: float, seed: int) -> NDArray[np.int64]:
    random = np.random.default_rng(seed)
    kept = []
    for label in np.unique(labels):
        mine = random.permutation(np.flatnonzero(labels == label))
        kept.append(mine[: max(FEWEST, round(share * len(mine)))])
    return np.sort(np.concatenate(kept))


def _next_class(points: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The classes, by how much recall the last doublings of pictures brought each and is still to
    be had: where further pictures are likely to help most.
    """
    sizes = sorted({point["pictures"] for point in points})
    before = [p["per_class"] for p in points if p["pictures"] in sizes[-3:-1]]
    now = points[-1]["per_class"]
    found = []
    for name, recall in now.items():
        earlier = float(np.mean([p[name] for p in before])) if before else recall
        found.append({"class": name, "recall": recall, "gained": recall - earlier})
    return sorted(found, key=lambda row: row["recall"] - max(row["gained"], 0.0))
