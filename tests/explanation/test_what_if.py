import numpy as np
import pytest
from PIL import Image

from graft.errors import DataError, UsageError
from graft.explanation.what_if import CHANGES, what_if
from graft.inference.saved_model import load


def test_every_change_is_predicted_as_that_image_alone_would_be(finished, digits):
    predictor = load(finished)
    file = next((digits / "0").glob("*.png"))
    found = what_if(predictor, file)
    assert [each.name for each in found] == ["as it is", *CHANGES]
    assert found[0].probabilities == pytest.approx(predictor.predict(file).probabilities, abs=1e-6)
    for each in found:
        assert each.image.size == (16, 16)
        # The run resizes to 16 × 16 and crops nothing, so these are network inputs already.
        alone = predictor.predict(each.image).probabilities
        assert each.probabilities == pytest.approx(alone, abs=0.02), each.name


def test_the_changes_do_what_they_are_called(corner):
    pixels = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    found = {each.name: np.asarray(each.image) for each in what_if(corner, pixels)}
    assert np.array_equal(found["mirror"], pixels[:, ::-1])
    assert np.array_equal(found["upside down"], pixels[::-1, ::-1])
    assert np.array_equal(found["turn left"], np.rot90(pixels))
    assert np.ptp(found["gray"], axis=2).max() == 0
    assert found["darken"].mean() == pytest.approx(0.4 * pixels.mean(), rel=0.02)
    assert found["blur"].std() < 0.6 * pixels.std()
    left = found["cover the left half"]
    assert np.array_equal(left[:, 16:], pixels[:, 16:])
    assert left[:, :16] == pytest.approx(np.broadcast_to(pixels.mean((0, 1)), (32, 16, 3)), abs=1)
    assert np.array_equal(found["cover the bottom half"][:16], pixels[:16])


def test_covering_the_corner_changes_the_mind_of_a_network_that_looks_there(corner, bright_corner):
    names = ("cover the left half", "cover the right half")
    whole, left, right = (
        each.probabilities["corner"] for each in what_if(corner, bright_corner, names)
    )
    assert left < whole - 0.1
    assert right == pytest.approx(whole, abs=1e-3)


def test_an_unknown_change_names_those_there_are(corner, bright_corner):
    with pytest.raises(UsageError, match="no change 'sharpen': expected one of crop to the middle"):
        what_if(corner, bright_corner, ("sharpen",))


def test_a_file_that_is_no_image_is_named(corner, tmp_path):
    (tmp_path / "song.png").write_text("la la la")
    with pytest.raises(DataError, match=r"song\.png cannot be decoded"):
        what_if(corner, tmp_path / "song.png")
    assert what_if(corner, Image.new("RGB", (50, 40)))[0].image.size == (32, 32)
