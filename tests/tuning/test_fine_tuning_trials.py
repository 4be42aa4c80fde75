"""Fine-tuning as a trial: on a fold of the images, and as a winner."""

import json

import numpy as np
import pytest
import torch

import graft
from graft.config import configs_of
from graft.data.reader import stream
from graft.models.runtime import detect_runtime
from graft.runs.run import Run
from graft.training.new_weights import with_weights
from graft.training.recorder import Recorder
from graft.training.stages import fit_stages
from graft.tuning.candidate import Candidate
from graft.tuning.fine_tuning_trials import PREVIEW, fold_split, held_logits, preview
from graft.tuning.search_data import Encodings, search_data
from graft.utils.progress import Progress

pytestmark = pytest.mark.slow


@pytest.fixture
def encodings(digits, finished, tmp_path):
    config, split_config = configs_of({"model": str(finished)}, graft.TrainConfig)
    run = Run(tmp_path)
    data = search_data(digits, config, split_config, run, Progress())
    return Encodings(data, config, run, Progress())


def candidate(finished, **settings):
    own = {"unfreeze": "50%", "views": 2, "augment": "light", "epochs": 3, "learning_rate": 1e-2}
    return Candidate(model=str(finished), **{**own, **settings})


def test_the_held_images_are_predicted_by_the_whole_fine_tuned_network(
    encodings, finished, tmp_path, monkeypatch
):
    monkeypatch.setattr("graft.training.stages.MARGIN", -np.inf)  # kept, whatever it gains
    one = candidate(finished)
    plan, table, data = encodings.plan(one), encodings.table(one), encodings.data
    split = fold_split(data.split, data.folds[0], 1.0, 0)
    for name in ("val", "test"):
        table.complete(split.rows(name), range(1), Progress())
    run, runtime = Run(tmp_path / "fit"), detect_runtime("float32")
    run.path.mkdir()
    trained = fit_stages(plan, table, split, Recorder(run, Progress(), runtime, {}, False))
    assert trained.stage == "fine-tune"
    found = held_logits(plan, trained, table, split, runtime)
    backbone = with_weights(plan.backbone, trained.encoder_state, run)
    files = [table.dataset.examples[i].file for i in split.rows("test")]
    loaded = stream(files, backbone.preprocess, lambda row, digest: (0,))
    pixels = torch.from_numpy(np.stack([item.views[0] for item in loaded]))
    with torch.inference_mode():
        expected = trained.head(backbone.build()(pixels)).numpy()
    # The prefix in the cache is float16.
    np.testing.assert_allclose(found, expected, atol=0.05 * np.abs(expected).max())
    assert (found.argmax(1) == expected.argmax(1)).mean() > 0.95


def test_a_preview_is_of_half_the_images_of_each_class_in_half_the_epochs(encodings, finished):
    one, data = candidate(finished, epochs=8), encodings.data
    assert preview(one).epochs == 4
    whole = fold_split(data.split, data.folds[1], 1.0, 0)
    half = fold_split(data.split, data.folds[1], PREVIEW, 0)
    assert set(half.rows("train")) < set(whole.rows("train"))
    for name in ("val", "test"):
        assert (half.rows(name) == whole.rows(name)).all()
    counts = [np.bincount(split.labels_of("train")) for split in (half, whole)]
    assert (np.abs(counts[0] - counts[1] / 2) <= 1).all()
    assert (whole.rows("test") == data.folds[1].held).all()


@pytest.mark.parametrize("engine", ["portfolio", "optuna"])
def test_a_search_previews_and_fine_tunes(digits, finished, tiny, tmp_path, engine):
    if engine == "optuna":
        pytest.importorskip("optuna", reason="needs Optuna (graft[tune])")
    steps = {"unfreeze": ["50%"], "fine_tuning_rates": [1e-3], "fine_tuning_augment": ["none"]}
    space = tiny.model_copy(update={**steps, "fine_tunings": 1})
    tuned = graft.tune(digits, budget="60m", out=tmp_path / "run", space=space, engine=engine)
    (shown,) = tuned.found["previews"]
    assert "50% fine-tuned" in shown["described"]
    assert tuned.found["engine"] == engine
    stored = json.loads((tmp_path / "run" / "tune" / "tune.json").read_text())
    assert not [name for name in stored["skipped"] if "fine" in name]
    assert not list((tmp_path / "run" / "tune").glob("work-*"))
    if engine == "optuna":
        assert (tmp_path / "run" / "tune" / "journal.log").is_file()
        assert len(tuned.found["trials"]) > 12


def test_a_fine_tuned_winner_is_an_ordinary_run(digits, finished, tmp_path):
    from graft.config import SplitConfig
    from graft.training.recipe import train
    from graft.tuning.winner import chosen_fit

    one = candidate(finished)
    chosen = chosen_fit((one,))
    out = tmp_path / "run"
    run = train(digits, one.train_config(), SplitConfig(), out, Progress(), chosen=chosen)
    assert run.resolved["unfreeze"] == "50%"
    assert run.resolved["learning_rate"] == 1e-2
    assert {line["stage"] for line in run.history} == {"probe", "fine-tune"}
