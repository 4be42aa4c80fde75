"""Averages of the weights of fine-tunings: what val says is kept."""

import numpy as np
import pytest
import torch

import graft
from graft.config import SplitConfig, configs_of
from graft.models.runtime import detect_runtime
from graft.runs.run import Run
from graft.training.recipe import train
from graft.tuning.candidate import Candidate, complexity, described
from graft.tuning.fine_tuned_average import averaged, best_average, run_average, states_left
from graft.tuning.fine_tuning_trials import fold_split, kept_weights, run_as_train
from graft.tuning.search_data import Encodings, search_data
from graft.tuning.trial_files import pass_name
from graft.tuning.winner import chosen_fit
from graft.utils.progress import Progress


def candidates(model, count=2):
    own = {"unfreeze": "50%", "epochs": 2, "views": 1, "augment": "none"}
    return tuple(
        Candidate(model=str(model), learning_rate=rate, **own)
        for rate in (1e-2, 5e-3, 2e-3)[:count]
    )


def test_an_average_is_the_mean_of_the_weights_and_the_first_ones_counters():
    states = [
        {"weight": torch.full((2, 2), value), "count": torch.tensor(int(value))}
        for value in (1.0, 2.0, 6.0)
    ]
    found = averaged(states)
    assert torch.equal(found["weight"], torch.full((2, 2), 3.0))
    assert found["count"] == 1


def test_an_average_is_named_as_one_and_is_less_simple_than_its_members():
    members = candidates("network")
    said = described(members)
    assert said == "the average of 2 fine-tunings, weight by weight, of network"
    default = Candidate(model="network")
    assert complexity(members, default) > complexity(members[:1], default)
    assert members[0].cut() == members[1].cut()
    assert members[0].cut() != members[0].model_copy(update={"unfreeze": "20%"}).cut()


@pytest.mark.slow
def test_what_folds_left_is_averaged_as_their_val_says(digits, finished, tmp_path, monkeypatch):
    monkeypatch.setattr("graft.training.stages.MARGIN", -np.inf)  # kept, whatever it gains
    config, split_config = configs_of({"model": str(finished)}, graft.TrainConfig)
    run = Run(tmp_path)
    data = search_data(digits, config, split_config, run, Progress())
    encodings, runtime = Encodings(data, config, run, Progress()), detect_runtime("float32")
    members = candidates(finished)
    assert states_left(members, 0, run) == []
    for one in members:
        run_as_train(one, 0, encodings, runtime)
    states = states_left(members, 0, run)
    assert len(states) == 2
    found = run_average(members, 0, encodings, runtime)
    assert found.trials == (members,)
    assert (found.rows == data.folds[0].held).all()
    assert found.logits.shape == (1, len(found.rows), 3)

    one = members[0]
    plan, table = encodings.plan(one), encodings.table(one)
    split = fold_split(data.split, data.folds[0], 1.0, 0)
    body, head = kept_weights(run, pass_name(((one,),), 0))
    ruined = (body, {name: -value for name, value in head.items()})
    best, chosen, alone = best_average([(body, head), ruined], plan, table, split, runtime)
    assert chosen == [0], "what val says is worse is left out"
    assert alone[0] < alone[1]
    assert all(torch.equal(best[0][name], body[name]) for name in body)
    same, chosen, _ = best_average([(body, head), (body, head)], plan, table, split, runtime)
    assert chosen == [0], "an equal loss is not a lower one"
    assert torch.equal(same[1]["mean"], head["mean"])


@pytest.mark.slow
def test_an_average_of_fine_tunings_that_wins_is_an_ordinary_run(digits, finished, tmp_path):
    members = candidates(finished)
    out, chosen = tmp_path / "run", chosen_fit(members)
    run = train(digits, members[0].train_config(), SplitConfig(), out, Progress(), chosen=chosen)
    notes = " ".join(run.config["training_notes"])
    assert "fine-tuning 2 of those that are averaged, at rate 0.005" in notes
    assert "of 2 fine-tunings" in notes or "not kept" in notes
    assert run.metrics["accuracy"]["value"] > 0.8
    assert {line["stage"] for line in run.history} == {"probe", "fine-tune"}
    assert graft.load(run.path).predict([next(iter(run.files.values()))])
