"""Every form that an image can have, and one clear line for what is none."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageCms

from graft.data.decode import Preprocess, UnusableImageError
from graft.errors import DataError, UsageError
from graft.inference.image_input import (
    AHEAD,
    each_image,
    each_network_pixels,
    images_below,
    is_one,
    upright_image,
)

FED = Preprocess(8, 8, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.fixture(scope="module")
def photo():
    """A smooth image of 24 × 16 that no color space can spoil much."""
    rows, columns = np.mgrid[0:16, 0:24]
    pixels = np.stack([100 + 4 * rows, 90 + 3 * columns, 200 - 5 * rows], -1)
    return Image.fromarray(pixels.astype(np.uint8))


def in_mode(photo, mode):
    if mode == "LAB":
        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        return ImageCms.profileToProfile(photo, srgb, lab, outputMode="LAB")
    if mode in ("RGBa", "La"):
        return photo.convert({"RGBa": "RGBA", "La": "LA"}[mode]).convert(mode)
    if mode == "I;16":
        return Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 257)
    if mode == "I":
        return in_mode(photo, "I;16").convert("I")
    return photo.convert("RGBA" if mode == "PA" else "RGB").convert(mode)


@pytest.mark.parametrize(
    ("mode", "off"),
    [
        *(("RGB", 0), ("RGBA", 0), ("RGBa", 0), ("RGBX", 0), ("CMYK", 0), ("YCbCr", 4)),
        *(("HSV", 4), ("LAB", 6), ("P", 52), ("PA", 52)),
    ],
)
def test_a_pillow_image_of_any_mode_is_what_it_shows(photo, mode, off):
    image = in_mode(photo, mode)
    assert image.mode == mode
    found = np.asarray(upright_image(image), int)
    assert np.abs(found - np.asarray(photo, int)).max() <= off
    assert image.mode == mode, "the caller's image is left as it was"


@pytest.mark.parametrize("mode", ["L", "LA", "La", "I", "I;16"])
def test_a_gray_pillow_image_of_any_depth_is_its_grays(photo, mode):
    found = np.asarray(upright_image(in_mode(photo, mode)))
    assert (found == np.asarray(photo.convert("L"))[..., None]).all()
    bits = upright_image(photo.convert("1"))
    assert set(np.unique(np.asarray(bits))) <= {0, 255}


def test_a_pillow_image_of_fractions_is_refused(photo):
    with pytest.raises(UnusableImageError, match="floating-point pixels of no agreed range"):
        upright_image(photo.convert("F"))


def test_pixels_in_every_form_are_the_same_image(photo):
    rgb = np.asarray(photo)
    solid = np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])
    forms = [rgb, rgb.astype(np.int64), rgb.astype(np.uint16) * 257, solid, rgb.tolist()]
    forms += [torch.from_numpy(rgb.copy()), tuple(map(tuple, rgb.tolist())), rgb[:, ::1].copy("F")]
    for form in forms:
        assert is_one(form)
        assert np.array_equal(np.asarray(upright_image(form)), rgb)
    gray = rgb[..., 0]
    for form in (gray, gray[..., None], gray.tolist(), torch.from_numpy(gray.copy())):
        assert np.array_equal(np.asarray(upright_image(form)), np.dstack([gray] * 3))
    assert np.array_equal(np.asarray(upright_image(gray > 120))[..., 0], (gray > 120) * 255)
    assert (np.asarray(upright_image(np.zeros((3, 4, 4), np.uint8))) == 255).all(), "clear: white"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (np.zeros((8, 8, 3), np.float32), r"got \(8, 8, 3\) float32: fractions have no agreed"),
        (np.zeros((3, 8, 8), np.uint8), "channels first: move them last"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), "permute"),
        (np.zeros((8, 8, 2), np.uint8), r"got \(8, 8, 2\) uint8"),
        (np.zeros((0, 8, 3), np.uint8), r"got \(0, 8, 3\)"),
        (np.full((8, 8), 256), r"values of 256\.\.256"),
        (np.full((8, 8, 3), -1), r"values of -1\.\.-1"),
        (np.zeros((8, 8), "S1"), "got"),
        (np.zeros((8, 8), object), "got"),
        (np.zeros((8, 8), complex), "complex128"),
        (np.zeros(8, np.uint8), r"got \(8,\)"),
        ([[1, 2], [3]], "lists of unequal lengths"),
        (7, "got int"),
        (None, "got NoneType"),
        ({}, "got dict"),
        pytest.param(io.StringIO("text"), "open it with 'rb'", id="a file of text"),
    ],
    ids=lambda value: str(getattr(value, "shape", value))[:30],
)
def test_what_is_no_image_is_refused_in_a_line_that_says_what_came(wrong, said):
    with pytest.raises(UsageError, match=said) as raised:
        upright_image(wrong)
    assert str(raised.value).startswith("expected a path, the bytes or an open file of an image")
    assert "\n" not in str(raised.value)


@settings(deadline=None)
@given(
    arrays.arrays(
        st.sampled_from([np.uint8, np.int8, np.int64, np.uint16, np.float16, np.bool_, "U1", "M8"]),
        arrays.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=5),
    )
)
def test_any_array_is_an_image_or_refused(array):
    try:
        assert upright_image(array).size == array.shape[1::-1]
    except UsageError as refused:
        said = str(refused)
    else:
        said = ""
    assert "\n" not in said


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_an_image_or_refused(data):
    with pytest.raises(UnusableImageError):
        upright_image(b"\xff\xd8" + data)


def encoded(photo, **how):
    stream = io.BytesIO()
    photo.save(stream, "PNG", **how)
    return stream.getvalue()


def test_a_path_bytes_and_open_files_are_one_image_and_turned_by_the_same_tag(photo, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(photo, exif=exif)
    file = tmp_path / "turned.png"
    file.write_bytes(data)
    with file.open("rb") as opened:
        forms = [file, str(file), data, bytearray(data), memoryview(data), io.BytesIO(data), opened]
        forms.append(Image.open(file))
        found = [upright_image(form) for form in forms]
    assert found[0].size == (16, 24)
    assert all(np.array_equal(np.asarray(other), np.asarray(found[0])) for other in found)


@pytest.mark.parametrize("form", [bytes, bytearray, io.BytesIO])
def test_no_bytes_are_no_image(form):
    with pytest.raises(UnusableImageError, match="has no bytes in it"):
        upright_image(form())


def test_several_images_are_not_taken_for_one_nor_one_for_several(photo, tmp_path):
    many = [[photo], [b"", b""], iter(()), np.zeros((2, 8, 8, 3)), np.array(["a.png", "b.png"])]
    assert not any(map(is_one, many))
    for one in (b"", photo, np.zeros((8, 8, 3)), np.zeros((8, 8)), io.BytesIO(), [[1, 2]], 7):
        with pytest.raises(UsageError, match="expected several images"):
            each_image(one)
    assert len(list(each_image(np.zeros((5, 8, 7), np.uint8)))) == 5, "gray images"
    assert list(each_image(np.array(["a.png", "b.png"]))) == ["a.png", "b.png"]


def test_a_folder_is_its_images_and_one_without_any_is_named(photo, tmp_path):
    for name in ("b.png", "c/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        photo.save(tmp_path / name)
    assert list(each_image(str(tmp_path))) == [tmp_path / "b.png", tmp_path / "c" / "a.png"]
    with pytest.raises(UsageError, match="no such file or folder"):
        each_image(tmp_path / "away")
    (tmp_path / "fish").mkdir()
    with pytest.raises(DataError, match="fish: no image in this folder; expected files whose"):
        list(images_below([tmp_path / "fish"]))
    with pytest.raises(UnusableImageError, match=r"is a folder; predict_batch\(FOLDER\)"):
        upright_image(tmp_path)


def test_however_many_there_are_a_bounded_number_is_held(photo, tmp_path):
    photo.resize((300, 200)).save(tmp_path / "a.bmp")  # large enough for a thread of its own
    asked = []

    def endless(form):
        while True:
            asked.append(1)
            yield form

    for form in (tmp_path / "a.bmp", encoded(photo), photo):
        asked.clear()
        found = each_network_pixels(endless(form), FED, 9)
        for _ in range(3):
            assert next(found)[1].shape == (8, 8, 3)
        assert len(asked) <= AHEAD + 3
        found.close()


def test_the_image_that_cannot_be_used_is_named_by_its_place(photo, tmp_path):
    images = [encoded(photo), photo, b"no image", tmp_path / "away.png"]
    found = each_network_pixels(images, FED, len(images))
    assert [next(found)[0], next(found)[0]] == images[:2]
    with pytest.raises(UsageError, match="image 3 in memory cannot be decoded"):
        next(found)
    with pytest.raises(UsageError, match=r"away\.png cannot be read"):
        list(each_network_pixels(images[3:], FED, 1))
