"""What the choice concludes of a table of trials: made-up answers whose truth is known."""

from types import SimpleNamespace

import numpy as np
import pytest

from graft.tuning import reserve, result
from graft.tuning.candidate import Candidate
from graft.tuning.choice import choose
from graft.tuning.costs import Budget, Costs
from graft.tuning.inner_folds import inner_folds
from graft.tuning.trial_files import Pass, pass_name
from graft.tuning.trial_table import TrialTable

DEFAULT = Candidate(model="base")
IMAGES = 600


def table_of(accuracies, seed=0, alike=0.85):
    """Trials of these accuracies, the default first, that agree as much as `alike`."""
    random = np.random.default_rng(seed)
    labels = np.arange(IMAGES) % 3
    hard, noise = random.random(IMAGES), random.random((len(accuracies), IMAGES))
    right = alike * hard + (1 - alike) * noise < np.array(accuracies)[:, None]
    answers = np.where(right, labels, (labels + 1) % 3)
    logits = 4.0 * np.eye(3, dtype=np.float32)[answers]
    others = [DEFAULT.model_copy(update={"epochs": 21 + n}) for n in range(len(right) - 1)]
    ones = [DEFAULT, *others]
    trials = tuple((one,) for one in ones)
    found = Pass(pass_name(trials, 0), trials, np.arange(IMAGES), logits, 1.0, 0.0)
    folds = inner_folds(np.arange(IMAGES), labels, 0)
    return TrialTable([found], DEFAULT, labels, np.arange(IMAGES), folds, 3)


def test_the_best_of_many_equals_does_not_replace_the_default():
    replaced = 0
    for seed in range(8):
        table = table_of([0.8] * 20, seed, alike=0.0)
        found = result.conclusion(table, 0)
        replaced += found["replaced"]
        assert found["best_accuracy"] > found["cross_validated"] or found["best"] == 0
        assert (found["winner"] == 0) == (not found["replaced"])
    assert replaced <= 2, "one in twenty, and chance"


def test_a_better_one_replaces_the_default_and_its_luck_is_told():
    table = table_of([0.7] + [0.84] * 20)
    found = result.conclusion(table, 0)
    assert found["replaced"]
    assert found["winner"] == found["simplest"] > 0
    assert found["p"] < 0.05
    assert found["expected"] == pytest.approx(found["cross_validated"] - found["optimism"])
    assert found["optimism_of_best"] > 0
    shown = {**found, "test": {"value": 0.8, "low": 0.7, "high": 0.9, "n": 100}}
    said = result.honest(shown)
    assert f"{100 * found['optimism']:.1f} points are the luck" in said
    assert "Test split, read once: 80.0%" in said


def test_the_winner_is_never_worse_than_the_best_by_more_than_a_standard_error():
    for seed in range(5):
        table = table_of([0.7, 0.78, 0.8, 0.81, 0.82], seed)
        found = result.conclusion(table, 0)
        chosen = choose(*table.counts, table.order)
        assert found["simplest"] == chosen.simplest
        assert chosen.accuracy[chosen.simplest] >= chosen.accuracy[chosen.best] - chosen.error
        assert chosen.simplest != 0, "the default is ten points behind"


class Ticking:
    """A clock that moves by a second each time that it is looked at."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


def test_what_a_choice_costs_is_timed_and_grows_with_the_trials():
    tables = [table_of([0.7] * 4), table_of([0.7] * 7)]
    search = SimpleNamespace(
        timed_choice=None, budget=Budget(1e6, Ticking()), costs=Costs(), table=lambda: tables[0]
    )
    reserve.reserve_choice(search)
    first = search.budget.kept["the choice"]
    assert search.timed_choice[0] == 4
    search.table = lambda: tables[1]
    reserve.reserve_choice(search)
    assert search.timed_choice[0] == 4, "it is timed anew when the trials have doubled"
    assert search.budget.kept["the choice"] == pytest.approx(first * 7 / 4)


def test_what_was_predicted_for_the_end_stands_beside_what_it_took():
    now = [0.0]
    budget = Budget(100.0, lambda: now[0])
    budget.keep_for("reading, testing and the pages", 8.0)
    now[0] = 95.0
    found = reserve.ended({"search_seconds": 89.0}, budget)
    assert found["after_search"] == {
        "predicted": {"reading, testing and the pages": 8.0},
        "measured": 6.0,
    }
    assert (found["seconds"], found["over_budget"]) == (95.0, False)
    now[0] = 111.0
    assert reserve.ended(found, budget)["over_budget"]
