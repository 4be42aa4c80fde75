"""The whole job: on real photos with real weights what the README promises, on digits the rest."""

import csv
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from graft.api import evaluate, train
from graft.config import SplitConfig, TrainConfig
from graft.data.decode import center_view, decode
from graft.errors import DataError, UsageError
from graft.inference.saved_model import load
from graft.runs.run import Run
from graft.training.recipe import finish

SMALL = {"model": "base_cnn", "image_size": 16, "epochs": 1, "views": 1}


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
    predictor = load(run.path)
    classifier, preprocess = predictor.classifier, predictor.backbone.preprocess
    paths, _, fast = run.predictions("test")
    views = [center_view(decode((photos / path).read_bytes()), preprocess) for path in paths]
    with torch.inference_mode():
        exact = classifier(torch.from_numpy(np.stack(views))).argmax(1).numpy()
    assert (exact == fast.argmax(1)).mean() >= 0.995


def test_predict_says_of_a_test_image_what_predictions_csv_says(flowers_run):
    run, photos = flowers_run
    paths, _, expected = run.predictions("test")
    found = load(run.path).predict_files(photos / path for path in paths)
    for answer, row in zip(found, expected, strict=True):
        assert list(answer.prediction.probabilities.values()) == pytest.approx(
            row.tolist(), abs=1e-5
        )


def test_evaluate_without_cache_gives_the_numbers_of_the_run(flowers_run, tmp_path):
    run, photos = flowers_run
    table = tmp_path / "test.csv"
    paths, labels, _ = run.predictions("test")
    rows = [f"{photos / p},{run.classes[y]}" for p, y in zip(paths, labels, strict=True)]
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


def test_what_stands_at_the_ends_of_long_images_is_learned_only_if_they_are_squashed(fit, tmp_path):
    random = np.random.default_rng(0)
    for label, end in (("bright", 200), ("dark", 40)):
        (tmp_path / "long" / label).mkdir(parents=True)
        for number in range(60):
            pixels = random.integers(0, 256, (24, 96, 3), dtype=np.uint8)
            pixels[:, :30] = pixels[:, -30:] = end
            Image.fromarray(pixels).save(tmp_path / "long" / label / f"{number}.png")
    settings = SMALL | {"epochs": 6}
    for resize in ("crop", "squash"):
        run = fit(tmp_path / "long", tmp_path / resize, resize=resize, **settings)
        accuracy = run.metrics["accuracy"]["value"]
        assert (accuracy > 0.95) == (resize == "squash")
        # `graft predict` shows the network what training showed it.
        paths, _, expected = run.predictions("test")
        found = load(run.path).predict_files(run.files[path] for path in paths)
        for answer, row in zip(found, expected, strict=True):
            assert list(answer.prediction.probabilities.values()) == pytest.approx(
                row.tolist(), abs=1e-5
            )


@pytest.fixture(scope="module")
def by_patient(digits, fit, tmp_path_factory):
    """A run on a table of digits whose later images are of later days and other patients."""
    folder = tmp_path_factory.mktemp("patients")
    with (folder / "table.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["image", "label", "patient", "day"])
        for file in digits.rglob("*.png"):
            # Some 30 patients, each seen on a few days that follow one another.
            number = int(file.stem)
            rows.writerow([file, file.parent.name, f"patient {number // 12}", number])
    return fit(folder / "table.csv", folder / "run", group_by="patient", time_by="day", **SMALL)


def test_groups_and_times_of_a_table_decide_the_splits(by_patient):
    splits, days = {}, {"train": set(), "val": set(), "test": set()}
    for row in by_patient.images:
        splits.setdefault(row["patient"], set()).add(row["split"])
        assert row["group_id"] == f"group:{row['patient']}"
        days[row["split"]].add(int(row["day"]))
    assert len(splits) > 20
    assert all(len(of) == 1 for of in splits.values())
    assert max(days["train"]) < min(days["val"]) <= max(days["val"]) < min(days["test"])
    for name in ("settings", "resolved"):
        assert by_patient.config[name]["group_by"] == "patient"
        assert by_patient.config[name]["time_by"] == "day"
    assert by_patient.config["notes"] == ["the oldest images are train, the newest test, by day"]


def test_intervals_of_grouped_images_count_groups(by_patient):
    tested = {row["group_id"] for row in by_patient.images if row["split"] == "test"}
    assert len(tested) < len(by_patient.predictions("test")[0])
    assert f"{len(tested)} groups" in str(by_patient.metrics) or (
        by_patient.metrics.get("groups") == len(tested)
    )


def test_the_result_follows_no_state_that_the_caller_left(digits, finished, fit, tmp_path):
    torch.manual_seed(1)
    np.random.seed(1)
    again = fit(digits, tmp_path / "run", **SMALL | {"epochs": 2})
    for name in ("predictions.csv", "model.safetensors", "dataset.csv", "findings.json"):
        assert (again.path / name).read_bytes() == (finished / name).read_bytes(), name


def test_images_that_cannot_be_trained_on_leave_no_run(fit, tmp_path):
    for label in ("cat", "dog"):
        (tmp_path / "images" / label).mkdir(parents=True)
        (tmp_path / "images" / label / "1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="cannot be trained on"):
        fit(tmp_path / "images", tmp_path / "run", **SMALL)
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_a_run_cut_off_before_its_report_is_finished_for_the_same_settings_only(
    finished, digits, tmp_path
):
    run = Run(shutil.copytree(finished, tmp_path / "run"))
    run.checkpoint("fit").write_bytes(b"half")
    asked = {name: run.config["settings"][name] for name in ("model", "image_size", "epochs")}
    config = TrainConfig(**asked)
    for source, other, split, word in (
        (digits, TrainConfig(**asked | {"epochs": 9}), SplitConfig(), "epochs"),
        (digits, config, SplitConfig(group_by="folder"), "group_by"),
        ("elsewhere", config, SplitConfig(), "source"),
    ):
        with pytest.raises(UsageError, match=f"another {word}"):
            finish(run, source, other, split)
    assert finish(run, digits, config, SplitConfig()) is run
    assert not run.checkpoint("fit").exists()
