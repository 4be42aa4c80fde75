"""How much of a budget is kept for what follows the search, by what was measured during it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from graft.tuning.candidate import described
from graft.tuning.choice import DRAWS, MOST_MEMBERS, mean_loss, optimism
from graft.tuning.costs import TOLERANCE, Budget
from graft.tuning.head_trials import head_units, ridge_units
from graft.tuning.search_state import Search
from graft.tuning.trial_table import MOST_POOLED, TrialTable

# Seconds of writing the run, its report and the page of the search, measured (docs/benchmarks.md);
# READING is what hashing an image again takes.
FINISHING, READING = 8.0, 0.002
# Of a budget, at most so much is kept for the default's sake: it is fitted whatever it costs.
MOST_RESERVED = 0.5
HEAD = "the winner's head"
CURVE = "the learning curve"
SHORT = "what follows, as far as there is time"
# Heads of an average for which time is kept: larger ones are chosen only if there is time left.
FEW = 3
# Of the draws of the bootstrap, one in so many is timed.
TIMED = 40


def reserve_first(search: Search, read: float) -> None:
    """Keep time before anything was fitted; `read` seconds the images took."""
    # A network is started and measured about as fast as this one was: a guess until one is.
    search.costs.measured("start", 1, max(3.0, read / 3))
    search.costs.measured("probe", 1, max(10.0, read))
    timings, images = search.data.timings, len(search.data) + search.data.tests
    if timings.get("encoded"):
        search.costs.measured("encode", timings["encoded"], timings["encoding"])
    again = min(read, 1.0 + READING * images) + timings.get("audit", 0.0)
    search.budget.keep_for("reading, testing and the pages", FINISHING + again)
    reserve_fit(search)
    most = MOST_RESERVED * search.budget.seconds
    if search.budget.reserved() > most:
        search.budget.kept = {SHORT: most}


def reserve_more(search: Search) -> None:
    """Keep time by what is known now; after each pass."""
    if SHORT not in search.budget.kept:
        reserve_fit(search)
        reserve_choice(search)
        search.budget.keep_for(CURVE, curve_seconds(search))


def reserve_fit(search: Search) -> None:
    """Keep time for the winner's fit, which may be an average of a few heads."""
    data = search.data
    features = search.encodings.plan(search.default).backbone.features
    units = head_units((search.default,), len(data), features, search.classes)
    # Until a head was fitted, by what a processor multiplies in a second, about.
    alone = search.costs.seconds("head", units, units / 2e10)
    seconds = max(alone, search.costs.seconds("heads", FEW * units))
    ridge = ridge_units(len(data), features, 1, len(data.folds), search.classes)
    search.budget.keep_for(HEAD, max(seconds, search.costs.seconds("ridge", ridge)))


def curve_seconds(search: Search) -> float:
    """What accuracy against images is expected to take: a few ridge regressions on parts."""
    columns = search.encodings.plan(search.default).backbone.features
    folds = len(search.data.folds)
    units = 2 * ridge_units(len(search.data), columns, 1, folds, search.classes)
    return search.costs.seconds("ridge", units)


def reserve_choice(search: Search) -> None:
    """Keep time for the choice among the trials: a share of its bootstrap, and of the greedy
    average, is done and timed.
    """
    table, clock = search.table(), search.budget.clock
    if len(table) < 2:
        return
    if search.timed_choice is None or len(table) >= 2 * search.timed_choice[0]:
        hits, tested = table.counts
        began = clock()
        optimism(hits, tested, table.order, 0, DRAWS // TIMED)
        drawn = (clock() - began) * TIMED
        began = clock()
        mean_loss(np.nan_to_num(table.trials[0].logits).astype(np.float64), table.labels)
        search.timed_choice = (len(table), drawn / len(table), clock() - began)
    _, draws, loss = search.timed_choice
    losses = min(len(table), MOST_POOLED) * MOST_MEMBERS * (len(table.folds) + 1)
    # The sign flips cost about half of the draws.
    search.budget.keep_for("the choice", 1.5 * draws * len(table) + loss * losses)


def with_average(search: Search) -> TrialTable:
    """The trials, with the average of heads if there is time to fit one of so many."""
    table, budget = search.table(), search.budget
    found = table.with_average()
    if len(found) == len(table):
        return table
    members = found.trials[-1].members
    features = search.encodings.plan(members[0]).backbone.features
    fitted = tuple(one for one in members if one.head == "fitted")
    units = head_units(fitted, len(search.data), features, search.classes) if fitted else 0.0
    more = search.costs.seconds("heads", units) - budget.kept.get(HEAD, 0.0)
    return found if budget.fits(max(0.0, more), described(members)) else table


def ended(found: Mapping[str, Any], budget: Budget) -> dict[str, Any]:
    """What tune.json says of the budget when all is written: predicted against measured."""
    seconds = budget.spent()
    measured = seconds - found["search_seconds"]
    return {
        **found,
        "seconds": round(seconds, 1),
        "over_budget": seconds > (1 + TOLERANCE) * budget.seconds,
        "after_search": {
            "predicted": {what: round(kept, 2) for what, kept in budget.kept.items()},
            "measured": round(measured, 2),
        },
    }
