"""Fine-tuning from the probe: what moves, what stays, and what is kept."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from graft.api import train
from graft.config import TrainConfig
from graft.evaluation.calibration import fit_temperature
from graft.inference.saved_model import load
from graft.models.halves import Suffix
from graft.models.split_point import find_split_point
from graft.models.weights import find_backbone
from graft.runs.run import read_predictions
from graft.training.stages import layered, paired_gain


@pytest.fixture(scope="module")
def images(make_digits, tmp_path_factory):
    return make_digits(tmp_path_factory.mktemp("tuned") / "digits", each=60)


@pytest.fixture(scope="module", params=["1", "all"])
def tuned(request, images, finished, tmp_path_factory):
    """A run whose last stage, or whose whole network, was fine-tuned long enough to matter."""
    out = tmp_path_factory.mktemp("runs") / "tuned"
    # So few validation images show no gain beyond their noise, and what is kept is not the point.
    patch = pytest.MonkeyPatch()
    patch.setattr("graft.training.stages.NOISE", -1e9)
    settings = {"epochs": 12, "learning_rate": 1e-2, "views": 2, "flip": False, "image_size": 16}
    yield train(images, out=out, model=str(finished), unfreeze=request.param, **settings)
    patch.undo()


def test_only_what_is_unfrozen_moves_and_its_statistics_stand_still(tuned, finished):
    before = load_file(finished / "model.safetensors")
    after = load_file(tuned.path / "model.safetensors")
    settings = json.loads((tuned.path / "config.json").read_text())["settings"]
    last = [k for k in before if k.startswith("encoder.blocks.2.")]
    trained = last if settings["unfreeze"] == "1" else [k for k in before if "encoder" in k]
    for key in (k for k in before if k.startswith("encoder.")):
        moved = not torch.equal(before[key], after[key])
        statistics = "running" in key or "num_batches" in key
        assert moved == (key in trained and not statistics), key


def test_statistics_move_when_asked_to(images, finished, tmp_path, monkeypatch):
    monkeypatch.setattr("graft.training.stages.NOISE", -1e9)
    settings = {"epochs": 2, "learning_rate": 1e-2, "views": 1, "image_size": 16}
    settings |= {"unfreeze": "1", "batch_norm": "train"}
    run = train(images, out=tmp_path / "run", model=str(finished), **settings)
    before, after = (load_file(f / "model.safetensors") for f in (finished, run.path))
    for key in (k for k in before if "running" in k):
        moved = not torch.equal(before[key], after[key])
        assert moved == key.startswith("encoder.blocks.2."), key


def test_earlier_blocks_learn_more_slowly_and_every_parameter_once(finished, tmp_path):
    encoder = find_backbone(str(finished), tmp_path).build()
    cut = find_split_point(encoder, "all")
    suffix = Suffix(encoder, cut)
    config = TrainConfig(unfreeze="all", layer_decay=0.5, backbone_rate=0.8)
    groups = layered(suffix, cut, config)
    # Six convolutions, each with the scale and shift of the normalization that follows it.
    assert [g.rate for g in groups] == pytest.approx([0.8 * 0.5**n for n in (5, 4, 3, 2, 1, 0)])
    assert [[p.ndim for p in group.parameters] for group in groups] == [[4, 1, 1]] * 6
    last = suffix.encoder.body.get_submodule(cut.blocks[-1])
    assert {id(p) for p in last.parameters()} < {id(p) for p in groups[-1].parameters}
    learned = [id(p) for group in groups for p in group.parameters]
    assert sorted(learned) == sorted(id(p) for p in suffix.parameters())


def test_the_probe_comes_first_and_the_better_one_is_kept(tuned):
    history = [json.loads(line) for line in (tuned.path / "history.jsonl").read_text().splitlines()]
    stages = [line["stage"] for line in history]
    assert stages == sorted(stages, reverse=True), "the probe, then fine-tuning"
    assert [line["epoch"] for line in history] == list(range(1, len(history) + 1))
    notes = " ".join(json.loads((tuned.path / "config.json").read_text())["training_notes"])
    assert "fine-tuning was kept" in notes
    stored = json.loads((tuned.path / "model.json").read_text())
    assert not stored["frozen"]
    assert 0 < stored["parameters"]["trained"] <= stored["parameters"]["total"]
    assert history[tuned.metrics["best_epoch"] - 1]["stage"] == "fine-tune"


def test_predict_says_what_predictions_csv_says(tuned, images):
    classifier = load(tuned.path)
    paths, _, expected, _ = read_predictions(tuned.path / "predictions.csv")
    answers = classifier.predict([images / path for path in paths])
    found = np.array([list(answer.probabilities.values()) for answer in answers])
    assert found == pytest.approx(expected, abs=1e-5)


def test_fine_tuning_that_gains_nothing_leaves_the_probe(images, finished, tmp_path, monkeypatch):
    monkeypatch.setattr("graft.training.stages.NOISE", 1.0)
    settings = {"epochs": 1, "learning_rate": 1e-9, "views": 1, "unfreeze": "1"}
    run = train(images, out=tmp_path / "run", model=str(finished), **settings)
    notes = " ".join(json.loads((run.path / "config.json").read_text())["training_notes"])
    assert "tried and not kept" in notes
    before = load_file(finished / "model.safetensors")
    after = load_file(run.path / "model.safetensors")
    assert all(torch.equal(after[k], v) for k, v in before.items() if k.startswith("encoder."))
    assert "tried and not kept" in (run.path / "report.html").read_text()
    history = [json.loads(line) for line in (run.path / "history.jsonl").read_text().splitlines()]
    assert history[run.metrics["best_epoch"] - 1]["stage"] == "probe"


def test_a_cache_too_small_gives_the_same_training_without_it(
    images, finished, tmp_path, monkeypatch
):
    settings = {"epochs": 2, "views": 2, "unfreeze": "1"}
    monkeypatch.setattr("graft.training.plan._slower_from_disk", lambda *_: "")
    cached = train(images, out=tmp_path / "cached", model=str(finished), **settings)
    monkeypatch.setattr("graft.training.plan.cache_limit", lambda: 0)
    again = train(images, out=tmp_path / "again", model=str(finished), **settings)
    losses = [
        [
            json.loads(line)["val_loss"]
            for line in (run.path / "history.jsonl").read_text().splitlines()
        ]
        for run in (cached, again)
    ]
    assert losses[0] == pytest.approx(losses[1], abs=2e-3)


def test_the_gain_is_that_of_a_paired_comparison_of_calibrated_losses():
    random = np.random.default_rng(0)
    before, after = random.normal(size=(2, 50, 3)).astype(np.float32)
    labels = random.integers(0, 3, 50)
    half = np.random.default_rng(0).permutation(50) % 2

    def loss(logits, i):
        other = half != half[i]
        scores = logits[i].astype(float) / fit_temperature(logits[other], labels[other])
        return -np.log(np.exp(scores)[labels[i]] / np.exp(scores).sum())

    gains = [loss(before, i) - loss(after, i) for i in range(50)]
    mean, error = paired_gain(before, after, labels)
    assert mean == pytest.approx(np.mean(gains))
    assert error == pytest.approx(np.std(gains) / 50**0.5)


def test_a_network_that_is_merely_surer_of_itself_gains_nothing():
    random = np.random.default_rng(1)
    labels = random.integers(0, 3, 400)
    timid = random.normal(size=(400, 3)).astype(np.float32)
    timid[np.arange(400), labels] += 2
    gain, noise = paired_gain(timid / 4, timid, labels)
    assert abs(gain) <= noise * 2
    better = timid.copy()
    better[np.arange(400), labels] += 1
    gain, noise = paired_gain(timid, better, labels)
    assert gain > 2 * noise


def test_images_of_one_group_count_as_one_where_fine_tuning_is_judged():
    random = np.random.default_rng(2)
    before, after = random.normal(size=(2, 60, 3)).astype(np.float32)
    labels = random.integers(0, 3, 60)
    twelve = [str(i // 5) for i in range(60)]
    same = np.repeat(np.arange(0, 60, 5), 5)
    _, noise = paired_gain(before[same], after[same], labels[same], twelve)
    _, naive = paired_gain(before[same], after[same], labels[same])
    assert noise > 1.5 * naive
    assert paired_gain(before, after, labels, ["one"] * 60)[1] == np.inf
