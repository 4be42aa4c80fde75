import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from graft.data.augmentation import MIN_AREA, Augmentation, view
from graft.data.decode import Preprocess, center_view, decode, resized_shorter_side
from graft.data.distortion import augmentation

GREY = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # mean, std: no matter here
SMALL = Preprocess(32, 32, *GREY)
CONFIGS = [
    Preprocess(24, 24, *GREY, "bicubic", 0.875),
    Preprocess(32, 32, *GREY, "bilinear", 0.95),
    Preprocess(28, 28, *GREY, "bicubic", 1.0),
    Preprocess(30, 18, *GREY, "lanczos", 0.9),
    Preprocess(17, 31, *GREY, "bilinear", 0.77),
    Preprocess(24, 18, *GREY, "bicubic", 1.0, "squash"),
    Preprocess(32, 32, *GREY, "bilinear", 0.9, "squash"),
]


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    shape = (height, width, 3)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def ramp(width: int, height: int) -> Image.Image:
    """Red grows to the right and green to the bottom, so a crop shows where it was taken."""
    red = np.tile(np.linspace(0, 255, width), (height, 1))
    green = np.tile(np.linspace(0, 255, height)[:, None], (1, width))
    return Image.fromarray(np.stack([red, green, 0 * red], axis=-1).round().astype(np.uint8))


def digest(name: object) -> bytes:
    return hashlib.sha256(str(name).encode()).digest()


def as_torchvision(image: Image.Image, preprocess: Preprocess) -> np.ndarray:
    from torchvision.transforms import CenterCrop, InterpolationMode, Resize

    side: int | tuple[int, int] = int(max(preprocess.height, preprocess.width) / preprocess.crop)
    if preprocess.resize == "squash":
        side = (int(preprocess.height / preprocess.crop), int(preprocess.width / preprocess.crop))
    resize = Resize(side, InterpolationMode(preprocess.interpolation), antialias=True)
    return np.asarray(CenterCrop((preprocess.height, preprocess.width))(resize(image)))


def test_a_squashed_view_shows_all_of_an_image_that_a_crop_cuts() -> None:
    whole = Preprocess(32, 32, *GREY, resize="squash")
    for image in (ramp(300, 60), ramp(60, 300)):
        seen, cut = center_view(image, whole), center_view(image, SMALL)
        assert np.ptp(seen[..., 0]) > 235
        assert np.ptp(seen[..., 1]) > 235
        assert min(np.ptp(cut[..., 0]), np.ptp(cut[..., 1])) < 60


@settings(max_examples=150, deadline=None)
@given(st.integers(8, 240), st.integers(8, 240), st.sampled_from(CONFIGS), st.integers(0, 99))
def test_center_view_is_resize_and_center_crop_of_torchvision_to_the_bit(
    width: int, height: int, preprocess: Preprocess, seed: int
) -> None:
    image = noise(width, height, seed)
    expected = as_torchvision(image, preprocess)
    got = center_view(image, preprocess)
    assert got.dtype == np.uint8
    assert np.array_equal(got, expected)


def test_center_view_of_real_photos_is_that_of_torchvision(flowers: Path) -> None:
    preprocess = Preprocess(160, 160, *GREY, "bicubic", 0.875)
    for file in sorted(flowers.glob("*/*.jpg"))[::500]:
        image = decode(file.read_bytes())
        assert np.array_equal(center_view(image, preprocess), as_torchvision(image, preprocess))


@pytest.mark.parametrize("size", [(3, 300), (300, 3), (40, 2000)])
def test_center_view_of_an_elongated_image_is_close_to_that_of_torchvision(
    size: tuple[int, int],
) -> None:
    # Where Pillow rounds between columns and rows may differ; where it looks may not.
    image = Image.fromarray(np.asarray(noise(*size)) // 4 + 96)  # no overshoot to cut off
    gap = center_view(image, SMALL).astype(int) - as_torchvision(image, SMALL)
    assert np.abs(gap).max() <= 1


@pytest.mark.parametrize("size", [(2, 2500), (2500, 2), (1, 60_000), (60_000, 1)])
def test_a_very_elongated_image_is_seen_at_its_middle_without_a_huge_copy(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = ramp(*size)
    true_resize, made = Image.Image.resize, []

    def resize(self: Image.Image, size: tuple[int, int], *args: object, **more: object) -> object:
        made.append(size[0] * size[1])
        return true_resize(self, size, *args, **more)

    monkeypatch.setattr(Image.Image, "resize", resize)
    for number in range(4):
        assert view(image, number, SMALL, digest("long")).shape == (32, 32, 3)
    assert max(made) <= 32 * 32 * 32
    long_side = 0 if size[0] > size[1] else 1
    assert np.abs(view(image, 0, SMALL, digest(0))[..., long_side].astype(int) - 127).max() <= 2


def jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return file.getvalue()


def gap_of_scaled_decoding(data: bytes) -> float:
    preprocess = Preprocess(224, 224, *GREY, "bicubic", 0.875)
    whole, scaled = decode(data), decode(data, resized_shorter_side(preprocess))
    assert max(scaled.size) < max(whole.size)
    gap = center_view(scaled, preprocess).astype(float) - center_view(whole, preprocess)
    return float(np.abs(gap).mean())


def test_scaled_decoding_of_enlarged_photos_stays_within_a_gray_level(flowers: Path) -> None:
    for file in sorted(flowers.glob("*/*.jpg"))[::800]:
        for size in [(2400, 2104), (2399, 2101)]:  # sizes that divide by 8, and not by 2
            large = Image.open(file).resize(size, Image.Resampling.BICUBIC)
            assert gap_of_scaled_decoding(jpeg(large)) < 0.5


def test_scaled_decoding_of_fine_detail_stays_within_one_and_a_half_gray_levels(
    flowers: Path,
) -> None:
    # A hundred photos side by side: detail down to the pixel, which enlarged ones have not.
    files = sorted(flowers.glob("*/*.jpg"))[::32][:100]
    mosaic = Image.new("RGB", (2270, 2270))
    for index, file in enumerate(files):
        mosaic.paste(Image.open(file), (index % 10 * 227, index // 10 * 227))
    for side in (2264, 2269):
        assert gap_of_scaled_decoding(jpeg(mosaic.crop((0, 0, side, side)))) < 1.5


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 90), st.integers(2, 90), st.integers(0, 9), st.integers(), st.booleans())
def test_a_view_is_the_same_each_time(
    width: int, height: int, number: int, name: int, flip: bool
) -> None:
    first = view(noise(width, height), number, SMALL, digest(name), Augmentation(flip=flip))
    view(noise(9, 9), 3, SMALL, digest("between"), Augmentation(flip=flip))
    assert np.array_equal(
        view(noise(width, height), number, SMALL, digest(name), Augmentation(flip=flip)), first
    )


def test_numbers_and_images_have_views_of_their_own() -> None:
    image = noise(60, 80)
    seen = {view(image, n, SMALL, digest(name)).tobytes() for n in range(1, 21) for name in "ab"}
    assert len(seen) == 40


def test_view_zero_is_the_center_view_whatever_the_image_is_called_and_never_mirrored() -> None:
    image = ramp(70, 50)
    expected = center_view(image, SMALL)
    for name in range(8):
        for flip in (True, False):
            assert np.array_equal(
                view(image, 0, SMALL, digest(name), Augmentation(flip=flip)), expected
            )


def test_half_of_the_views_are_mirrored_and_none_without_flip() -> None:
    image = ramp(90, 60)

    def runs_left(pixels: np.ndarray) -> bool:
        return bool(pixels[0, 0, 0] > pixels[0, -1, 0])

    mirrored = 0
    for number in range(1, 401):
        plain = view(image, number, SMALL, digest("ramp"), Augmentation(flip=False))
        assert not runs_left(plain)
        flipped = view(image, number, SMALL, digest("ramp"), Augmentation(flip=True))
        mirrored += runs_left(flipped)
        # Flipping is the only thing that flip changes.
        assert np.array_equal(flipped[:, ::-1] if runs_left(flipped) else flipped, plain)
        assert flipped.flags.c_contiguous
    assert 150 < mirrored < 250  # five standard deviations about 200


def test_crops_keep_at_least_their_share_and_lie_anywhere() -> None:
    image = ramp(400, 300)
    areas, across, down = [], [], []
    for number in range(1, 301):
        pixels = view(image, number, SMALL, digest("area"), Augmentation(flip=False)).astype(float)
        left, right = pixels[:, 0, 0].mean() / 255, pixels[:, -1, 0].mean() / 255
        top, bottom = pixels[0, :, 1].mean() / 255, pixels[-1, :, 1].mean() / 255
        # The outermost of 32 pixels have their centers half a pixel inside the crop.
        areas.append((right - left) * (bottom - top) * (32 / 31) ** 2)
        for start, end, places in ((left, right, across), (top, bottom, down)):
            if end - start < 0.7:
                places.append(start / (start + 1 - end))  # 0 at one edge, 1 at the other
    assert min(areas) > MIN_AREA["standard"] - 0.03
    assert min(areas) < 0.45
    assert max(areas) > 0.85
    for places in (across, down):
        quarters, _ = np.histogram(places, bins=4, range=(0, 1))
        assert quarters.min() > len(places) / 8 > 4


@pytest.mark.parametrize("preset", ["light", "standard", "strong"])
def test_a_preset_keeps_view_0_and_makes_the_others_the_same_in_every_thread(preset):
    from concurrent.futures import ThreadPoolExecutor

    chosen = augmentation(preset, True)
    image = ramp(60, 50)
    plain = center_view(image, SMALL)
    assert np.array_equal(view(image, 0, SMALL, digest("x"), chosen), plain)
    jobs = [(number, name) for number in range(1, 8) for name in "abcdef"]

    def make(job):
        return view(image, job[0], SMALL, digest(job[1]), chosen)

    alone = [make(job) for job in jobs]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(make, jobs))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))
    assert all(pixels.shape == (32, 32, 3) for pixels in alone)
    assert len({pixels.tobytes() for pixels in alone}) == len(jobs)


def test_the_preset_none_changes_nothing():
    image = ramp(60, 50)
    plain = center_view(image, SMALL)
    assert np.array_equal(view(image, 5, SMALL, digest("x"), Augmentation("none")), plain)


def test_stronger_presets_keep_less_of_the_image():
    def spread(preset):
        pixels = [
            view(ramp(64, 64), n, SMALL, digest("area"), Augmentation(preset, flip=False))
            for n in range(1, 60)
        ]
        return np.mean(
            [np.ptp(p[..., 0].astype(int)) * np.ptp(p[..., 1].astype(int)) for p in pixels]
        )

    assert spread("light") > spread("standard")
