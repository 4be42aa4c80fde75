"""Other ways than graft's to find label errors and what is unlike the training images.

[labels | ood]…: the features of the default network on flowers. 5 % of the labels changed, three
seeds, told by margins and by confident learning, all on the same leave-one-out scores; scores of
photos of other things against the test split. docs/recipes.md has the figures.
"""

import sys
from collections.abc import Callable
from unittest import mock

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from benchmarks.common import photos, show, workplace
from benchmarks.frozen_choices import trained, values_of
from graft.features.activations import Activations
from graft.inference.saved_model import load
from graft.models.ood import fit_ood_detector
from graft.quality.label_errors import leave_one_out

SEED, PLANTED = 42, (1, 2, 3)
CHANGED, MARGINS = 0.05, (0.2, 0.3, 0.4)
Score = Callable[[np.ndarray], np.ndarray]


def by_margin(scores: np.ndarray, labels: np.ndarray, margin: float) -> np.ndarray:
    """Images (N,) of which another class's score exceeds the label's own by a margin."""
    own = scores[np.arange(len(labels)), labels]
    others = scores.copy()
    others[np.arange(len(labels)), labels] = -np.inf
    return others.max(1) - own > margin


def by_confident_learning(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Images (N,) off the diagonal of the confident joint (Northcutt et al. 2021, section 3.1)."""
    p = scores.clip(1e-6)
    p /= p.sum(1, keepdims=True)
    least = np.array([p[labels == k, k].mean() for k in range(p.shape[1])])
    sure = np.where(p >= least, p, 0)
    return (sure.max(1) > 0) & (sure.argmax(1) != labels)


def labels() -> None:
    with workplace() as place, trained(place, SEED) as (_, refit):
        values, given = Activations.of(values_of(refit)), refit.split.labels
        classes = len(refit.split.classes)
    found: dict[str, list[tuple[float, float]]] = {}
    for seed in PLANTED:
        generator = np.random.default_rng(seed)
        changed = np.zeros(len(given), bool)
        changed[generator.choice(len(given), round(CHANGED * len(given)), replace=False)] = True
        turned = generator.integers(1, classes, len(given))
        wrong = np.where(changed, (given + turned) % classes, given)
        scores = leave_one_out(values, wrong, classes)[0]
        told = {f"margin {m}": by_margin(scores, wrong, m) for m in MARGINS}
        told["confident learning"] = by_confident_learning(scores, wrong)
        for way, flags in told.items():
            right = (flags & changed).sum()
            found.setdefault(way, []).append((right / changed.sum(), right / flags.sum()))
    for way, pairs in found.items():
        recall, precision = ([round(float(pair[i]), 3) for pair in pairs] for i in (0, 1))
        show("audit_choices", kind="labels", way=way, found=recall, truly_changed=precision)


def ood_scores(train: np.ndarray, labels: np.ndarray, val: np.ndarray) -> dict[str, Score]:
    """Ways to score features (N, D): (N,), higher for what is new."""
    x = train.astype(np.float64)
    mean, std = x.mean(0), x.std(0) + 1e-3
    z = (x - mean) / std
    centers = np.stack([z[labels == label].mean(0) for label in np.unique(labels)])
    within = z - centers[labels]
    inner = np.linalg.inv(within.T @ within / len(z) + np.eye(z.shape[1]))
    whole = np.linalg.inv(z.T @ z / len(z) + np.eye(z.shape[1]))
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    ridge = Ridge(len(z)).fit(z, np.eye(len(centers))[labels])

    def mahalanobis(new: np.ndarray) -> np.ndarray:
        return np.min([(((new - c) @ inner) * (new - c)).sum(1) for c in centers], axis=0)

    def relative(new: np.ndarray) -> np.ndarray:
        return mahalanobis(new) - ((new @ whole) * new).sum(1)

    def fifth(new: np.ndarray) -> np.ndarray:
        near = new / np.linalg.norm(new, axis=1, keepdims=True) @ unit.T
        return -np.sort(near, axis=1)[:, -5]

    def residual(directions: int) -> Score:
        with mock.patch("graft.models.ood.DIRECTIONS", directions):
            return fit_ood_detector(train, val, 0).score

    def scaled(score: Score) -> Score:
        return lambda new: score((new.astype(np.float64) - mean) / std)

    return {
        "residual outside 256 principal directions": residual(256),
        "the same, 64 directions": residual(64),
        "Mahalanobis, to the nearest class": scaled(mahalanobis),
        "relative Mahalanobis": scaled(relative),
        "highest class score of a regression": scaled(lambda new: -ridge.predict(new).max(1)),
        "cosine to the fifth nearest image": scaled(fifth),
    }


def ood() -> None:
    with workplace() as place, trained(place, SEED) as (run, refit):
        values, split = values_of(refit), refit.split
        ways = ood_scores(
            values[split.rows("train")], split.labels_of("train"), values[split.rows("val")]
        )
        known, classifier = values[split.rows("test")], load(run)
        found: dict[str, dict[str, float]] = {way: {} for way in ways}
        for name, step in (("cats_dogs", 1), ("imagenet_samples", 1), ("cifar10/test", 10)):
            dataset, _, part = name.partition("/")
            files = [f for f in photos(dataset) if not part or part in f.parts][::step]
            new = classifier.transform(map(str, files)).astype(np.float16)
            truth = np.r_[np.zeros(len(known)), np.ones(len(new))]
            for way, score in ways.items():
                area = roc_auc_score(truth, np.r_[score(known), score(new)])
                found[way][dataset] = round(float(area), 4)
    for way, areas in found.items():
        show("audit_choices", kind="ood", way=way, n_known=len(known), **areas)


def main() -> None:
    ways = {"labels": labels, "ood": ood}
    for name in sys.argv[1:] or ways:
        ways[name]()


if __name__ == "__main__":
    main()
