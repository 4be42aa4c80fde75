import numpy as np
import pytest
import torch
from PIL import Image

from graft.explanation.network_input import log_odds, log_probabilities
from graft.explanation.occlusion import PASSES, WINDOWS, occlusion_map, windows
from graft.inference.saved_model import load


def by_hand(predictor, pixels, of, against):
    """The same map in plain loops in float64: one window after the other through PyTorch."""
    height, width = pixels.shape[:2]
    mean = np.rint(pixels.reshape(-1, 3).mean(0))

    def odds(image):
        with torch.inference_mode():
            p = predictor.classifier(torch.from_numpy(image.astype(np.uint8))[None])[0].double()
        others = p[against] if against is not None else p.sum() - p[of]
        return float(torch.log(p[of] / others))

    whole, sizes = odds(pixels), []
    for count, part in WINDOWS:
        total, weight = np.zeros((height, width)), np.zeros((height, width))
        for row in range(count):
            for column in range(count):
                mask = np.zeros((height, width))
                for y in range(height):
                    for x in range(width):
                        down = abs((y + 0.5) / height - (row + 0.5) / count) / (part / 2)
                        across = abs((x + 0.5) / width - (column + 0.5) / count) / (part / 2)
                        edges = [min(max(2 * off - 1, 0), 1) for off in (down, across)]
                        mask[y, x] = np.prod([0.5 + 0.5 * np.cos(np.pi * e) for e in edges])
                shown = pixels * (1 - mask[..., None]) + mean * mask[..., None]
                total += mask * (whole - odds(np.rint(shown)))
                weight += mask
        sizes.append(total / weight)
    return np.maximum(np.mean(sizes, axis=0), 0)


@pytest.mark.parametrize("against", [None, 2])
def test_the_map_is_that_of_plain_loops(finished, digits, against):
    predictor = load(finished, "float32")
    file = next((digits / "0").glob("*.png"))
    pixels = np.asarray(Image.open(file).convert("RGB").resize((16, 16)))
    found = occlusion_map(predictor, pixels, 0, against)
    assert found.shape == (16, 16)
    assert found.dtype == np.float32
    expected = by_hand(predictor, pixels, 0, against)
    assert found == pytest.approx(expected, abs=0.02 * expected.max())


def test_the_evidence_is_found_where_the_network_looks(corner, bright_corner):
    found = occlusion_map(corner, bright_corner, 0)
    assert np.unravel_index(found.argmax(), found.shape) < (16, 16)
    assert found[:16, :16].sum() > 0.75 * found.sum()
    assert found[24:, 24:].max() < 0.05 * found.max()


def test_what_speaks_for_the_other_class_is_no_evidence(corner, bright_corner):
    """The bright corner speaks against `rest`: covering it makes `rest` more probable."""
    assert occlusion_map(corner, bright_corner, 1)[:12, :12].max() == 0


def test_the_windows_cover_every_pixel_evenly():
    assert sum(count**2 for count, _ in WINDOWS) == PASSES
    for count, part in WINDOWS:
        masks = windows(30, 40, count, part)
        assert masks.shape == (count**2, 30, 40)
        assert masks.min() >= 0
        assert masks.max() <= 1
        assert masks.sum(0).min() >= 1, "the border, too, is covered"


def test_log_odds_stay_finite_where_a_probability_is_one(corner):
    white = np.full((1, 32, 32, 3), 255, np.uint8)
    corner.temperature, before = 0.01, corner.temperature
    try:
        found = log_probabilities(corner, white)
    finally:
        corner.temperature = before
    assert np.exp(found[0, 0]) == 1.0
    assert log_odds(found, 0)[0] == pytest.approx(200, rel=1e-3)
    assert log_odds(found, 0, 1)[0] == pytest.approx(200, rel=1e-3)
