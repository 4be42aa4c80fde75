"""Likely wrong labels, and images unlike all others: each judged by what the rest teach.

A ridge regression of the classes on the frozen features has its leave-one-out predictions in
closed form (Allen 1974): with the leverage h of an image, the score that it would get from all
others is y - (y - fit) / (1 - h). So every image is judged by a model that has not seen it, for
the price of one fit: 0.2 s for 3,246 images of 2,136 features. Confident learning (Northcutt et
al. 2021, arXiv:1911.00068) on the same predictions finds fewer of the wrong labels
(docs/recipes.md).
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from graft.data.dataset import MATTERS, NOTE, Example, Finding
from graft.features.activations import Activations
from graft.features.blocks import blocks_of, statistics
from graft.quality.appearance import images, some

# The penalty as a share of the number of images, for features of unit variance.
PENALTY = 1.0
# By how much another class's score (0 to 1) must exceed the label's own.
WRONG = 0.3
# Robust standard deviations of log leverage above the median.
STRANGE = 3.5
# Below this share of right leave-one-out answers the features say too little about labels.
WORTH = 0.6
# Images that a class needs to be judged.
FEWEST = 10


class _Ridge:
    """The regression of one-hot classes (N, K) on features (N, D) of unit variance."""

    def __init__(self, features: Activations, labels: NDArray[np.int64], classes: int):
        self.features, self.count = features, len(features)
        self.mean, std = statistics(features)
        self.std = std + 1e-3
        width = features.shape[0]
        self.wanted = torch.nn.functional.one_hot(torch.from_numpy(labels), classes).float()
        self.share = self.wanted.mean(0)
        gram = torch.eye(width) * (PENALTY * self.count)
        moments = torch.zeros(width, classes)
        for rows in blocks_of(self.count, features.shape):
            x = self.block(rows)
            gram += x.T @ x
            moments += x.T @ (self.wanted[rows] - self.share)
        self.root = torch.linalg.cholesky(gram)
        self.weights = torch.cholesky_solve(moments, self.root)

    def block(self, rows: NDArray[np.int64]) -> torch.Tensor:
        x = torch.from_numpy(self.features[rows].astype(np.float32))
        return (x - self.mean) / self.std

    def judge(self, rows: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        """What the fit leaves of the rows' classes (n, K), and the root of their hat matrix,
        (D, n), but for the intercept's 1 / N.
        """
        x = self.block(rows)
        half = torch.linalg.solve_triangular(self.root, x.T, upper=False)
        return self.wanted[rows] - (x @ self.weights + self.share), half


def leave_one_out(
    features: Activations, labels: NDArray[np.int64], classes: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scores (N, K), about 1 for the right class and 0 for others, and the odds h / (1 - h) of the
    leverage (N,), of images with features (N, D), each from all others.
    """
    ridge = _Ridge(features, labels, classes)
    left, leverage = [], []
    for rows in blocks_of(ridge.count, features.shape):
        residual, half = ridge.judge(rows)
        left.append(residual)
        leverage.append(half.square().sum(0) + 1 / ridge.count)
    h = torch.cat(leverage)
    scores = ridge.wanted - torch.cat(left) / (1 - h)[:, None]
    return scores.numpy(), (h / (1 - h)).numpy()


def leave_fold_out(
    features: Activations, labels: NDArray[np.int64], classes: int, fold: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Scores (N, K) as of `leave_one_out`, each image's from those of other folds (N,).

    The same closed form, with the fold's split of the hat matrix H in place of the leverage:
    y - (1 - H)^-1 (y - fit). Folds are two or more.
    """
    ridge = _Ridge(features, labels, classes)
    scores = torch.empty_like(ridge.wanted)
    for number in np.unique(fold):
        rows = np.flatnonzero(fold == number)
        residual, half = ridge.judge(rows)
        # The fold's split of H is roots.T @ roots, the intercept's 1 / N included.
        roots = torch.cat([half, torch.full((1, len(rows)), ridge.count**-0.5)])
        if len(rows) <= len(roots):
            left = torch.linalg.solve(torch.eye(len(rows)) - roots.T @ roots, residual)
        else:  # by Woodbury's identity
            inner = torch.eye(len(roots)) - roots @ roots.T
            left = residual + roots.T @ torch.linalg.solve(inner, roots @ residual)
        scores[rows] = ridge.wanted[rows] - left
    return scores.numpy()


def judged_findings(
    examples: Sequence[Example],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    features: Activations,
) -> list[Finding]:
    """Labels that the rest of the images speak against, the surest first, and images that are
    like none of the rest, for images with class numbers (N,) and features (N, D).

    What was left out, and why, is a finding of kind "not_checked": classes of fewer than FEWEST
    images, and wrong labels where the features know too little.
    """
    large = np.bincount(labels, minlength=len(classes)) >= FEWEST
    judged = large[labels]
    findings = []
    if not large.all():
        findings.append(_too_small([classes[i] for i in np.flatnonzero(~large).tolist()]))
    if not judged.any():
        return findings
    # The others teach, too: an image of a large class may really be one of theirs.
    scores, leverage = leave_one_out(features, labels, len(classes))
    known = float((scores.argmax(1) == labels)[judged].mean())
    if known < WORTH:
        findings.append(_too_vague(known))
    else:
        own = scores[np.arange(len(labels)), labels]
        others = np.where(np.arange(len(classes)) == labels[:, None], -np.inf, scores)
        margin = np.where(judged, others.max(1) - own, -np.inf)
        rows = np.flatnonzero(margin > WRONG)
        rows = rows[np.argsort(-margin[rows])]
        if len(rows):
            first = rows[0]
            findings.append(
                Finding(
                    "wrong_label",
                    MATTERS,
                    tuple(examples[i].path for i in rows.tolist()),
                    f"{images(len(rows))} that the others speak against: probably labeled "
                    f"wrongly (first: {examples[first].path}, more like "
                    f"{classes[int(others[first].argmax())]!r} than {classes[labels[first]]!r}); "
                    "a wrong label teaches a mistake in train and counts as one in test; look at "
                    "each",
                )
            )
    strange = np.log(leverage)
    middle = np.median(strange)
    spread = 1.4826 * np.median(np.abs(strange - middle))
    rows = np.flatnonzero(judged & (strange > middle + STRANGE * max(spread, 1e-6)))
    rows = rows[np.argsort(-strange[rows])]
    if len(rows):
        findings.append(
            Finding(
                "outlier",
                NOTE,
                tuple(examples[i].path for i in rows.tolist()),
                f"{images(len(rows))} unlike all others: perhaps of no class, or of a kind "
                "that there is too little of; take them out, or add more like them",
            )
        )
    return findings


def _too_small(names: Sequence[str]) -> Finding:
    return Finding(
        "not_checked",
        NOTE,
        (),
        f"wrong labels and outliers were not looked for in {len(names):,} "
        f"{'class' if len(names) == 1 else 'classes'} of fewer than {FEWEST} images "
        f"({some(names)}): what is wrong there stays in; add images, or look at each",
    )


def _too_vague(known: float) -> Finding:
    return Finding(
        "not_checked",
        NOTE,
        (),
        f"wrong labels were not looked for: the features name only {known:.0%} of the images "
        "rightly, too few to doubt a label by; try another backbone (graft rank), or look at the "
        "labels yourself",
    )
