"""Fine-tuning from the probe: what moves, what stays, and what is kept."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from graft.inference.saved_model import load


@pytest.fixture(scope="module", params=["1", "all"])
def tuned(request, digits, finished, fit, tmp_path_factory):
    """A run whose last stage, or whose whole network, was fine-tuned."""
    out = tmp_path_factory.mktemp("runs") / "tuned"
    settings = {"epochs": 3, "learning_rate": 1e-2, "views": 2, "flip": False}
    # So few validation images show no gain beyond their noise, and what is kept is not the point.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("graft.training.stages.MARGIN", -1e9)
        return fit(digits, out, model=str(finished), unfreeze=request.param, **settings)


def test_only_what_is_unfrozen_moves_and_its_statistics_stand_still(tuned, finished):
    before = load_file(finished / "model.safetensors")
    after = load_file(tuned.path / "model.safetensors")
    settings = tuned.config["settings"]
    last = [k for k in before if k.startswith("encoder.blocks.2.")]
    trained = last if settings["unfreeze"] == "1" else [k for k in before if "encoder" in k]
    for key in (k for k in before if k.startswith("encoder.")):
        moved = not torch.equal(before[key], after[key])
        statistics = "running" in key or "num_batches" in key
        assert moved == (key in trained and not statistics), key


def test_statistics_move_when_asked_to(digits, finished, fit, tmp_path, monkeypatch):
    monkeypatch.setattr("graft.training.stages.MARGIN", -1e9)
    settings = {"epochs": 1, "learning_rate": 1e-2, "views": 1}
    settings |= {"unfreeze": "1", "batch_norm": "train"}
    run = fit(digits, tmp_path / "run", model=str(finished), **settings)
    before, after = (load_file(f / "model.safetensors") for f in (finished, run.path))
    for key in (k for k in before if "running" in k):
        moved = not torch.equal(before[key], after[key])
        assert moved == key.startswith("encoder.blocks.2."), key


def test_the_probe_comes_first_and_the_better_one_is_kept(tuned):
    history = tuned.history
    stages = [line["stage"] for line in history]
    assert stages == sorted(stages, reverse=True), "the probe, then fine-tuning"
    assert [line["epoch"] for line in history] == list(range(1, len(history) + 1))
    assert "fine-tuning was kept" in " ".join(tuned.config["training_notes"])
    stored = tuned.model
    assert not stored["frozen"]
    assert 0 < stored["parameters"]["trained"] <= stored["parameters"]["total"]
    assert history[tuned.metrics["best_epoch"] - 1]["stage"] == "fine-tune"


def test_predict_says_what_predictions_csv_says(tuned, digits):
    paths, _, expected = tuned.predictions("test")
    answers = load(tuned.path).predict_files(digits / path for path in paths)
    found = np.array([list(answer.prediction.probabilities.values()) for answer in answers])
    assert found == pytest.approx(expected, abs=1e-5)


def test_fine_tuning_that_gains_nothing_leaves_the_probe(digits, finished, fit, tmp_path):
    settings = {"epochs": 1, "learning_rate": 1e-9, "views": 1, "unfreeze": "1"}
    run = fit(digits, tmp_path / "run", model=str(finished), **settings)
    assert "tried and not kept" in " ".join(run.config["training_notes"])
    before = load_file(finished / "model.safetensors")
    after = load_file(run.path / "model.safetensors")
    assert all(torch.equal(after[k], v) for k, v in before.items() if k.startswith("encoder."))
    assert run.model["frozen"]
    assert run.history[run.metrics["best_epoch"] - 1]["stage"] == "probe"


def test_activations_computed_in_every_epoch_give_the_same_training_as_kept_ones(
    digits, finished, fit, tmp_path, monkeypatch
):
    settings = {"epochs": 2, "views": 2, "unfreeze": "1"}
    losses = []
    for why in ("", "no room"):
        monkeypatch.setattr("graft.training.plan.too_large", lambda *_, why=why: (1, why))
        monkeypatch.setattr("graft.training.plan.slower_from_disk", lambda *_: "")
        run = fit(digits, tmp_path / f"run{why}", model=str(finished), **settings)
        losses.append([line["val_loss"] for line in run.history])
    assert losses[0] == pytest.approx(losses[1], abs=2e-3)
