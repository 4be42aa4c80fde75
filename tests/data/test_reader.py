import hashlib
import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graft.data import reader as module
from graft.data.augmentation import Augmentation, view
from graft.data.decode import Preprocess, center_view, decode
from graft.data.reader import WINDOW, cores, stream

TINY = Preprocess(8, 8, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def png(seed: int, side: int = 12) -> bytes:
    shape = (side, side + 3, 3)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Files of very uneven size, so that later ones are done before earlier ones."""
    files = [tmp_path / f"{number:03d}.png" for number in range(40)]
    for number, file in enumerate(files):
        file.write_bytes(png(number, 400 if number % 10 == 0 else 12))
    return files


def test_files_come_in_order_each_with_its_own_digest_and_pixels(images: list[Path]) -> None:
    order = images[::-1]
    loaded = list(stream(order, TINY))
    assert [item.file for item in loaded] == order
    assert [item.index for item in loaded] == list(range(len(order)))
    for item in loaded:
        data = item.file.read_bytes()
        image = decode(data)
        assert item.digest == hashlib.sha256(data).digest()
        assert item.size == image.size
        assert item.problem is None
        assert list(item.views) == [0]
        assert np.array_equal(item.views[0], center_view(image, TINY))


def test_nothing_gives_nothing() -> None:
    assert list(stream([], TINY)) == []


def test_only_a_window_of_files_is_held_ahead_of_the_consumer(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(png(0))
    taken = 0

    def files() -> Iterator[Path]:
        nonlocal taken
        for _ in range(3 * WINDOW):
            taken += 1
            yield file

    ahead = []
    for consumed, _ in enumerate(stream(files(), TINY), start=1):
        ahead.append(taken - consumed)
    assert consumed == 3 * WINDOW
    assert max(ahead) <= WINDOW + 1
    assert max(ahead) >= WINDOW - 1  # or the cores would wait for the disk


def test_files_are_loaded_on_several_threads_at_once(
    images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "cores", lambda: 3)
    monkeypatch.setattr(module, "SMALL", 0)
    meeting = threading.Barrier(3, timeout=20)  # breaks, and fails the test, unless three come

    def wanted(index: int, digest: bytes) -> tuple[int, ...]:
        if index < 3:
            meeting.wait()
        return ()

    assert len(list(stream(images, TINY, wanted))) == len(images)


def test_small_and_large_files_come_in_order_whichever_thread_decodes_them(
    images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = sorted(file.stat().st_size for file in images)
    plain = [item.views[0] for item in stream(images, TINY)]
    for limit in (0, sizes[len(sizes) // 2], sizes[-1] + 1):
        monkeypatch.setattr(module, "SMALL", limit)
        found = list(stream([*images, images[0].with_name("gone.png")], TINY))
        assert [item.file for item in found[:-1]] == images
        assert all(map(np.array_equal, plain, (item.views[0] for item in found[:-1])))
        assert found[-1].problem is not None


def test_wanted_is_told_position_and_digest_and_chooses_the_views(images: list[Path]) -> None:
    chosen = {0: (0,), 1: (), 2: (2, 5), 3: (1,)}
    told = {}

    def wanted(index: int, digest: bytes) -> tuple[int, ...]:
        told[index] = digest
        return chosen[index]

    for flip in (True, False):
        for item in stream(images[:4], TINY, wanted, Augmentation(flip=flip)):
            data = item.file.read_bytes()
            assert told[item.index] == item.digest == hashlib.sha256(data).digest()
            assert tuple(item.views) == chosen[item.index]
            for number, pixels in item.views.items():
                expected = view(decode(data), number, TINY, item.digest, Augmentation(flip=flip))
                assert np.array_equal(pixels, expected)


def test_a_file_of_which_nothing_is_wanted_is_hashed_but_not_decoded(tmp_path: Path) -> None:
    file = tmp_path / "no-image.jpg"
    file.write_bytes(b"nothing that could be decoded")
    (item,) = stream([file], TINY, lambda index, digest: ())
    assert item.digest == hashlib.sha256(file.read_bytes()).digest()
    assert item.problem is None
    assert item.size is None
    (item,) = stream([file], TINY)
    assert item.problem is not None


def test_a_bad_file_comes_with_its_problem_and_the_others_with_their_pixels(
    images: list[Path], tmp_path: Path
) -> None:
    bad = {
        "empty.png": (b"", "empty"),
        "text.png": (b"hello", "unreadable"),
        "cut.png": (png(1, 60)[:5000], "truncated"),
    }
    for name, (data, _) in bad.items():
        (tmp_path / name).write_bytes(data)
    files = [*images[:2], *(tmp_path / name for name in bad), tmp_path / "gone", images[2]]
    loaded = list(stream(files, TINY))
    kinds = [item.problem and item.problem.kind for item in loaded]
    assert kinds == [None, None, *(kind for _, kind in bad.values()), "unreadable", None]
    for item in loaded:
        assert bool(item.views) == (item.problem is None)
    # Bytes that were read have a digest, even if they are no image.
    assert [item.digest is None for item in loaded] == [
        False,
        False,
        True,
        False,
        False,
        True,
        False,
    ]


def test_leaving_early_stops_the_work_and_the_threads(images: list[Path]) -> None:
    begun = []

    def wanted(index: int, digest: bytes) -> tuple[int, ...]:
        begun.append(index)
        time.sleep(0.02)
        return ()

    before = set(threading.enumerate())
    running = stream(images * 3, TINY, wanted)
    next(running)
    running.close()
    assert len(begun) <= 2 * cores() + 2
    assert not set(threading.enumerate()) - before


def test_a_fault_in_the_caller_is_not_taken_for_a_bad_image(images: list[Path]) -> None:
    def wanted(index: int, digest: bytes) -> tuple[int, ...]:
        raise KeyError("the caller's own mistake")

    with pytest.raises(KeyError, match="own mistake"):
        list(stream(images, TINY, wanted))
