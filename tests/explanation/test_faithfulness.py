import numpy as np
import pytest

from graft.explanation.faithfulness import area, deletion, insertion, points_at, share_on


def test_the_curves_begin_and_end_with_what_they_say(corner, bright_corner):
    values = np.random.default_rng(0).random((32, 32), np.float32)
    whole = corner.predict(bright_corner).probabilities["corner"]
    gone = deletion(corner, bright_corner, values, 0)
    back = insertion(corner, bright_corner, values, 0)
    assert gone.shape == back.shape == (9,)
    assert gone[0] == pytest.approx(whole, abs=1e-5)
    assert back[-1] == pytest.approx(whole, abs=1e-5)
    mean = np.full_like(bright_corner, np.rint(bright_corner.mean()))
    assert gone[-1] == pytest.approx(corner.predict(mean).probabilities["corner"], abs=1e-5)


def test_the_best_pixels_first_make_it_fall_early(corner, bright_corner):
    right = np.zeros((32, 32), np.float32)
    right[:16, :16] = 1
    good = deletion(corner, bright_corner, right, 0)
    bad = deletion(corner, bright_corner, 1 - right, 0)
    assert good[2] == pytest.approx(good[-1], abs=1e-4), "a quarter of the pixels is all there is"
    assert bad[6] == pytest.approx(bad[0], abs=1e-4)
    assert area(good) < area(bad)


def test_the_area_is_that_of_the_trapezoids():
    curve = np.array([1.0, 0.6, 0.2])
    assert area(curve) == pytest.approx(np.trapezoid(curve, dx=0.5))


def test_pointing_and_sharing_are_about_the_mask():
    mask = np.zeros((20, 20), bool)
    mask[:10, :10] = True
    values = np.zeros((20, 20), np.float32)
    values[2, 3], values[15, 15] = 3, 1
    assert points_at(values, mask)
    assert not points_at(values, ~mask)
    assert share_on(values, mask) == pytest.approx(0.75)
    assert share_on(np.zeros((20, 20), np.float32), mask) == 0
