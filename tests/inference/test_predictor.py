"""One path from an image to its prediction, whatever form the image has and whoever asks."""

import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import graft as package
from graft.errors import UsageError
from graft.inference.policy import Policy
from graft.inference.predictor import FEW, Predictor


@pytest.fixture(scope="module")
def predictor(frozen_run):
    return package.load(frozen_run)


@pytest.fixture(scope="module")
def files(digits):
    return sorted(digits.rglob("*.png"))[::9]


def pixels_of(file):
    return np.array(Image.open(file).convert("RGB"))


def test_a_file_a_pillow_image_pixels_and_a_tensor_get_one_answer_and_no_temporary_file(
    predictor, files, monkeypatch
):
    for name in ("TemporaryDirectory", "NamedTemporaryFile", "TemporaryFile", "mkstemp", "mkdtemp"):
        monkeypatch.setattr(tempfile, name, None)
    file, pixels = files[3], pixels_of(files[3])
    forms = [file, str(file), Image.open(file), pixels, torch.from_numpy(pixels)]
    said = [predictor.predict(form) for form in forms]
    assert all(replace(answer, path="") == replace(said[0], path="") for answer in said)
    assert [answer.path for answer in said] == [str(file), str(file), "", "", ""]


def test_a_list_gets_a_list_in_its_order_whatever_is_in_it(predictor, files):
    alone = [predictor.predict(file).probabilities for file in files]
    mixed = [pixels_of(f) if i % 2 else f for i, f in enumerate(files)]
    for asked in (files, iter(files), mixed, np.stack([pixels_of(f) for f in files])):
        found = predictor.predict(asked)
        assert len(found) == len(files) > FEW
        for answer, expected in zip(found, alone, strict=True):
            assert answer.probabilities == pytest.approx(expected, abs=1e-3)
    assert predictor.predict([]) == []
    assert len(predictor.predict([files[0]])) == 1


def test_a_pillow_image_is_turned_upright_by_its_exif_tag_as_a_file_is(predictor, tmp_path, files):
    # Twice as wide as high, so that its crop shows which side is up.
    image = Image.open(files[0]).convert("RGB").resize((32, 16))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.png", exif=exif)
    opened = Image.open(tmp_path / "turned.png")
    from_file = predictor.predict(tmp_path / "turned.png")
    assert predictor.predict(opened).probabilities == from_file.probabilities
    assert opened.size == (32, 16), "the caller's image is left as it was"
    assert predictor.predict(image).probabilities != from_file.probabilities


def test_what_many_threads_ask_at_once_is_answered_as_one_alone_would_be(frozen_run, files):
    expected = [package.load(frozen_run).predict(file) for file in files]
    shared = package.load(frozen_run)  # nothing is compiled yet
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(shared.predict, [f for _ in range(4) for f in files]))
        many = list(pool.map(shared.predict, [files] * 8))
    assert found == expected * 4
    assert all(answers == many[0] for answers in many)


def test_one_image_does_not_go_through_a_padded_batch(frozen_run, files):
    predictor = package.load(frozen_run)
    predictor.predict(files[0])
    predictor.predict(pixels_of(files[0]))
    assert predictor.single.ready.batch == 1
    assert predictor.backend.ready is None


def test_a_predictor_keeps_its_own_policy_unless_given_another(frozen_run, files):
    predictor = package.load(frozen_run)
    predictor.policy = Policy(abstain_ood=False, min_probability=1.1, set_probability=0.0)
    refused = predictor.predict(files[0])
    assert refused.label is None
    assert refused.best_guess == max(refused.probabilities, key=refused.probabilities.get)
    assert "below the 110.0% asked for" in refused.reason
    assert len(refused.prediction_set) == 3
    given = predictor.predict(files[0], Policy(abstain_ood=False))
    assert (given.label, given.prediction_set, given.reason) == (given.best_guess, None, "")


def test_files_come_lazily_with_their_problems(predictor, files, tmp_path):
    (tmp_path / "song.png").write_text("la la la")
    first, second, third = predictor.predict_files([files[0], tmp_path / "song.png", files[1]])
    assert (first.prediction.path, third.path) == (str(files[0]), str(files[1]))
    assert second.prediction is None
    assert "cannot be decoded" in second.problem
    with pytest.raises(UsageError, match=r"song\.png cannot be decoded"):
        predictor.predict(tmp_path / "song.png")


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((3, 8, 8), np.uint8),
        np.zeros((8, 8, 3), np.float32),
        torch.zeros(1, 3, 8, 8),
        7,
        [None],
    ],
    ids=lambda value: f"{type(value).__name__}{getattr(value, 'shape', '')}",
)
def test_what_is_no_image_is_refused_with_what_was_expected(predictor, wrong):
    with pytest.raises(UsageError, match="expected a path, the bytes or an open file of an image"):
        predictor.predict(wrong)


def test_a_run_without_an_ood_limit_has_no_ood_score(frozen_run, files):
    whole = package.load(frozen_run)
    without = Predictor(whole.backbone, whole.head, whole.classes, whole.backend)
    assert without.predict(files[0]).ood_score is None


def test_the_whole_classifier_says_what_the_predictor_says(predictor, files):
    height, width, _ = predictor.classifier.encoder.input_shape
    pixels = torch.stack(
        [
            torch.from_numpy(np.array(Image.open(f).convert("RGB").resize((width, height), 3)))
            for f in files
        ]
    )
    with torch.inference_mode():
        found = predictor.classifier(pixels).numpy()
    expected = [list(p.probabilities.values()) for p in predictor.predict(list(pixels))]
    assert found == pytest.approx(np.array(expected), abs=2e-2)


def test_a_prediction_in_json_is_what_the_command_prints(frozen_run, files, graft_here):
    shown = Policy(set_probability=0.1, nearest=2)
    answer = package.load(frozen_run).predict(files[0], shown)
    asked = ["--nearest", 2, "--coverage", "80%", "--json"]
    printed = json.loads(graft_here("predict", frozen_run, files[0], *asked).out)
    stored = json.loads(json.dumps(answer.to_json(), allow_nan=False))
    assert list(stored) == list(printed)
    # The command lets PyTorch compute on one thread, which rounds otherwise.
    assert stored.pop("ood_score") == pytest.approx(printed.pop("ood_score"), rel=1e-4)
    assert stored | {"prediction_set": 0} == printed | {"prediction_set": 0}
    assert isinstance(stored["prediction_set"], list)
    assert not answer.abstained


def test_a_close_call_on_a_large_photo_is_the_same_from_a_file_and_from_pillow(untrained, tmp_path):
    # Files are decoded at an eighth of their size here, Pillow images are there in full.
    predictor = untrained("base_cnn", 16)
    pixels = np.random.default_rng(1).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    file = tmp_path / "large.jpg"
    Image.fromarray(pixels).resize((1203, 905)).save(file, quality=95)
    with Image.open(file) as opened:
        found = [predictor.predict(form) for form in (file, file.read_bytes(), opened)]
        from_file, from_bytes, from_pillow = (
            predictor.transform([form])[0] for form in (file, file.read_bytes(), opened)
        )
    first, second = found[0].ranked[:2]
    assert first[1] - second[1] < 0.15
    assert all(replace(answer, path="") == found[1] for answer in found)
    assert np.array_equal(from_file, from_bytes)
    assert not np.array_equal(from_file, from_pillow), "where it does not matter, it is fast"
    (listed,) = predictor.predict_files([file])
    assert listed.prediction == found[0]
    assert "<img" in listed.prediction._repr_html_()
