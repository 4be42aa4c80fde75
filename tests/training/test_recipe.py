"""The whole job on real photos with real weights: what the README promises, held."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from graft.api import evaluate, train
from graft.data.decode import centre_view, decode
from graft.inference.saved_model import load
from graft.runs.run import read_predictions


@pytest.fixture(scope="module")
def flowers_run(shared, flowers, tmp_path_factory):
    """A frozen MobileNetV2 on 100 photos a class."""
    photos = tmp_path_factory.mktemp("photos")
    for folder in sorted(flowers.iterdir()):
        (photos / folder.name).mkdir()
        for file in sorted(folder.iterdir())[:100]:
            (photos / folder.name / file.name).write_bytes(file.read_bytes())
    out = tmp_path_factory.mktemp("runs") / "flowers"
    weights = f"local-dir:{shared / 'weights' / 'mobilenetv2_100.imagenet'}"
    return train(photos, out=out, model=weights, views=1), photos


def test_a_frozen_backbone_learns_flowers_from_few_photos(flowers_run):
    run, _ = flowers_run
    assert run.metrics["accuracy"]["value"] > 0.8
    assert run.metrics["accuracy"]["low"] > run.metrics["baseline"]["accuracy"]["high"]
    assert (run.path / "report.html").stat().st_size > 20_000


def test_the_saved_model_in_float32_names_the_test_images_as_the_fast_path_did(flowers_run):
    run, photos = flowers_run
    classifier = load(run.path)
    encoder, preprocess = classifier.backbone.build(), classifier.backbone.preprocess
    paths, _, fast, _ = read_predictions(run.path / "predictions.csv")
    views = [centre_view(decode((photos / path).read_bytes()), preprocess) for path in paths]
    with torch.inference_mode():
        exact = classifier.head(encoder(torch.from_numpy(np.stack(views)))).argmax(1).numpy()
    assert (exact == fast.argmax(1)).mean() >= 0.995


def test_predict_says_of_a_test_image_what_predictions_csv_says(flowers_run):
    run, photos = flowers_run
    classifier = load(run.path)
    paths, _, expected, _ = read_predictions(run.path / "predictions.csv")
    answers = classifier.predict([Path(photos, path) for path in paths])
    for answer, row in zip(answers, expected, strict=True):
        assert list(answer.probabilities.values()) == pytest.approx(row.tolist(), abs=1e-5)


def test_evaluate_without_cache_gives_the_numbers_of_the_run(flowers_run, tmp_path):
    run, photos = flowers_run
    table = tmp_path / "test.csv"
    paths, labels, _, classes = read_predictions(run.path / "predictions.csv")
    rows = [f"{photos / p},{classes[y]}" for p, y in zip(paths, labels, strict=True)]
    table.write_text("image,label\n" + "\n".join(rows) + "\n")
    again = evaluate(run.path, table)
    assert again["confusion"] == run.metrics["confusion"]
    assert again["ece"] == pytest.approx(run.metrics["ece"], abs=1e-4)


def test_frozen_weights_do_not_move_by_one_bit(flowers_run, shared):
    import timm

    run, _ = flowers_run
    weights = f"local-dir:{shared / 'weights' / 'mobilenetv2_100.imagenet'}"
    before = timm.create_model(weights, pretrained=True, num_classes=0).state_dict()
    after = load(run.path).backbone.state()
    assert set(before) == set(after)
    for key, value in before.items():
        assert torch.equal(value, after[key]), key


def test_the_same_seed_gives_the_same_run(flowers_run, tmp_path):
    run, photos = flowers_run
    settings = json.loads((run.path / "config.json").read_text())["settings"]
    again = train(photos, out=tmp_path / "again", **settings)
    for name in ("predictions.csv", "model.safetensors", "dataset.csv"):
        assert (again.path / name).read_bytes() == (run.path / name).read_bytes(), name


def test_what_stands_at_the_ends_of_long_images_is_learned_only_if_they_are_squashed(tmp_path):
    random = np.random.default_rng(0)
    for label, end in (("bright", 200), ("dark", 40)):
        (tmp_path / "long" / label).mkdir(parents=True)
        for number in range(60):
            pixels = random.integers(0, 256, (24, 96, 3), dtype=np.uint8)
            pixels[:, :30] = pixels[:, -30:] = end
            Image.fromarray(pixels).save(tmp_path / "long" / label / f"{number}.png")
    found = {}
    for resize in ("crop", "squash"):
        settings = {"model": "base_cnn", "image_size": 16, "epochs": 6, "views": 1}
        run = train(tmp_path / "long", out=tmp_path / resize, resize=resize, **settings)
        found[resize] = run.metrics["accuracy"]["value"]
        photos = sorted((tmp_path / "long").rglob("*.png"))
        named = [answer.best_guess for answer in load(run.path).predict(photos)]
        assert (
            np.mean([a == p.parent.name for a, p in zip(named, photos, strict=True)]) > 0.95
        ) == (resize == "squash")
    assert found["squash"] > 0.95 > found["crop"] + 0.1
