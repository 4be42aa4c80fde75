"""The resize and crop inside a graph are Pillow's, to the level."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from graft.data.decode import Preprocess, center_view
from graft.export.odd_images import drawing
from graft.export.resampling import COLUMNS_FIRST, CenterView

HALF = (0.5, 0.5, 0.5)
NEW_PILLOW = int(Image.__version__.partition(".")[0]) >= COLUMNS_FIRST


def both(image, fed):
    """Pillow's pixels and the graph's, (height, width, 3) float64 each."""
    expected = center_view(Image.fromarray(image), fed).astype(np.float64)
    found = CenterView(fed)(torch.from_numpy(image)[None])[0].permute(1, 2, 0)
    return expected, found.double().numpy()


def assert_same(image, fed, share=0.002):
    expected, found = both(image, fed)
    assert found.shape == expected.shape
    apart = np.abs(found - expected)
    assert apart.max() <= 1
    assert (apart > 0).mean() <= share


@settings(max_examples=30, deadline=None)
@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.sampled_from(["bilinear", "bicubic", "lanczos"]),
    st.sampled_from(["crop", "squash"]),
    st.sampled_from([1.0, 0.95, 0.875]),
    st.tuples(st.integers(8, 40), st.integers(8, 40)),
)
def test_any_size_is_resized_as_pillow_does(size, interpolation, resize, crop, out):
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    # Of a few pixels many sums lie between two levels exactly.
    share = 0.1
    assert_same(noise, Preprocess(*out, HALF, HALF, interpolation, crop, resize), share)


@pytest.mark.parametrize(
    "size",
    [(300, 400), (1500, 2003), (1, 3000), (3000, 1), (2000, 150), (150, 2000), (12, 4000), (1, 1)],
)
def test_photos_long_strips_and_single_pixels_are_resized_as_pillow_does(size):
    fed = Preprocess(64, 64, HALF, HALF, crop=0.875)
    assert_same(drawing(*size, seed=0), fed, 0.01)


@pytest.mark.skipif(not NEW_PILLOW, reason="older Pillows always take rows first")
def test_the_order_of_the_passes_matters_and_is_pillows():
    fed = Preprocess(32, 32, HALF, HALF, resize="squash")
    tall = np.random.default_rng(0).integers(0, 256, (500, 60, 3)).astype(np.uint8)
    assert_same(tall, fed)
    expected, _ = both(tall, fed)
    rows_first = CenterView(fed, columns_first=False)(torch.from_numpy(tall)[None])[0]
    other = np.abs(rows_first.permute(1, 2, 0).double().numpy() - expected)
    assert (other > 0).mean() > 0.01, "or this test could not fail"


def test_a_batch_is_its_images():
    fed = Preprocess(24, 24, HALF, HALF)
    images = np.stack([drawing(50, 70, seed) for seed in range(3)])
    batch = CenterView(fed)(torch.from_numpy(images))
    for image, found in zip(images, batch, strict=True):
        alone = CenterView(fed)(torch.from_numpy(image)[None])[0]
        assert torch.equal(found, alone)
