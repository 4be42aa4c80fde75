"""Winners of each kind become ordinary runs."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

import graft
from graft.config import SplitConfig
from graft.training.recipe import train
from graft.tuning.candidate import Candidate
from graft.tuning.winner import chosen_fit, is_usual
from graft.utils.progress import Progress


@pytest.fixture
def made(digits, finished, tmp_path):
    """made(*members): the run of these members."""

    def run(*settings):
        members = tuple(Candidate(model=str(finished), **own) for own in settings)
        config, out = members[0].train_config(), tmp_path / "run"
        return train(digits, config, SplitConfig(), out, Progress(), chosen=chosen_fit(members))

    return run


def features_and_labels(run, split):
    predictor = graft.load(run.path)
    rows = [row for row in run.images if row["split"] == split]
    files = [run.files[row["path"]] for row in rows]
    from graft.features.extraction import encode

    found = encode(files, predictor.backbone.preprocess, predictor.backend)
    values = np.stack([item.values[0] for item in found]).astype(np.float64)
    return values, np.array([predictor.classes.index(row["label"]) for row in rows])


def test_a_ridge_that_wins_is_scikit_learns_on_the_training_split(made):
    run = made({"head": "ridge", "hidden": 0, "strength": 0.05})
    x, y = features_and_labels(run, "train")
    std = x.std(0)
    scale = std + 1e-3 * std.mean() + 1e-12
    other = Ridge(alpha=0.05 * len(x)).fit((x - x.mean(0)) / scale, np.eye(3)[y])
    test, _ = features_and_labels(run, "test")
    expected = other.predict((test - x.mean(0)) / scale)
    head = graft.load(run.path).head
    with torch.inference_mode():
        found = head(torch.from_numpy(test.astype(np.float32))).numpy() / 10
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert len(run.history) == 1
    assert run.metrics["accuracy"]["value"] > 0.8


def test_an_average_of_heads_that_wins_is_one_head(made):
    run = made(
        {"head": "ridge", "hidden": 0, "strength": 0.1},
        {"hidden": 16, "epochs": 4},
        {"hidden": 0, "epochs": 4, "stages": 2},
    )
    assert graft.load(run.path).head.shape["hidden"] == 16 + 2 * 3 + 2 * 3
    assert run.metrics["accuracy"]["value"] > 0.8
    assert "average of 3 heads" in run.config["training_notes"][0]


def test_what_train_has_settings_for_is_fitted_by_train():
    assert is_usual((Candidate(),))
    assert is_usual((Candidate(unfreeze="20%"),))
    assert not is_usual((Candidate(hidden=0),))
    assert not is_usual((Candidate(stages=2),))
    assert not is_usual((Candidate(), Candidate(hidden=0)))
