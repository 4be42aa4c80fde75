import numpy as np
import pytest

from graft.explanation.outside_evidence import (
    FEWEST,
    border_share,
    fixed_place,
    of_class,
    of_image,
    place_name,
)


def spot(down, across, side=40):
    """A map whose evidence is one spot there, in shares of its sides."""
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    return np.exp(-((y - down) ** 2 + (x - across) ** 2) / 0.005).astype(np.float32)


def spread(count):
    """Maps with a spot at random places of the middle."""
    random = np.random.default_rng(0)
    return [spot(*random.uniform(0.25, 0.75, 2)) for _ in range(count)]


def test_the_border_is_a_tenth_on_each_side():
    assert border_share(np.ones((20, 20), np.float32)) == pytest.approx(1 - 0.8**2)
    assert border_share(np.zeros((20, 20), np.float32)) == 0
    ring = np.ones((20, 20), np.float32)
    ring[2:-2, 2:-2] = 0
    assert border_share(ring) == 1


def test_an_image_is_suspicious_where_half_of_its_evidence_lies_in_the_border():
    assert of_image(spot(0.5, 0.5)) == ""
    assert "% of the evidence lies in the outer tenth" in of_image(spot(0.02, 0.5))


def test_a_mark_at_one_place_is_called_out_with_the_place():
    (said,) = of_class("mug", [spot(0.2, 0.2) for _ in range(9)] + spread(1))
    assert said.startswith("evidence outside the object: in 9 of 10 images of mug it peaks at")
    assert "at the top left" in said


def test_a_frame_is_called_out_by_its_share():
    ring = np.ones((40, 40), np.float32)
    ring[4:-4, 4:-4] = 0.1
    said = of_class("mug", [ring] * 10)
    assert "over 10 images of mug, 85 % of the evidence" in said[0]


def test_objects_in_the_middle_and_at_various_places_are_not():
    assert of_class("rose", [spot(0.5, 0.5)] * 20) == []
    assert of_class("rose", spread(20)) == []


def test_too_few_images_say_nothing_of_a_class():
    marked = [spot(0.15, 0.15)] * FEWEST
    assert of_class("mug", marked)
    assert of_class("mug", marked[1:]) == []


def test_the_fixed_place_is_where_most_peaks_are():
    count, (down, across) = fixed_place([spot(0.2, 0.7)] * 3 + [spot(0.9, 0.1)] * 2)
    assert count == 3
    assert (down, across) == pytest.approx((0.2, 0.7), abs=0.02)


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ((0.1, 0.1), "at the top left"),
        ((0.9, 0.5), "at the bottom"),
        ((0.5, 0.9), "on the right"),
        ((0.5, 0.5), "in the middle"),
    ],
)
def test_a_place_is_named_as_people_do(place, name):
    assert place_name(*place) == name
