"""Trials of heads on frozen features: a ridge path, or a family of heads, a fold at a time."""

from collections.abc import Sequence

import numpy as np
import torch

from graft.errors import ModelError
from graft.models.runtime import Runtime
from graft.tuning.candidate import Candidate, Members
from graft.tuning.head_batch import HeadData, fit_heads
from graft.tuning.ridge_path import ridge_path, standardized
from graft.tuning.search_data import Encodings, SearchData
from graft.tuning.trial_files import Pass, pass_name

# Numbers of a pass's logits at most: with many classes and images fewer penalties are kept.
MOST_LOGITS = 2**26


def ridge_members(one: Candidate, strengths: Sequence[float], most: int) -> tuple[Members, ...]:
    """A ridge candidate for each strength, spread evenly if there may be fewer."""
    count = max(1, min(len(strengths), most))
    spread = np.linspace(0, len(strengths) - 1, count).round().astype(int)
    chosen = [strengths[i] for i in np.unique(spread)]
    as_it_is = {"head": "ridge", "hidden": 0}
    return tuple((one.model_copy(update={**as_it_is, "strength": s}),) for s in chosen)


def most_trials(data: SearchData) -> int:
    """How many classifiers' logits of all images a pass may hold."""
    return max(2, MOST_LOGITS // (len(data) * len(data.split.classes)))


def ridge_units(images: int, columns: int, strengths: int, folds: int, classes: int) -> float:
    """The multiplications of a ridge path, about: what its time grows with."""
    small, held = min(images, columns), images / folds
    decomposed = images * columns * small + 10.0 * small**3
    system = min(held, small)
    each = images * small * classes + folds * (held * small * system + system**3 / 3)
    return decomposed + strengths * each


def run_ridge(trials: tuple[Members, ...], encodings: Encodings) -> Pass:
    """The ridge path of trials that differ in strength alone; all folds at once."""
    data, one = encodings.data, trials[0][0]
    rows = np.arange(len(data))
    features = encodings.features(one, rows).whole()[:, encodings.first_column(one) :]
    fold = np.empty(len(data), np.int64)
    for number, each in enumerate(data.folds):
        fold[each.held] = number
    strengths = [float(members[0].strength or 0) for members in trials]
    classes = len(data.split.classes)
    x = standardized(torch.from_numpy(features))
    logits = ridge_path(x, data.labels, classes, fold, strengths)
    return Pass(pass_name(trials, 0), trials, rows, logits, 0.0, 0.0)


def head_units(members: Members, images: int, features: int, classes: int) -> float:
    """The multiplications of fitting heads on so many images, about."""
    weights = sum(
        features * (one.hidden or classes) + one.hidden * classes + 5000 for one in members
    )
    return 3.0 * weights * images * members[0].epochs


def run_heads(
    trials: tuple[Members, ...], fold: int, encodings: Encodings, runtime: Runtime
) -> Pass:
    """Heads of one family, fitted in one pass on a fold. A pass whose loss is not finite is kept as
    failed: one of its heads has too high a rate.
    """
    data, members = encodings.data, tuple(one for one, *_ in trials)
    one, rows = members[0], data.folds[fold]
    dropout_in = encodings.plan(one).dropout_in
    seen = HeadData(
        [encodings.features(one, rows.train, view) for view in range(one.views)],
        data.labels[rows.train],
        encodings.features(one, rows.val),
        data.labels[rows.val],
        len(data.split.classes),
    )
    columns = [encodings.first_column(each) for each in members]
    name, seed = pass_name(trials, fold), encodings.base.seed + fold
    try:
        fitted = fit_heads(seen, members, columns, dropout_in, seed, runtime)
    except ModelError as error:
        empty = np.zeros((len(trials), 0, len(data.split.classes)), np.float32)
        nobody = np.empty(0, np.int64)
        return Pass(name, trials, nobody, empty, 0.0, 0.0, fold, failed=str(error))
    logits = fitted.logits(encodings.features(one, rows.held), runtime, dropout_in)
    return Pass(
        name,
        trials,
        rows.held,
        np.ascontiguousarray(logits.transpose(2, 0, 1)),
        0.0,
        0.0,
        fold,
        curves=fitted.curves,
    )
