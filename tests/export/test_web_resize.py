"""The page's resize, in a real browser, against graft's own: the very pixels of Pillow."""

import base64
import random
from importlib.resources import files

import numpy as np
import pytest
from PIL import Image

from graft.data.decode import Preprocess, center_view

HALF = (0.5, 0.5, 0.5)
RUN = """([data, channels, width, height, fed]) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const view = centerView(bytes, channels, width, height, fed);
  let text = "";
  for (const value of view) text += String.fromCharCode(value);
  return btoa(text);
}"""


@pytest.fixture(scope="module")
def page(browser):
    opened = browser.new_page()
    opened.add_script_tag(content=files("graft.export").joinpath("web_resize.js").read_text())
    yield opened
    opened.close()


def in_browser(page, pixels, fed):
    height, width, channels = pixels.shape
    data = base64.b64encode(pixels.tobytes()).decode()
    found = page.evaluate(RUN, [data, channels, width, height, fed.to_json()])
    view = np.frombuffer(base64.b64decode(found), np.uint8)
    return view.reshape(fed.height, fed.width, 3)


def cases():
    """Widths and heights of 1 to 300 pixels, each a way to feed a network."""
    choose = random.Random(0)
    for number in range(160):
        width, height = (int(300 ** choose.random()) for _ in range(2))
        rows, columns = choose.choice(((8, 8), (33, 33), (64, 48), (97, 97)))
        yield (
            width,
            height,
            Preprocess(
                rows,
                columns,
                HALF,
                HALF,
                ("bilinear", "bicubic", "lanczos", "nearest")[number % 4],
                (1.0, 0.875, 0.95)[number % 3],
                ("crop", "squash")[number // 4 % 2],
            ),
        )


def test_every_pixel_is_that_of_pillow(page):
    random_pixels = np.random.default_rng(0)
    tall = 0
    for width, height, fed in cases():
        tall += height > 3 * width
        image = random_pixels.integers(0, 256, (height, width, 3)).astype(np.uint8)
        expected = center_view(Image.fromarray(image), fed)
        assert np.array_equal(in_browser(page, image, fed), expected), (width, height, fed)
    assert tall > 10  # Pillow takes these by columns first


@pytest.mark.parametrize("size", [(400, 3), (3, 400), (1, 1), (64, 64), (32, 32)])
def test_so_are_those_of_lines_dots_and_images_that_fit(page, size):
    width, height = size
    image = np.random.default_rng(1).integers(0, 256, (height, width, 3)).astype(np.uint8)
    for resize in ("crop", "squash"):
        fed = Preprocess(32, 32, HALF, HALF, resize=resize)
        expected = center_view(Image.fromarray(image), fed)
        assert np.array_equal(in_browser(page, image, fed), expected)


def test_a_fourth_channel_is_left_out(page):
    image = np.random.default_rng(2).integers(0, 256, (50, 70, 4)).astype(np.uint8)
    fed = Preprocess(32, 32, HALF, HALF, crop=0.875)
    expected = center_view(Image.fromarray(image[..., :3].copy()), fed)
    assert np.array_equal(in_browser(page, image, fed), expected)
