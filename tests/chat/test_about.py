"""What is said equals what the run's files and the predictor say, computed here once more."""

import csv
import hashlib
import json
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import graft as package
from graft.chat.about_learning import meaning, terms
from graft.chat.about_reasons import ninths
from graft.chat.subject import Asked
from graft.inference.policy import Policy


@pytest.fixture
def say(talk):
    """Ask by intent: say("accuracy", classes=("rose",))."""
    talk.subject.focus = 0
    return lambda intent, **asked: talk.answer(intent, Asked(**asked))


@pytest.fixture(scope="module")
def tables(flower_run):
    """(split, label, path) of dataset.csv, and {path: (label, {class: probability})} of test."""
    with (flower_run / "dataset.csv").open(newline="") as stream:
        images = list(csv.DictReader(stream))
    with (flower_run / "predictions.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] == "test"]
    names = ["pine cone", "rose", "tulip"]
    return images, {r["path"]: (r["label"], {n: float(r[n]) for n in names}) for r in rows}


def test_what_is_said_of_an_image_is_what_the_predictor_says(say, flower_run, two_images):
    found = package.load(flower_run).predict(two_images[0], Policy(nearest=9))
    said = say("what_is_it").evidence
    assert said["label"] == found.label
    assert said["probability"] == found.probability
    assert said["ood_score"] == found.ood_score
    others = say("alternatives").evidence["probabilities"]
    assert others == dict(found.ranked[1:4])
    own = f"rose/{two_images[0].name}"  # an image is no neighbor of itself
    near = say("nearest", number=4).evidence["nearest"]
    assert [(n["path"], n["similarity"]) for n in near] == [
        (n.path, n.similarity) for n in found.nearest if n.path != own
    ][:4]


def test_an_image_that_was_trained_on_is_known_by_its_bytes(say, flower_run, tables, two_images):
    images, _ = tables
    digest = hashlib.sha256(two_images[0].read_bytes()).hexdigest()
    (split,) = [row["split"] for row in images if row["sha256"] == digest]
    answer = say("what_is_it")
    assert answer.evidence["in_split"] == split
    assert ("on it proves" in answer.text) == (split in ("train", "val"))


def test_how_often_it_was_right_when_as_sure_is_counted_from_the_predictions(say, tables):
    answer = say("how_sure")
    row = answer.evidence["when_as_sure"]
    tops = [(max(p.values()), max(p, key=p.get) == label) for label, p in tables[1].values()]
    inside = [right for top, right in tops if row["low"] < top <= row["high"]]
    assert row["n"] == len(inside)
    assert row["accuracy"] == pytest.approx(np.mean(inside))
    assert row["low"] < answer.evidence["probability"] <= row["high"]


def test_accuracy_and_mistakes_are_counted_from_the_predictions(say, tables):
    wrong = {
        path: (label, max(p, key=p.get))
        for path, (label, p) in tables[1].items()
        if max(p, key=p.get) != label
    }
    accuracy = say("accuracy").evidence
    assert accuracy["right"] == len(tables[1]) - len(wrong)
    assert accuracy["test_images"] == len(tables[1])
    assert accuracy["accuracy"] == pytest.approx(accuracy["right"] / accuracy["test_images"])
    found = say("mistakes", number=10).evidence
    assert found["wrong"] == len(wrong)
    assert {m["path"]: (m["label"], m["predicted"]) for m in found["mistakes"]}.items() <= (
        wrong.items()
    )


def test_the_quality_of_a_class_is_counted_from_the_predictions(say, tables):
    row = say("class_quality", classes=("tulip",)).evidence["tulip"]
    said = [(label, max(p, key=p.get)) for label, p in tables[1].values()]
    hits = said.count(("tulip", "tulip"))
    assert row["found"] == hits
    assert row["n"] == sum(label == "tulip" for label, _ in said)
    assert row["recall"] == pytest.approx(hits / row["n"])
    called = sum(predicted == "tulip" for _, predicted in said)
    assert row["precision"] == pytest.approx(hits / called if called else 0)


def test_confusions_are_counted_from_the_predictions(say, tables):
    pairs = Counter((label, max(p, key=p.get)) for label, p in tables[1].values())
    for pair in say("confusions").evidence["pairs"]:
        assert pairs[pair["label"], pair["predicted"]] == pair["count"]
    some = say("confusions", classes=("rose", "tulip")).evidence["pairs"]
    assert all({pair["label"], pair["predicted"]} == {"rose", "tulip"} for pair in some)


def test_the_training_images_are_counted_from_the_table(say, tables):
    images, _ = tables
    found = say("training_size").evidence
    splits = Counter(row["split"] for row in images)
    assert found["splits"] == {name: splits[name] for name in ("train", "val", "test")}
    roses = say("training_size", classes=("rose",)).evidence["rose"]
    assert roses["train"] == sum(r["split"] == "train" and r["label"] == "rose" for r in images)


def test_parameters_and_filters_are_those_of_the_weights_file(say, flower_run):
    state = load_file(flower_run / "model.safetensors")
    found = say("parameters").evidence
    own = {k: v for k, v in state.items() if "running" not in k and "num_batches" not in k}
    body = sum(v.numel() for k, v in own.items() if k.startswith("encoder."))
    assert found["backbone"] == body
    head = {k: v for k, v in own.items() if k.startswith("head.layers")}
    assert found["head"] == sum(v.numel() for v in head.values())
    kernel = next(v for k, v in state.items() if v.ndim == 4 and v.shape[1] == 3)
    shown = say("show_filter", number=5).evidence
    np.testing.assert_allclose(shown["weights"], kernel[4].numpy(), atol=5.1e-4)
    text = say("term", term="convolution").text
    assert f"3 × 3 × 3 × 32 = {kernel.numel()} weights, and no biases" in text


def test_a_change_is_made_to_the_image_and_the_network_asked_again(say, flower_run, two_images):
    from graft.explanation.network_input import network_input

    predictor = package.load(flower_run)
    seen = Image.fromarray(network_input(two_images[0], predictor))
    (change,) = say("what_if", changes=("upside down",)).evidence["changes"]
    turned = np.array(seen.transpose(Image.Transpose.ROTATE_180))
    with torch.inference_mode():
        expected = predictor.classifier(torch.from_numpy(turned[None]))[0].numpy()
    assert change["probability"] == pytest.approx(expected.max(), abs=5e-3)
    assert change["best_guess"] == predictor.classes[expected.argmax()]
    every = say("what_if").evidence
    assert every["tried"] == len(every["changes"]) == 11
    flips = [c for c in every["changes"] if c["best_guess"] != every["best_guess"]]
    assert every["changed"] == len(flips)


def test_a_change_that_it_cannot_make_is_not_made_up(talk):
    answer = talk.ask("what if it was brighter?")
    assert answer.intent is None
    assert "darken" in answer.text


def test_why_says_what_covering_does(say, flower_run, two_images):
    expected = package.load(flower_run)
    from graft.explanation.heat_map import explain

    found = explain(expected, two_images[0])
    said = say("why").evidence
    assert said["label"] == found.label
    assert said["after_covering"] == pytest.approx(found.after[found.label], abs=1e-6)
    assert sum(said["share_by_place"].values() if "share_by_place" in said else [1]) == (
        pytest.approx(1)
    )


def test_the_share_of_a_map_in_each_ninth():
    values = np.zeros((6, 9), np.float32)
    values[0, 0], values[3, 4], values[5, 8] = 1, 2, 1
    found = ninths(values)
    assert found["the upper left"] == 0.25
    assert found["the center"] == 0.5
    assert found["the lower right"] == 0.25
    assert ninths(np.zeros((4, 4))) == {}


def test_two_images_are_compared_by_the_similarity_that_neighbors_have(talk, flower_run):
    files = package.Run(flower_run).files
    known, places = package.Run(flower_run).neighbors()
    first, second = files[known[0]["path"]], files[known[-1]["path"]]
    answer = package.Chat(flower_run, [first, second]).answer("compare_images", Asked())
    expected = float(places[0] @ places[-1])
    assert answer.evidence["similarity"] == pytest.approx(expected, abs=2e-3)


def test_overfitting_is_told_from_the_history(say, flower_run):
    lines = [json.loads(line) for line in (flower_run / "history.jsonl").read_text().splitlines()]
    metrics = json.loads((flower_run / "metrics.json").read_text())
    kept = next(line for line in lines if line["epoch"] == metrics["best_epoch"])
    found = say("overfitting_check").evidence
    assert found["train_accuracy"] == kept["train_accuracy"]
    assert found["val_accuracy"] == kept["val_accuracy"]


def test_every_term_has_a_meaning_and_numbers_that_are_in_the_evidence(say, unfounded_numbers):
    for slug, names in terms().items():
        assert meaning(slug).endswith(".")
        assert len(set(names)) == len(names)
        assert unfounded_numbers(say("term", term=slug)) == [], slug


def test_what_the_audit_found_is_read_from_the_findings(say, flower_run):
    stored = json.loads((flower_run / "findings.json").read_text())
    found = say("data_problems").evidence["findings"]
    assert sorted(f["message"] for f in found) == sorted(f["message"] for f in stored)
