"""Fine-tuning by successive halving: previews of many, a fold of few, all folds of the best. Small
images are tried on networks from scratch, too, by the same rungs.

Jamieson & Talwalkar 2016 (arXiv:1502.07943): half of the images in half of the epochs tell most
bad configurations from good ones at a quarter of the price, and the activations of the frozen
prefix that they leave in the cache are those that the next rung needs.
"""

import math
from collections.abc import Iterator
from importlib.util import find_spec

import numpy as np

from graft.errors import GraftError, UsageError
from graft.models.adapters import adapted_layers
from graft.tuning import portfolio
from graft.tuning.candidate import Candidate, Members, described
from graft.tuning.fine_tuned_average import run_average, states_left
from graft.tuning.fine_tuning_trials import PREVIEW, preview, run_as_train, step_seconds
from graft.tuning.search_state import Search
from graft.tuning.space import Space
from graft.tuning.trial_files import pass_name
from graft.tuning.trial_table import Trial

# Of the configurations that were previewed, so many go on.
KEPT = 1 / 3
# After so many previews, all of them behind the frozen default, no further one is made.
ENOUGH = 3
# Parts of the held images whose losses are compared in pairs, a fold.
PARTS = 8
# The winner's own fit, on all of train, against a fold's.
WINNER = 1.2
TUNED = "the winner, fine-tuned"
ENCODING = 0.02  # seconds an image, where none was measured


def fine_tuning_steps(search: Search, base: Candidate) -> Iterator[None]:
    """Run the rungs; it yields after each pass, so that others can come between."""
    previewed: list[Candidate] = []
    for one in portfolio.fine_tunings(_possible(search, base), base):
        if _preview(search, one):
            previewed.append(one)
            yield
        if len(previewed) >= ENOUGH and max(_gain(search, own, 0) for own in previewed) < 0:
            break
    for one in portfolio.from_scratch(search.space, search.encodings.side(base)):
        if _preview(search, one):
            previewed.append(one)
            yield
    ranked = sorted(previewed, key=lambda one: -_gain(search, one, 0))
    kept = ranked[: max(1, math.ceil(len(ranked) * KEPT))]
    finalists = [one for one in kept if _gain(search, one, 0) > 0 and _whole(search, one, 0)]
    if not finalists:
        return
    yield
    best = max(finalists, key=lambda one: _gain(search, one, None))
    together = _average(search, best, finalists)
    for fold in range(1, len(search.data.folds)):
        if _given_up(search, best) or not _whole(search, best, fold):
            return
        yield
        if together and all(_whole(search, one, fold) for one in together):
            _run_average(search, together, fold)
            yield


def _possible(search: Search, base: Candidate) -> Space:
    """The space, without adapters where the network has no attention or peft is not installed."""
    wanted = search.space.unfreeze
    if "lora" in wanted:
        try:
            if find_spec("peft") is None:
                raise UsageError("adapters need peft (graft[lora])")
            adapted_layers(search.encodings.plan(base).backbone.build())
        except GraftError:
            rest = [text for text in wanted if text != "lora"]
            return search.space.model_copy(update={"unfreeze": rest})
    return search.space


def _average(search: Search, best: Candidate, finalists: list[Candidate]) -> Members:
    """The finalists whose weights can be averaged with those of the best one, if that is better on
    the first fold than the best one is, and if the winner could be all of them; else none.
    """
    members = (best, *(one for one in finalists if one != best and one.cut() == best.cut()))
    found = [_costs(search, one) for one in members]
    if best.from_pixels or len(members) < 2 or None in found:
        return ()
    if not _run_average(search, members, 0):
        return ()
    return members if _gain(search, members, None) > _gain(search, best, None) else ()


def _run_average(search: Search, members: Members, fold: int) -> bool:
    """Whether the average of what a fold fine-tuned is there, computed if it fits."""
    found = [_costs(search, one) for one in members]
    seconds = [cost[0] for cost in found if cost is not None]
    held = len(search.data.folds[fold].held) + len(members) * 2 * len(search.data.folds[fold].val)
    kind = f"average {members[0].cut()}"
    a_step = seconds[0] / (len(search.data.folds[fold].train) * members[0].epochs)
    search.costs.rates.setdefault(kind, [a_step / 3])
    name = pass_name((members,), fold)
    if search.files.has(name):
        return True
    if len(states_left(members, fold, search.encodings.run)) < 2:
        return False
    further = WINNER * sum(seconds[1:])
    made = search.pass_of(
        kind,
        held,
        f"{described(members)}, fold {fold + 1} of {len(search.data.folds)}",
        name,
        lambda: run_average(members, fold, search.encodings, search.runtime),
        more=further,
    )
    if made:
        search.budget.keep_for(f"the winner {members[0].cut()} averaged", further)
    return made


def _costs(search: Search, one: Candidate) -> tuple[float, float] | None:
    """The seconds of a fold, and of one view of one image; None for what cannot be had or measured
    in the time that is left.
    """
    kind = f"fine-tune {one.encoding()}"
    what = described((one,))
    if not search.costs.knows(kind):
        if not search.budget.fits(search.costs.seconds("probe", 1, 10.0), what):
            return None
        began = search.budget.clock()
        before = search.encodings.missing(one)
        try:
            seconds = step_seconds(one, search.encodings, search.runtime, search.budget.clock)
        except GraftError as error:
            search.problems.setdefault(what, str(error))
            return None
        took = search.budget.clock() - began
        search.costs.measured("probe", 1, took)
        search.costs.measured(kind, 1, seconds)
        fitted = seconds * search.encodings.plan(one).config.batch_size * 4
        done = before - search.encodings.missing(one)
        if done:
            search.costs.measured(f"encode {one.encoding()}", done, max(0.0, took - fitted))
    images = len(search.data.folds[0].train)
    plan = search.encodings.plan(one)
    # Validation costs a third of a step an image, an epoch.
    steps = images + len(search.data.folds[0].val) / 3
    probe = search.costs.seconds("head", 3.0 * images * plan.backbone.features * 256 * 20)
    return search.costs.seconds(kind, steps * one.epochs) + probe, search.costs.seconds(
        f"encode {one.encoding()}", 1
    )


def _preview(search: Search, one: Candidate) -> bool:
    name = pass_name(((one,),), 0, 0)
    if search.files.has(name):
        return True
    found = _costs(search, one)
    if found is None:
        return False
    fold, view = found
    missing = search.encodings.missing(one)
    expected = fold * PREVIEW**2 + view * missing * PREVIEW
    # Worth it only if the fold after it, and the winner's own fit, would fit, too.
    more = fold + view * missing * (1 - PREVIEW) + _winner_more(search, fold, view)
    kind = f"preview {one.encoding()}"
    search.costs.rates.setdefault(kind, [expected / one.epochs])
    return search.pass_of(
        kind,
        one.epochs,
        f"a preview of {described((preview(one),))}",
        name,
        lambda: run_as_train(one, 0, search.encodings, search.runtime, 0),
        more=more,
    )


def _whole(search: Search, one: Candidate, fold: int) -> bool:
    name = pass_name(((one,),), fold)
    if search.files.has(name):
        return True
    found = _costs(search, one)
    if found is None:
        return False
    seconds, view = found
    expected = seconds + view * search.encodings.missing(one)
    kind, more = f"fold {one.encoding()}", _winner_more(search, seconds, view)
    search.costs.rates.setdefault(kind, [expected / one.epochs])
    done = search.pass_of(
        kind,
        one.epochs,
        f"{described((one,))}, fold {fold + 1} of {len(search.data.folds)}",
        name,
        lambda: run_as_train(one, fold, search.encodings, search.runtime),
        more=more,
    )
    if done:  # it may win, and is then fitted once more
        search.budget.keep_for(TUNED, search.budget.kept.get(TUNED, 0.0) + more)
    return done


def _winner_more(search: Search, fold: float, view: float) -> float:
    """Seconds more than are kept for a winner of which a fold took so many: its fit, and its own
    network's pass over all images.
    """
    images = len(search.data) + search.data.tests
    encoding = search.costs.seconds("encode", images, images * ENCODING)
    wanted = WINNER * fold + view * search.data.tests + encoding
    return max(0.0, wanted - search.budget.kept.get(TUNED, 0.0))


def _gain(search: Search, one: Candidate | Members, rung: int | None) -> float:
    """How many more of the held images it gets right than the default does, as a fraction."""
    members = (one,) if isinstance(one, Candidate) else one
    passes = [
        found
        for found in search.files.passes()
        if found.trials == (members,) and found.rung == rung and not found.failed
    ]
    if not passes:
        return -1.0
    default, labels = search.table().trials[0].logits, search.data.labels
    gains = [
        float((found.logits[0].argmax(1) == labels[found.rows]).mean())
        - float((default[found.rows].argmax(1) == labels[found.rows]).mean())
        for found in passes
    ]
    return sum(gains) / len(gains)


def _given_up(search: Search, one: Candidate) -> bool:
    """Whether a fine-tuning is so clearly behind the best frozen classifier that its other folds
    are not worth their price; without Optuna by the paired difference and its standard error.
    """
    table = search.table()
    own = next(t for t in table.trials if t.members == (one,))
    frozen = [m for m, t in enumerate(table.trials) if t.members[0].frozen and t.tested.all()]
    best = table.trials[table.best(frozen)]
    if search.sampler is not None:
        losses, against = _paired_losses(search, own, best)
        return search.sampler.gives_up(losses, against)
    rows = np.flatnonzero(own.tested)
    apart = own.right(search.data.labels)[rows] - best.right(search.data.labels)[rows]
    return float(apart.mean()) < -float(apart.std() / np.sqrt(len(rows)))


def _paired_losses(search: Search, own: Trial, best: Trial) -> tuple[list[float], list[float]]:
    """Mean losses of both on parts of the images that both were tested on, whole units a part."""
    rows, labels = np.flatnonzero(own.tested), search.data.labels
    part = search.data.counted[rows] % (PARTS * own.folds)
    found = []
    for trial in (own, best):
        logits = trial.logits[rows].astype(np.float64)
        logits -= logits.max(1, keepdims=True)
        loss = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(rows)), labels[rows]]
        found.append([float(loss[part == number].mean()) for number in np.unique(part)])
    return found[0], found[1]
