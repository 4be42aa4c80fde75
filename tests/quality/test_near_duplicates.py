import io
from pathlib import Path

import numpy as np
import pytest
from edits import EDITS, planted
from PIL import Image

from graft.data.fingerprint import FINGERPRINT, SIDE, fingerprint, fingerprints
from graft.quality import near_duplicates
from graft.quality.near_duplicates import candidates, clusters, near_pairs


def encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def fingerprinted(images: list[Image.Image]) -> np.ndarray:
    return fingerprints(np.stack([fingerprint(encoded(image), image) for image in images]))


def scene(seed: int, side: int = 160) -> Image.Image:
    """Soft blobs of color with fine grain: an image with detail and no other like it."""
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    large = np.asarray(small.resize((side, side), Image.Resampling.BICUBIC), np.float32)
    grain = Image.fromarray(random.integers(0, 256, (40, 40), dtype=np.uint8))
    fine = np.asarray(grain.resize((side, side), Image.Resampling.BICUBIC), np.float32)
    return Image.fromarray(np.clip(large * 0.7 + fine[..., None] * 0.3, 0, 255).astype(np.uint8))


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_copy_is_found_among_others(edit: str) -> None:
    random = np.random.default_rng(3)
    images = [scene(seed) for seed in range(30)]
    images += [EDITS[edit](images[seed], random) for seed in (4, 17)]
    assert near_pairs(fingerprinted(images)).tolist() == [[4, 30], [17, 31]]


@pytest.mark.parametrize("degrees", [-8, -7, 7, 8])
def test_a_copy_rotated_with_black_corners_is_found(degrees: int) -> None:
    images = [scene(seed) for seed in range(30)]
    images += [image.rotate(degrees, Image.Resampling.BICUBIC) for image in images[:12]]
    assert near_pairs(fingerprinted(images)).tolist() == [[seed, 30 + seed] for seed in range(12)]


@pytest.mark.parametrize("degrees", [-8, -7, 7, 8])
def test_a_rotated_copy_is_found_with_room_to_spare(degrees: int) -> None:
    # Far above ALIKE: no CPU rounds that much.
    images = [scene(seed) for seed in range(12)]
    images += [image.rotate(degrees, Image.Resampling.BICUBIC) for image in images]
    gray = np.ascontiguousarray(fingerprinted(images)["gray"])
    rotated = near_duplicates._unit(
        near_duplicates._rotated(gray, np.arange(12))[:, int(degrees > 0)]
    )
    copies = near_duplicates._unit(near_duplicates._blurred(gray, np.arange(12, 24))[:, 0, 0])
    assert (rotated * copies).sum(1).min() > near_duplicates.ALIKE + 0.1


def test_pairs_do_not_hang_on_a_gray_level() -> None:
    images = [scene(seed) for seed in range(30)]
    images += [
        images[seed].rotate(degrees, Image.Resampling.BICUBIC)
        for seed, degrees in enumerate((-8, -7, -5, 5, 7, 8))
    ]
    rows = fingerprinted(images)
    expected = [[seed, 30 + seed] for seed in range(6)]
    for seed in range(5):
        noisy = rows.copy()
        noise = np.random.default_rng(seed).integers(-1, 2, rows["gray"].shape)
        noisy["gray"] = np.clip(rows["gray"].astype(int) + noise, 0, 255)
        assert near_pairs(noisy).tolist() == expected


def test_pairs_do_not_hang_on_the_last_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    images = [scene(seed) for seed in range(30)]
    images += [image.rotate(-7, Image.Resampling.BICUBIC) for image in images[:6]]
    rows = fingerprinted(images)
    random, exact = np.random.default_rng(0), near_duplicates._unit

    def rounded(blocks: np.ndarray) -> np.ndarray:
        """As on a CPU that rounds otherwise, a hundred times over."""
        unit = exact(blocks)
        return unit * (1 + random.normal(0, 1e-5, unit.shape).astype(np.float32))

    monkeypatch.setattr(near_duplicates, "_unit", rounded)
    for _ in range(3):
        assert near_pairs(rows).tolist() == [[seed, 30 + seed] for seed in range(6)]


def test_different_images_are_no_pairs() -> None:
    found = near_pairs(fingerprinted([scene(seed) for seed in range(60)]))
    assert len(found) == 0


def test_like_frames_do_not_make_a_pair() -> None:
    images = [scene(seed) for seed in range(20)]
    for image in images:
        frame = np.asarray(image).copy()
        frame[:18], frame[-18:], frame[:, :18], frame[:, -18:] = 255, 255, 255, 255
        frame[16:18, 16:-16] = frame[-18:-16, 16:-16] = 0
        image.paste(Image.fromarray(frame))
    assert len(near_pairs(fingerprinted(images))) == 0


def test_blank_and_very_small_images_are_left_out() -> None:
    blank = [Image.new("RGB", (64, 64), (n, n, n)) for n in (3, 90, 91)]
    small = [scene(1, 160).resize((16, 16)) for _ in range(2)]
    assert len(near_pairs(fingerprinted(blank + small))) == 0
    assert len(near_pairs(np.empty(0, FINGERPRINT))) == 0


def test_small_cells_find_nearly_the_same_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    images = [scene(seed) for seed in range(120)]
    images += [image.rotate(180) for image in images[:20]]
    rows = fingerprinted(images)
    whole = near_pairs(rows)
    monkeypatch.setattr(near_duplicates, "CELL", 16)
    fewer = {tuple(pair) for pair in near_pairs(rows).tolist()}
    assert len(whole) == 20
    assert fewer <= {tuple(pair) for pair in whole.tolist()}
    assert len(fewer) >= 18


def test_the_middles_of_cells_are_no_split_of_the_thumbnails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(near_duplicates, "CELL", 4)
    rows = np.random.default_rng(0).normal(size=(64, near_duplicates.BLUR**2)).astype(np.float32)
    before = rows.copy()
    centers = near_duplicates._centers(rows)
    assert len(centers) == 16
    assert not np.shares_memory(centers, rows)
    assert np.array_equal(rows, before)


def test_six_hundred_equal_thumbnails_are_one_cluster() -> None:
    one = np.random.default_rng(0).integers(0, 256, (1, SIDE, SIDE), dtype=np.uint8)
    gray = np.repeat(one, 600, 0)
    pairs, _ = candidates(gray, np.arange(600))
    assert clusters(pairs, 600) == [list(range(600))]
    assert (gray == one).all()


def test_more_images_than_a_cell_holds_of_three_scenes_are_three_clusters() -> None:
    random = np.random.default_rng(1)
    scenes = [np.asarray(scene(seed, 64), np.float32) for seed in range(3)]
    noisy = [scenes[n % 3] + random.normal(0, 4, scenes[0].shape) for n in range(540)]
    images = [Image.fromarray(np.clip(one, 0, 255).astype(np.uint8)) for one in noisy]
    found = clusters(near_pairs(fingerprinted(images)), 540)
    assert found == [list(range(start, 540, 3)) for start in range(3)]


def test_clusters_are_the_connected_groups_in_order() -> None:
    pairs = np.array([[4, 7], [1, 2], [7, 9], [2, 0]])
    assert clusters(pairs, 10) == [[0, 1, 2], [4, 7, 9]]
    assert clusters(np.empty((0, 2), np.int64), 3) == []


def test_of_copies_among_photos_nearly_all_are_found_and_hardly_any_other(flowers: Path) -> None:
    photos = sorted(flowers.rglob("*.jpg"))
    np.random.default_rng(0).shuffle(photos)
    images, true = planted(photos[:600], 64, seed=11)
    found = {tuple(pair) for pair in near_pairs(fingerprinted(images)).tolist()}
    # Copies that came with the photos, both of them from the source, are no mistakes.
    extra = {pair for pair in found - set(true) if pair[1] >= 600}
    assert len(found & set(true)) >= 0.97 * len(true)
    assert len(extra) <= 0.03 * len(true)
