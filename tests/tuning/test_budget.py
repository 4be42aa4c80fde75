"""Budgets by counted costs: the clock of these tests is moved by the work alone."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.tuning.candidate import Candidate
from graft.tuning.costs import SAFETY, TOLERANCE, Budget, Costs
from graft.tuning.search_state import Search
from graft.tuning.trial_files import Pass, TrialFiles
from graft.utils.progress import Progress


class Worker:
    """A clock, and work that moves it by what it costs."""

    def __init__(self):
        self.now, self.done = 0.0, []

    def clock(self):
        return self.now

    def work(self, seconds, name):
        def run():
            self.now += seconds
            self.done.append(name)
            rows = np.empty(0, np.int64)
            return Pass(name, ((Candidate(),),), rows, np.zeros((1, 0, 2), np.float32), 0, 0)

        return run


def search_of(worker, folder, seconds):
    """A real Search whose passes are the worker's."""
    data = SimpleNamespace(
        split=SimpleNamespace(classes=("a", "b")),
        labels=np.zeros(4, np.int64),
        counted=np.arange(4),
        folds=[],
    )
    encodings = SimpleNamespace(base=SimpleNamespace(model="base"), data=data)
    files = TrialFiles(folder)
    files.begin({})
    budget = Budget(seconds, worker.clock)
    return Search(encodings, files, None, budget, Costs(), None, None, Progress())


def test_what_is_measured_predicts_what_is_next():
    costs = Costs()
    assert costs.seconds("heads", 10, 7.0) == 7.0
    costs.measured("heads", 100, 50.0)
    assert costs.seconds("heads", 10) == pytest.approx(SAFETY * 5.0)
    costs.measured("heads", 100, 70.0)  # the last one, if it was slower than the mean
    assert costs.seconds("heads", 10) == pytest.approx(SAFETY * 7.0)


def test_a_machine_that_stood_still_once_does_not_end_the_search():
    costs = Costs()
    for seconds in (50.0, 50.0, 50_000.0):
        costs.measured("heads", 100, seconds)
    assert costs.seconds("heads", 10) == pytest.approx(SAFETY * 10.0)
    for _ in range(3):  # it is as slow as that now
        costs.measured("heads", 100, 50_000.0)
    assert costs.seconds("heads", 10) == pytest.approx(SAFETY * 5000.0)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(st.sampled_from(["ridge", "heads"]), st.floats(1, 50), st.floats(0.95, 1.05)),
        max_size=40,
    ),
    st.floats(60, 600),
    st.floats(0, 40),
)
def test_a_budget_is_kept_where_costs_vary_by_a_twentieth(tmp_path_factory, jobs, seconds, after):
    worker = Worker()
    search = search_of(worker, tmp_path_factory.mktemp("run"), seconds)
    search.budget.keep_for("the winner", after)
    search.pass_of("ridge", 1, "probe", "p1", worker.work(0.5, "p1"))
    search.pass_of("heads", 1, "probe", "p2", worker.work(0.5, "p2"))
    for number, (kind, units, luck) in enumerate(jobs):
        name = f"{kind}-{number}"
        before = worker.now
        done = search.pass_of(kind, units, name, name, worker.work(0.5 * units * luck, name))
        assert done == (worker.now > before)
        assert done == (name not in search.budget.skipped), "never left out in silence"
    assert worker.now + after <= seconds * (1 + TOLERANCE)


def test_a_pass_is_not_begun_where_what_must_follow_does_not_fit(tmp_path):
    worker = Worker()
    search = search_of(worker, tmp_path, 100.0)
    search.costs.measured("fold", 1, 10.0)
    assert not search.pass_of("fold", 1, "fold 1", "f1", worker.work(10, "f1"), more=95.0)
    assert search.budget.skipped == ["fold 1"]
    assert search.pass_of("fold", 1, "fold 1", "f1", worker.work(10, "f1"), more=80.0)
    assert search.budget.skipped == [], "it found its time after all"


def test_what_was_done_before_costs_nothing(tmp_path):
    worker = Worker()
    search_of(worker, tmp_path, 10).pass_of("ridge", 1, "x", "x", worker.work(9, "x"))
    again = search_of(worker, tmp_path, 1)
    again.costs.measured("ridge", 1, 1000.0)
    assert again.pass_of("ridge", 1, "x", "x", worker.work(9, "x"))
    assert worker.done == ["x"]


def test_a_pass_that_another_process_is_at_is_left_to_it(tmp_path):
    worker = Worker()
    one, other = (search_of(worker, tmp_path, 100) for _ in range(2))
    with one.files.claimed("x") as mine:
        assert mine
        assert not other.pass_of("ridge", 1, "x", "x", worker.work(9, "x"))
    assert other.pass_of("ridge", 1, "x", "x", worker.work(9, "x"))
    assert worker.done == ["x"]


@pytest.mark.slow
def test_a_whole_search_ends_within_its_budget_as_predicted(digits, finished, tmp_path):
    from graft.config import SplitConfig, TrainConfig
    from graft.tuning.space import Space
    from graft.tuning.tune_source import tune_source

    # Seconds of the processor, so that other work beside the test costs nothing.
    budget = Budget(60.0, time.process_time)
    space, out = Space(models=[str(finished)]), tmp_path / "run"
    arguments = (TrainConfig(), SplitConfig(), space, budget, out, Progress())
    found = tune_source(digits, *arguments, engine="portfolio").found
    assert found["seconds"] <= (1 + TOLERANCE) * 60
    assert not found["over_budget"]
    after = found["after_search"]
    assert after["measured"] <= sum(after["predicted"].values()) + TOLERANCE * 60
    assert len(found["trials"]) > 30, "the budget was used"
