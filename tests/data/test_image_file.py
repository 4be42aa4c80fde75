import io
import os
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graft.data.decode import Preprocess, decode
from graft.data.fingerprint import fingerprint, fingerprints, format_name
from graft.data.image_file import MAX_BYTES, MAX_PIXELS, Room, UnusableImageError, read_bytes
from graft.data.reader import stream

PREPROCESS = Preprocess(16, 16, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def gradient(width: int = 64, height: int = 48) -> Image.Image:
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return Image.fromarray(np.dstack([x * 3, y * 4, 0 * x]).astype(np.uint8))


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def problem(file: Path) -> tuple[str, str]:
    with pytest.raises(UnusableImageError) as caught:
        read_bytes(file)
    return caught.value.kind, str(caught.value)


def test_what_is_no_regular_file_is_named_and_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    reads = "cannot be read: it is"
    assert problem(tmp_path / "pipe.jpg") == ("unreadable", f"{reads} a named pipe, not a file")
    assert problem(tmp_path / "zero.jpg") == ("unreadable", f"{reads} a device, not a file")
    assert problem(tmp_path / "folder.jpg") == ("unreadable", f"{reads} a folder, not a file")
    assert problem(tmp_path / "gone.jpg")[1] == "cannot be read: No such file or directory"
    assert problem(Path("a\0b.jpg"))[0] == "unreadable"


def test_a_sparse_file_of_30_gb_is_oversized_and_takes_no_memory(tmp_path: Path) -> None:
    with (tmp_path / "sparse.jpg").open("wb") as file:
        file.truncate(30 * 10**9)
    tracemalloc.start()
    kind, reason = problem(tmp_path / "sparse.jpg")
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()
    assert (kind, reason) == ("oversized", f"has 30,000,000,000 bytes, more than {MAX_BYTES:,}")


def test_pipes_devices_and_sparse_files_among_images_hold_up_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    with (tmp_path / "sparse.jpg").open("wb") as file:
        file.truncate(30 * 10**9)
    (tmp_path / "whole.png").write_bytes(encoded(gradient(), "PNG"))
    files = sorted(tmp_path.iterdir())
    found = [item.problem.kind if item.problem else "" for item in stream(files, PREPROCESS)]
    assert found == ["unreadable", "oversized", "", "unreadable"]


def test_heic_is_read_like_any_other_format() -> None:
    pytest.importorskip("pillow_heif").register_heif_opener()
    data = encoded(gradient(), "HEIF", quality=95)
    image = decode(data)
    assert (image.size, image.mode) == ((64, 48), "RGB")
    assert np.abs(np.asarray(image).astype(int) - np.asarray(gradient())).mean() < 4
    (row,) = fingerprints(fingerprint(data, image)[np.newaxis])
    assert (format_name(int(row["format"])), row["width"]) == ("HEIF", 64)


def test_heic_cut_short_is_unusable() -> None:
    pytest.importorskip("pillow_heif").register_heif_opener()
    data = encoded(gradient(400, 300), "HEIF")
    for length in range(20, len(data), len(data) // 40):
        with pytest.raises(UnusableImageError):
            decode(data[:length])


def test_without_its_package_heic_is_named_with_what_to_install() -> None:
    program = (
        "import sys; sys.modules['pillow_heif'] = None\n"
        "from graft.data.decode import decode\n"
        "decode(b'\\0\\0\\0\\x1cftypheic\\0\\0\\0\\0mif1heicmiaf' + bytes(200))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "is a HEIC image, which needs one more package: pip install 'graft[heic]'" in done.stderr


def test_an_mpo_gives_its_first_image() -> None:
    second = Image.new("RGB", (64, 48), "blue")
    data = encoded(gradient(), "MPO", save_all=True, append_images=[second])
    assert Image.open(io.BytesIO(data)).format == "MPO"
    image = decode(data, 8)
    assert np.abs(np.asarray(image).astype(int) - np.asarray(gradient())).mean() < 4


def test_a_room_is_never_held_by_more_than_fit_and_nobody_waits_forever() -> None:
    room, held, most = Room(10, 1), [0], [0]
    lock = threading.Lock()

    def work(amount: int) -> None:
        for _ in range(20):
            with room.taken(amount):
                with lock:
                    held[0] += amount
                    most[0] = max(most[0], held[0])
                time.sleep(0.0005)
                with lock:
                    held[0] -= amount

    threads = [threading.Thread(target=work, args=(n,)) for n in (1, 2, 3, 4, 9, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert most[0] <= 10
    with room.taken(50), room.taken(0):  # alone it may take more than there is
        pass


def test_large_images_are_converted_in_strips_to_the_very_same_pixels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, 70, 4), dtype=np.uint8)
    sixteen = np.random.default_rng(0).integers(0, 65536, (90, 70)).astype(np.uint16)
    images = [
        encoded(Image.fromarray(noise), "PNG"),
        encoded(Image.fromarray(noise[..., 0]).convert("P"), "PNG", transparency=3),
        encoded(Image.fromarray(noise[..., :3]).convert("CMYK"), "TIFF"),
        encoded(Image.fromarray(sixteen), "PNG"),
        encoded(Image.fromarray(noise[..., :2].copy(), "LA"), "PNG"),
    ]
    whole = [np.asarray(decode(data)) for data in images]
    monkeypatch.setattr("graft.data.decode.STRIP", 500)
    for data, before in zip(images, whole, strict=True):
        assert np.array_equal(np.asarray(decode(data)), before)


PEAK = """
import sys
from pathlib import Path
from graft.data.decode import Preprocess
from graft.data import reader
reader.cores = lambda: 8
files = [Path(name) for name in sys.argv[1:]] * 3
preprocess = Preprocess(16, 16, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
found = [item.problem for item in reader.stream(files, preprocess, fingerprinted=lambda d: True)]
assert all(p is None for p in found), found
# Not ru_maxrss, which begins with the parent process's.
status = Path("/proc/self/status").read_text()
print(int(status.partition("VmHWM:")[2].split()[0]) // 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("form", ["RGBA.png", "I;16.png", "RGB.jp2", "P.gif", "RGBA.webp"])
def test_threads_with_the_largest_images_stay_below_2_gb(tmp_path: Path, form: str) -> None:
    mode, _, kind = form.partition(".")
    side = int((MAX_PIXELS // (2 if kind == "jp2" else 1)) ** 0.5)
    shape = (side, side, 4) if mode == "RGBA" else (side, side)
    if mode == "RGB":
        image = Image.new("RGB", (side, side), (200, 30, 90))
    elif mode == "I;16":
        image = Image.fromarray(np.full(shape, 40_000, np.uint16))
    else:
        image = Image.fromarray(np.full(shape, 90, np.uint8))
        image = image.convert("P") if mode == "P" else image
    options = {"lossless": True, "method": 0} if kind == "webp" else {}
    image.save(tmp_path / f"bomb.{kind}", **options)
    assert (tmp_path / f"bomb.{kind}").stat().st_size < 10**6
    command = [sys.executable, "-c", PEAK, str(tmp_path / f"bomb.{kind}")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 2000
