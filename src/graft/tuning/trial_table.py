"""The trials of a search, put together from its passes: what the choice, the page and the sampler
look at.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.evaluation.calibration import calibrated_loss
from graft.tuning.candidate import Candidate, Members, complexity, described, name_of
from graft.tuning.choice import average_members, by_unit, estimates
from graft.tuning.inner_folds import Fold
from graft.tuning.trial_files import Pass

Ints = NDArray[np.int64]
# Of the heads that can be averaged, the best so many are looked at.
MOST_POOLED = 32
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Trial:
    """A classifier's logits (n, K) of images that it had not seen, NaN where it was not tested;
    `seconds` it took, `at` the seconds of search when its last fold was done, `curves` by fold.
    """

    members: Members
    logits: NDArray[np.float32]
    seconds: float
    at: float
    folds: int
    curves: list[list[float]]
    failed: str = ""

    @property
    def tested(self) -> NDArray[np.bool_]:
        """The images (n,) that it was tested on."""
        return ~np.isnan(self.logits[:, 0])

    def right(self, labels: Ints) -> Floats:
        """1.0 where it is right, 0.0 where wrong, NaN where it was not tested, (n,)."""
        correct = np.where(np.isnan(self.logits), -np.inf, self.logits).argmax(1) == labels
        return np.where(self.tested, correct.astype(np.float64), np.nan)

    def loss(self, labels: Ints) -> float:
        """The calibrated loss over the images tested, in nats."""
        rows = np.flatnonzero(self.tested)
        return calibrated_loss(self.logits[rows], labels[rows]) if len(rows) else float("inf")


class TrialTable:
    """All whole trials, the default first; previews are left out."""

    def __init__(
        self,
        passes: Sequence[Pass],
        default: Candidate,
        labels: Ints,
        counted: Ints,
        folds: Sequence[Fold],
        classes: int,
    ):
        self.default, self.labels, self.counted, self.folds = default, labels, counted, folds
        whole = [found for found in passes if found.rung is None]
        named: dict[str, list[tuple[Pass, int]]] = {}
        for found in whole:
            for place, members in enumerate(found.trials):
                named.setdefault(name_of(members), []).append((found, place))
        shape = (len(labels), classes)
        trials = [_put_together(parts, shape) for parts in named.values()]
        first = [t for t in trials if t.members == (default,) and t.tested.any()]
        others = [t for t in trials if t.members != (default,) and t.tested.any()]
        self.failed = [t for t in trials if not t.tested.any()]
        self.trials = first + others if first else []

    def __len__(self) -> int:
        return len(self.trials)

    @cached_property
    def right(self) -> Floats:
        """(M, n), as in choice.py."""
        return np.stack([trial.right(self.labels) for trial in self.trials])

    @cached_property
    def counts(self) -> tuple[Floats, Floats]:
        """Correct answers and images tested by unit, (M, U) each."""
        return by_unit(self.right, self.counted)

    @cached_property
    def order(self) -> list[int]:
        """All trials, from the simplest on."""
        keys = [complexity(trial.members, self.default) for trial in self.trials]
        return sorted(range(len(keys)), key=lambda m: (keys[m], m))

    def estimates(self) -> Floats:
        """Accuracies (M,), as `choose` sees them."""
        return estimates(*self.counts)

    def best(self, among: Sequence[int] | None = None) -> int:
        """The trial of the highest estimate, the lower loss deciding between equals."""
        found = self.estimates()
        rows = range(len(self)) if among is None else among
        return max(rows, key=lambda m: (found[m], -self.trials[m].loss(self.labels)))

    def with_average(self) -> "TrialTable":
        """The table with one more trial, if it can be had: an average of heads on one network.
        Its figure is of the whole procedure: for each fold the members were chosen by the others.
        """
        chosen = _average(self)
        if chosen is None:
            return self
        made = TrialTable.__new__(TrialTable)
        made.__dict__.update({k: v for k, v in self.__dict__.items() if k in _KEPT})
        made.trials = [*self.trials, chosen]
        return made

    def rows(self) -> list[dict[str, Any]]:
        """A record a trial, for tune.json and the page."""
        accuracy = self.estimates()
        return [
            {
                "name": name_of(trial.members),
                "candidates": [one.to_json() for one in trial.members],
                "described": described(trial.members),
                "accuracy": float(accuracy[m]),
                "loss": trial.loss(self.labels),
                "tested": int(trial.tested.sum()),
                "folds": trial.folds,
                "seconds": round(trial.seconds, 3),
                "at": round(trial.at, 3),
                "curves": trial.curves,
            }
            for m, trial in enumerate(self.trials)
        ]


_KEPT = ("default", "labels", "counted", "folds", "failed")


def _put_together(parts: Sequence[tuple[Pass, int]], shape: tuple[int, int]) -> Trial:
    logits = np.full(shape, np.nan, np.float32)
    curves = []
    for found, place in parts:
        logits[found.rows] = found.logits[place]
        if found.curves:
            curves.append(found.curves[place])
    first = parts[0][0].trials[parts[0][1]]
    return Trial(
        first,
        logits,
        sum(found.seconds / len(found.trials) for found, _ in parts),
        max(found.at + found.seconds for found, _ in parts),
        len({found.fold for found, _ in parts}),
        curves,
        next((found.failed for found, _ in parts if found.failed), ""),
    )


def _average(table: TrialTable) -> Trial | None:
    """The average of heads that can be one head: on the features of the best head, ridges and heads
    of one family.
    """
    whole = [m for m, t in enumerate(table.trials) if t.tested.all() and t.members[0].frozen]
    if len(whole) < 2:
        return None
    best = table.best(whole)
    first = table.trials[best].members[0]
    fitted = [m for m in whole if table.trials[m].members[0].head == "fitted"]
    same = [m for m in fitted if table.trials[m].members[0].encoding() == first.encoding()]
    family = first.family() if first.head == "fitted" else None
    if family is None and same:
        family = table.trials[table.best(same)].members[0].family()
    pool = [
        m
        for m in whole
        if (one := table.trials[m].members[0]).encoding() == first.encoding()
        and (one.head == "ridge" or one.family() == family)
    ]
    right = table.estimates()
    pool = sorted(sorted(pool, key=lambda m: -right[m])[:MOST_POOLED])
    logits = [table.trials[m].logits for m in pool]
    labels, out = table.labels, np.empty_like(logits[0])
    if len(pool) < 2:
        return None

    def members_for(rows: Ints) -> list[int]:
        correct = [float((each[rows].argmax(1) == labels[rows]).mean()) for each in logits]
        start = int(np.argmax(correct))
        return average_members([each[rows] for each in logits], labels[rows], start)

    for fold in table.folds:
        others = np.setdiff1d(np.arange(len(labels)), fold.held)
        chosen = members_for(others)
        out[fold.held] = np.mean([logits[m][fold.held] for m in chosen], axis=0)
    final = members_for(np.arange(len(labels)))
    if len(final) < 2:
        return None
    used = [table.trials[pool[m]] for m in final]
    members = tuple(trial.members[0] for trial in used)
    seconds = sum(trial.seconds for trial in used)
    return Trial(members, out, seconds, max(t.at for t in used), len(table.folds), [])
