import numpy as np
import pytest
import torch

import graft
from graft.errors import UsageError
from graft.explanation.heat_map import changed, explain, lowest, regions, share
from graft.inference.saved_model import load


def test_the_sentence_is_what_covering_the_region_really_does(corner, bright_corner):
    found = explain(corner, bright_corner)
    with torch.inference_mode():
        whole = corner.classifier(torch.from_numpy(bright_corner)[None])[0, 0]
        after = corner.classifier(torch.from_numpy(found.covered)[None])[0, 0]
    assert found.after["corner"] == pytest.approx(float(after), abs=1e-3)  # float16 features
    assert found.sentence == (
        f"with this covered, corner falls from {100 * whole:.0f} % to {100 * after:.0f} %"
    )
    assert after < whole - 0.1
    untouched = found.region == 0
    assert np.array_equal(found.covered[untouched], bright_corner[untouched])
    assert found.elsewhere["corner"] == pytest.approx(float(whole), abs=0.05)
    assert found.comparison.startswith("with as much covered where the map is lowest, corner is at")


def test_an_explanation_of_a_run_is_about_its_prediction(finished, digits):
    file = next((digits / "1").glob("*.png"))
    found = graft.explain(finished, file)
    prediction = load(finished).predict(file)
    assert found.prediction == prediction
    assert found.label == prediction.best_guess
    assert found.probability == prediction.probability
    assert (found.against, found.method) == (None, "occlusion")
    assert found.map.shape == (16, 16)
    assert found.map.dtype == np.float32
    assert found.map.min() >= 0
    assert found.overlay().size == (16, 16)
    assert found.overlay(side=64).size == (64, 64)
    from_memory = explain(load(finished), found.pixels)
    assert from_memory.map == pytest.approx(found.map, abs=1e-6)


@pytest.mark.parametrize("method", ["occlusion", "gradients"])
def test_against_another_class_the_margin_is_explained(corner, bright_corner, method):
    plain = explain(corner, bright_corner, method=method)
    held = explain(corner, bright_corner, against="rest", method=method)
    # Of two classes, log p(corner) - log p(rest) is the log-odds themselves.
    assert held.map == pytest.approx(plain.map, abs=1e-4)
    assert held.sentence.startswith("with this covered, corner falls from")
    assert " and rest rises from" in held.sentence
    other = explain(corner, bright_corner, label="rest", method=method)
    assert other.label == "rest"
    assert other.probability == plain.prediction.probabilities["rest"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"against": "cat"}, "no class 'cat': expected one of corner, rest"),
        ({"label": "dog"}, "no class 'dog': expected one of corner, rest"),
        ({"against": "corner"}, "'corner' is the class that is explained; hold it against another"),
        ({"method": "tea leaves"}, "no method 'tea leaves': expected one of occlusion, gradients"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_explained_is_refused_in_a_line(corner, bright_corner, asked, message):
    with pytest.raises(UsageError, match=message) as refused:
        explain(corner, bright_corner, **asked)
    assert "\n" not in str(refused.value)


def test_the_object_for_programs_has_the_promised_keys(corner, bright_corner):
    found = explain(corner, bright_corner, against="rest").to_json()
    assert list(found)[:6] == ["path", "label", "probability", "against", "method", "map"]
    assert len(found["map"]) == len(found["map"][0]) == 32
    assert all(value >= 0 for row in found["map"] for value in row)
    assert (found["label"], found["against"], found["abstains"]) == ("corner", "rest", None)


def test_regions_hold_the_peak_and_at_most_three_tenths_of_the_image():
    values = np.random.default_rng(0).random((20, 20), np.float32) * 0.1 + 1
    values[4, 5] = 9
    found = regions(values, 40, 40)
    assert found[:, 9, 11].min() > 0.5
    sizes = found.mean(axis=(1, 2))
    assert sizes[0] < 0.02, "only the peak has half of the highest value"
    assert sizes[1:] == pytest.approx([0.1, 0.2, 0.3], abs=0.01)
    flat = regions(np.ones((20, 20), np.float32), 40, 40)
    assert flat.mean(axis=(1, 2)) == pytest.approx([0.1, 0.2, 0.3], abs=0.01)
    assert regions(np.zeros((20, 20), np.float32), 40, 40).max() == 0


def test_the_region_for_comparison_is_as_large_and_lies_where_the_map_is_lowest():
    values = np.linspace(0, 1, 400, dtype=np.float32).reshape(20, 20)
    most = regions(values, 40, 40)[1]
    least = lowest(values, most)
    assert least.mean() == pytest.approx(most.mean(), abs=0.005)
    assert least[:3].min() > 0.5
    assert most[-3:].min() > 0.5
    assert (most * least).max() == 0


def test_the_smallest_region_that_halves_the_probability_is_taken(corner, bright_corner):
    found = explain(corner, bright_corner)
    whole = found.prediction.probabilities["corner"]
    every = regions(found.map, 32, 32)
    mean = np.rint(bright_corner.reshape(-1, 3).mean(0))
    after = []
    for mask in every:
        image = np.rint(bright_corner * (1 - mask[..., None]) + mean * mask[..., None])
        probabilities = corner.predict(image.astype(np.uint8)).probabilities
        after.append(probabilities["corner"])
    halving = [i for i, p in enumerate(after) if p <= whole / 2]
    expected = halving[0] if halving else int(np.argmin(after))
    assert np.array_equal(found.region, every[expected])
    assert found.after["corner"] == pytest.approx(after[expected], abs=1e-3)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (0.93, 0.41, "rose falls from 93 % to 41 %"),
        (0.41, 0.93, "rose rises from 41 % to 93 %"),
        (0.931, 0.929, "rose stays at 93 %"),
        (0.9999, 0.001, "rose falls from over 99 % to under 1 %"),
        (1.0, 0.0, "rose falls from 100 % to 0 %"),
    ],
)
def test_a_change_is_told_in_whole_percent(before, after, expected):
    assert changed("rose", before, after) == expected
    assert share(before) in expected
