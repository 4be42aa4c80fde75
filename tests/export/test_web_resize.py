"""The page's decoding and resize, in a real browser, against graft's own by Pillow."""

import base64
import io
import random
from importlib.resources import files

import numpy as np
import pytest
from PIL import Image

from graft.data.decode import Preprocess, center_view, decode

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


DECODE = """async (data) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const { pixels, width, height } = await decoded(new Blob([bytes]));
  let text = "";
  for (const value of pixels) text += String.fromCharCode(value);
  return [width, height, btoa(text)];
}"""


def encoded(image, kind, **more):
    file = io.BytesIO()
    image.save(file, kind, **more)
    return file.getvalue()


def drawn(height=61, width=90):
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(x / 7 + y / 11), np.cos(x / 5), np.sin(y / 3)], axis=2)
    noise = np.random.default_rng(3).normal(0, 0.1, waves.shape)
    return Image.fromarray((127 + 110 * (waves + noise)).clip(0, 255).astype(np.uint8))


def kinds():
    image = drawn()
    for subsampling in (0, 1, 2):
        yield f"jpeg {subsampling}", encoded(image, "JPEG", quality=80, subsampling=subsampling), 2
    for turned in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = turned
        yield f"jpeg turned {turned}", encoded(image, "JPEG", exif=exif), 2
    yield "progressive", encoded(image, "JPEG", progressive=True), 2
    yield "gray jpeg", encoded(image.convert("L"), "JPEG"), 2
    yield "png", encoded(image, "PNG"), 0
    yield "palette", encoded(image.quantize(32), "PNG"), 0
    yield "gif", encoded(image, "GIF"), 0
    yield "bmp", encoded(image, "BMP"), 0
    yield "webp", encoded(image, "WEBP", lossless=True), 0
    clear = image.convert("RGBA")
    clear.putalpha(image.convert("L"))
    yield "transparent png", encoded(clear, "PNG"), 1
    yield "transparent webp", encoded(clear, "WEBP", lossless=True), 1


def test_decoded_pixels_are_those_of_graft(page):
    page.add_script_tag(content=files("graft.export").joinpath("web_worker.js").read_text())
    for name, data, most in kinds():
        width, height, found = page.evaluate(DECODE, base64.b64encode(data).decode())
        pixels = np.frombuffer(base64.b64decode(found), np.uint8).reshape(height, width, 4)
        expected = np.asarray(decode(data)).astype(int)
        assert pixels[..., :3].shape == expected.shape, name
        assert np.abs(pixels[..., :3] - expected).max() <= most, name
