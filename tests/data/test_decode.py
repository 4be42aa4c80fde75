import io
import json
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from graft.data import image_file as module
from graft.data.decode import (
    OVERSAMPLING,
    Preprocess,
    UnusableImageError,
    decode,
    read_bytes,
)

ORIENTATION = 0x0112
# What a viewer does to the stored pixels for each value of the tag, from the TIFF 6.0 text.
UPRIGHT = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.swapaxes(0, 1),
    6: lambda p: p.swapaxes(0, 1)[:, ::-1],
    7: lambda p: p.swapaxes(0, 1)[::-1, ::-1],
    8: lambda p: p.swapaxes(0, 1)[::-1],
}


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def pixels(data: bytes) -> np.ndarray:
    image = decode(data)
    assert image.mode == "RGB"
    return np.asarray(image)


def png_that_claims(width: int, height: int) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


JPEG = encoded(Image.fromarray(noise(120, 160)), "JPEG", quality=85)
PROGRESSIVE = encoded(Image.fromarray(noise(120, 160)), "JPEG", progressive=True)


@pytest.mark.parametrize("tag", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
def test_every_orientation_is_turned_upright(tag: int, mode: str) -> None:
    stored = Image.fromarray(noise(5, 8)).convert(mode)
    exif = Image.Exif()
    exif[ORIENTATION] = tag
    expected = UPRIGHT[tag](np.asarray(stored.convert("RGB")))
    assert np.array_equal(pixels(encoded(stored, "PNG", exif=exif)), expected)


@pytest.mark.parametrize("tag", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "TIFF", "WEBP"])
def test_orientation_is_applied_once_in_every_format_as_pillow_applies_it(
    tag: int, format: str
) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = tag
    data = encoded(Image.fromarray(noise(16, 24)), format, exif=exif)
    reference = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    assert reference.size == ((24, 16) if tag < 5 else (16, 24))
    assert np.array_equal(pixels(data), np.asarray(reference))


def test_orientation_survives_scaled_decoding() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    stored = np.zeros((800, 1600, 3), np.uint8)
    stored[:, :800] = 255  # white on the left, which is to be on top
    image = decode(encoded(Image.fromarray(stored), "JPEG", exif=exif), 100)
    assert image.size == (200, 400)
    assert image.getpixel((100, 50)) == (255, 255, 255)
    assert image.getpixel((100, 350)) == (0, 0, 0)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_over_white(mode: str) -> None:
    stored = noise(9, 7, len(mode))
    alpha = stored[..., -1:] / 255
    expected = stored[..., :-1] * alpha + 255 * (1 - alpha)  # (9, 7, 1 or 3)
    got = pixels(encoded(Image.fromarray(stored, mode), "PNG"))
    assert np.abs(got - expected).max() <= 1


def test_a_transparent_palette_entry_becomes_white_and_the_others_stay() -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 1, 2])
    one = pixels(encoded(image, "PNG", transparency=1))
    assert one.tolist() == [[[255, 0, 0], [255, 255, 255], [0, 0, 255]]]
    shares = pixels(encoded(image, "PNG", transparency=bytes([255, 0, 51])))
    assert shares.tolist() == [[[255, 0, 0], [255, 255, 255], [204, 204, 255]]]
    assert pixels(encoded(image, "PNG")).tolist() == [[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]


@pytest.mark.parametrize(("mode", "key"), [("RGB", (255, 0, 0)), ("L", 90), ("1", 0)])
def test_a_transparent_color_becomes_white(mode: str, key: object) -> None:
    image = Image.new(mode, (4, 2), key)
    assert (pixels(encoded(image, "PNG", transparency=key)) == 255).all()
    assert not (pixels(encoded(image, "PNG")) == 255).all()


def test_gray_and_one_bit_images_have_three_equal_channels() -> None:
    gray = noise(6, 5, 1)
    assert np.array_equal(pixels(encoded(Image.fromarray(gray), "PNG")), np.dstack([gray] * 3))
    bits = gray > 127
    got = pixels(encoded(Image.fromarray(bits), "PNG"))
    assert np.array_equal(got, np.dstack([bits * np.uint8(255)] * 3))


@pytest.mark.parametrize("format", ["TIFF", "JPEG"])
def test_cmyk_inks_become_the_colors_they_print(format: str) -> None:
    for ink, color in [
        ((0, 0, 0, 0), (255, 255, 255)),
        ((0, 0, 0, 255), (0, 0, 0)),
        ((255, 0, 0, 0), (0, 255, 255)),
        ((0, 255, 255, 0), (255, 0, 0)),
    ]:
        got = pixels(encoded(Image.new("CMYK", (8, 8), ink), format))
        assert np.abs(got.astype(int) - color).max() <= 3


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=20))
@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled_not_clipped(format: str, values: list[int]) -> None:
    values = [0, 32768, 65535, *values]
    data = encoded(Image.fromarray(np.array([values], np.uint16)), format)
    got = pixels(data)[0, :, 0]
    assert got[0] == 0
    assert got[1] in (127, 128)
    assert got[2] == 255
    assert np.abs(got - np.array(values) / 65535 * 255).max() <= 0.5


@pytest.mark.parametrize("mode", ["F", "I"])
def test_pixels_of_no_agreed_range_are_refused_with_what_to_do(mode: str) -> None:
    data = encoded(Image.new(mode, (4, 4), 70_000), "TIFF")
    with pytest.raises(UnusableImageError, match="save it with 8 or 16 bits") as caught:
        decode(data)
    assert caught.value.kind == "unreadable"


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP"])
def test_an_animation_gives_its_first_frame(format: str) -> None:
    frames = [Image.new("RGB", (8, 6), color) for color in ("red", "lime", "blue")]
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(data)).n_frames == 3
    assert (pixels(data) == (255, 0, 0)).all()


@settings(max_examples=80, deadline=None)
@given(
    st.integers(1, 10_000),
    st.sampled_from([JPEG, PROGRESSIVE]),
    st.sampled_from([None, 10, 200]),
)
@example(1, PROGRESSIVE, 10)
@example(10_000, JPEG, 10)
def test_a_jpeg_cut_anywhere_after_its_header_is_truncated(
    lost: int, whole: bytes, side: int | None
) -> None:
    assert len(whole) - whole.index(b"\xff\xda") > 10_004
    with pytest.raises(UnusableImageError) as caught:
        decode(whole[:-lost], side)
    assert caught.value.kind == "truncated"
    assert decode(whole, side).mode == "RGB"


@pytest.mark.parametrize("format", ["PNG", "GIF", "BMP", "PPM", "TIFF"])
def test_other_formats_cut_short_are_truncated(format: str) -> None:
    data = encoded(Image.fromarray(noise(60, 80)), format)
    with pytest.raises(UnusableImageError) as caught:
        decode(data[: len(data) // 2])
    assert caught.value.kind == "truncated"


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60), st.sampled_from([b"", JPEG[:3], b"\x89PNG\r\n\x1a\n", b"GIF89a"]))
def test_bytes_that_are_no_image_are_named_the_same_way_each_time(
    tail: bytes, magic: bytes
) -> None:
    reasons = set()
    for _ in range(2):
        with pytest.raises(UnusableImageError) as caught:
            decode(magic + tail)
        assert caught.value.kind in ("unreadable", "truncated", "oversized")
        reasons.add(str(caught.value))
    assert len(reasons) == 1
    assert "0x" not in reasons.pop()


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 14_000), st.binary(min_size=1, max_size=8))
def test_damage_gives_an_image_or_a_named_problem_and_nothing_else(at: int, bad: bytes) -> None:
    kinds = ("unreadable", "truncated", "oversized")
    try:
        mode = decode(JPEG[:at] + bad + JPEG[at + len(bad) :]).mode
    except UnusableImageError as problem:
        mode = "RGB" if problem.kind in kinds else problem.kind
    assert mode == "RGB"


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_a_bomb_is_oversized_from_its_header_alone(side: int) -> None:
    with pytest.raises(UnusableImageError) as caught:
        decode(png_that_claims(side, side))
    assert caught.value.kind == "oversized"


def test_the_size_limit_is_on_pixels_and_inclusive(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.new("RGB", (10, 7)), "PNG")
    monkeypatch.setattr(module, "MAX_PIXELS", 70)
    assert decode(data).size == (10, 7)
    monkeypatch.setattr(module, "MAX_PIXELS", 69)
    with pytest.raises(UnusableImageError, match=re.escape("10 × 7")) as caught:
        decode(data)
    assert caught.value.kind == "oversized"


def test_a_missing_an_empty_and_an_impossible_file_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "good.jpg").write_bytes(JPEG)
    for name, kind in [("empty.jpg", "empty"), ("none.jpg", "unreadable"), (".", "unreadable")]:
        with pytest.raises(UnusableImageError) as caught:
            read_bytes(tmp_path / name)
        assert caught.value.kind == kind
    assert read_bytes(tmp_path / "good.jpg") == JPEG


def test_broken_exif_neither_costs_the_image_nor_prints_anything(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif[0x010E] = "a description that is cut"
    file = tmp_path / "broken.jpg"
    file.write_bytes(encoded(Image.fromarray(noise(16, 24)), "JPEG", exif=exif.tobytes()[:30]))
    program = (
        "import sys; from pathlib import Path; from graft.data.decode import decode;"
        "print(decode(Path(sys.argv[1]).read_bytes()).size)"
    )
    done = subprocess.run([sys.executable, "-c", program, file], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "(24, 16)\n", "")


@settings(max_examples=25, deadline=None)
@given(st.integers(8, 900), st.integers(8, 900), st.integers(4, 120))
def test_scaled_decoding_leaves_more_pixels_than_needed(
    width: int, height: int, needed: int
) -> None:
    image = decode(encoded(Image.new("RGB", (width, height)), "JPEG"), needed)
    assert min(image.size) >= min(width, height, OVERSAMPLING * needed)
    if min(width, height) >= 8 * OVERSAMPLING * needed:
        assert min(image.size) <= min(width, height) / 8 + 1
    assert decode(encoded(Image.new("RGB", (width, height)), "PNG"), needed).size == (width, height)


def test_preprocess_survives_json_and_refuses_what_cannot_be() -> None:
    preprocess = Preprocess(224, 192, (0.5, 0.4, 0.3), (0.2, 0.2, 0.1), "bilinear", 0.875)
    assert Preprocess.from_json(json.loads(json.dumps(preprocess.to_json()))) == preprocess
    with pytest.raises(ValueError, match="'box'"):
        Preprocess(8, 8, (0, 0, 0), (1, 1, 1), "box")
    with pytest.raises(ValueError, match="'stretch'"):
        Preprocess(8, 8, (0, 0, 0), (1, 1, 1), resize="stretch")
    for height, crop in [(0, 1.0), (8, 0.0), (8, 1.1)]:
        with pytest.raises(ValueError, match="crop lies"):
            Preprocess(height, 8, (0, 0, 0), (1, 1, 1), crop=crop)
