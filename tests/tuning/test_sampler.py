"""Optuna as the engine: where it is installed."""

import subprocess
import sys
import warnings

import numpy as np
import pytest

pytest.importorskip("optuna", reason="needs Optuna (graft[tune])")

from graft.tuning import portfolio
from graft.tuning.inner_folds import inner_folds
from graft.tuning.sampler import Sampler
from graft.tuning.space import Space
from graft.tuning.trial_files import Pass, pass_name
from graft.tuning.trial_table import TrialTable

BASE = portfolio.default_candidate("base")


def table_of(candidates, quality):
    """A table in which a head is the better the nearer its rate is to 1e-3."""
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    trials = tuple((one,) for one in candidates)
    noise = random.normal(0, 1, (60, 3))
    right = np.eye(3)[labels]
    logits = np.stack([right * quality(one) + noise for one in candidates]).astype(np.float32)
    found = Pass(pass_name(trials, 0), trials, np.arange(60), logits, 1.0, 0.0)
    folds = inner_folds(np.arange(60), labels, 0)
    return TrialTable([found], BASE, labels, np.arange(60), folds, 3)


def quality(one):
    return 4 - abs(np.log10(one.learning_rate / 1e-3)) * 3


def test_what_is_asked_lies_in_the_space_and_is_told_back(tmp_path):
    sampler, space = Sampler(tmp_path / "journal.log", 0), Space()
    asked = sampler.ask_heads(space, BASE, 6)
    for _, one in asked:
        assert min(space.learning_rates) <= one.learning_rate <= max(space.learning_rates)
        assert one.hidden in space.hidden
        assert one.schedule in space.schedules
    sampler.tell(asked[:5], table_of([BASE, *(one for _, one in asked[:5])], quality))
    sampler.tell(asked[5:], table_of([BASE], quality))
    states = [trial.state.name for trial in sampler.heads.get_trials()]
    assert states == ["COMPLETE"] * 5 + ["FAIL"]


def test_the_journal_is_remembered_and_shared(tmp_path):
    space = Space()
    first, second = (Sampler(tmp_path / "journal.log", seed) for seed in (0, 1))
    asked = first.ask_heads(space, BASE, 3)
    first.tell(asked, table_of([BASE, *(one for _, one in asked)], quality))
    second.ask_heads(space, BASE, 1)
    again = Sampler(tmp_path / "journal.log", 2)
    assert len(again.heads.get_trials()) == 4
    assert again.heads.best_value == first.heads.best_value


def test_the_portfolios_heads_are_taught_once(tmp_path):
    sampler, space = Sampler(tmp_path / "journal.log", 0), Space()
    known = [one for one, *_ in portfolio.first_family(space, BASE)]
    for _ in range(2):
        sampler.teach(space, BASE, table_of(known, quality))
    assert len(sampler.heads.get_trials()) == len(known)


def test_it_learns_where_good_heads_lie(tmp_path):
    sampler, space = Sampler(tmp_path / "journal.log", 0), Space(learning_rates=[1e-5, 0.5])
    rates = []
    for _ in range(12):
        asked = sampler.ask_heads(space, BASE, 4)
        rates += [one.learning_rate for _, one in asked]
        sampler.tell(asked, table_of([BASE, *(one for _, one in asked)], quality))
    far = np.abs(np.log10(np.array(rates) / 1e-3))
    assert far[-16:].mean() < far[:16].mean() / 1.5


def test_a_fine_tuning_that_is_clearly_worse_is_given_up(tmp_path):
    sampler = Sampler(tmp_path / "journal.log", 0)
    against = list(np.random.default_rng(0).uniform(0.1, 0.4, 16))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sampler.gives_up([loss + 0.1 for loss in against], against)
        assert not sampler.gives_up([loss - 0.05 for loss in against], against)


ASKING = """
import sys
from pathlib import Path
from graft.tuning import portfolio
from graft.tuning.sampler import Sampler
from graft.tuning.space import Space

sampler = Sampler(Path(sys.argv[1]), int(sys.argv[2]))
for _ in range(4):
    for trial, one in sampler.ask_heads(Space(), portfolio.default_candidate("base"), 2):
        sampler.heads.tell(trial, one.learning_rate)
"""
# What optuna-dashboard does with the file that it is given.
READING = """
import sys, optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

storage = JournalStorage(JournalFileBackend(sys.argv[1]))
(study,) = optuna.get_all_study_summaries(storage)
trials = optuna.load_study(storage=storage, study_name=study.study_name).get_trials()
print(study.study_name, len({trial.number for trial in trials}), {t.state.name for t in trials})
"""


@pytest.mark.slow
def test_processes_share_a_journal_that_optuna_alone_reads(tmp_path):
    journal = tmp_path / "journal.log"
    asking = [
        subprocess.Popen([sys.executable, "-W", "ignore", "-c", ASKING, journal, str(seed)])
        for seed in range(2)
    ]
    assert [process.wait() for process in asking] == [0, 0]
    read = [sys.executable, "-W", "ignore", "-c", READING, journal]
    said = subprocess.run(read, capture_output=True, text=True, check=True).stdout
    assert said.split("\n")[0] == "heads 16 {'COMPLETE'}"
