"""Real photos with one of everything that goes wrong among them: all of it named, nothing lost."""

import io
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from graft.quality.check import CheckResult, check

EACH = 6
# What cannot be used at all.
CORRUPT = ("empty", "truncated", "unreadable", "oversized")


def encoded(image: Image.Image, format: str = "JPEG") -> bytes:
    file = io.BytesIO()
    image.save(file, format)
    return file.getvalue()


def bomb() -> bytes:
    """A PNG of a few bytes that claims 60,000 pixels a side."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def spoilt(kind: str, photo: Path, number: int) -> tuple[str, bytes]:
    """A file's ending and bytes with what the kind says."""
    image = Image.open(photo).convert("RGB")
    data = photo.read_bytes()
    match kind:
        case "empty":
            return "jpg", b""
        case "truncated":
            return "jpg", data[: len(data) * (number + 3) // 10]
        case "unreadable":
            texts = (b"<html>404</html>", b"\0" * 900, data[200:], b"GIF89a", b"%PDF-1.7", b"\xff")
            return "jpg", texts[number]
        case "oversized":
            return "png", bomb()
        case "wrong_extension":
            return ("jpg", encoded(image, "PNG")) if number % 2 else ("png", data)
        case "blank":
            return "png", encoded(Image.new("RGB", (90, 70), (number * 30 + 60,) * 3), "PNG")
        case "dark":
            return "jpg", encoded(image.point(lambda v: v // 10 if number % 2 else v // 26))
        case "blurred":
            return "jpg", encoded(image.filter(ImageFilter.GaussianBlur(image.width / 20)))
        case "tiny":
            return "jpg", encoded(image.resize((24, 20)))
        case _:
            return "jpg", encoded(image.resize((400, 90)))


LOOKS = ("wrong_extension", "blank", "dark", "blurred", "tiny", "elongated")


@pytest.fixture(scope="module")
def audited(
    flowers: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[CheckResult, dict[str, set[str]]]:
    """What check says of 400 photos and of what was made out of 60 others."""
    root = tmp_path_factory.mktemp("planted")
    photos = sorted(flowers.rglob("*.jpg"))
    np.random.default_rng(5).shuffle(photos)
    for photo in photos[:400]:
        (root / photo.parent.name).mkdir(exist_ok=True)
        shutil.copy(photo, root / photo.parent.name)
    planted: dict[str, set[str]] = {}
    spare = iter(photos[400:])
    for kind in (*CORRUPT, *LOOKS):
        for number in range(EACH):
            photo = next(spare)
            ending, data = spoilt(kind, photo, number)
            path = f"{photo.parent.name}/{kind}{number}.{ending}"
            (root / path).write_bytes(data)
            planted.setdefault(kind, set()).add(path)
    return check(root), planted


def told(result: CheckResult, kind: str) -> set[str]:
    return {path for finding in result.findings if finding.kind == kind for path in finding.paths}


@pytest.mark.parametrize("kind", CORRUPT)
def test_every_file_that_cannot_be_used_is_named_and_no_other(audited, kind: str) -> None:
    result, planted = audited
    assert told(result, kind) == planted[kind]


def test_nothing_but_what_cannot_be_used_is_lost(audited) -> None:
    result, _ = audited
    # Two labels for the same bytes come with these photos, and keep both copies out.
    lost = len(CORRUPT) * EACH + len(told(result, "two_labels"))
    assert len(result.dataset.examples) == 400 + (len(CORRUPT) + len(LOOKS)) * EACH
    assert result.usable == len(result.dataset.examples) - lost


@pytest.mark.parametrize("kind", LOOKS)
def test_every_strange_look_is_named_and_hardly_a_good_photo(audited, kind: str) -> None:
    result, planted = audited
    # A photo may be so dark that hardly any light is left in it: that is blank.
    found = told(result, kind) | (told(result, "blank") if kind == "dark" else set())
    assert planted[kind] <= found
    others = found - planted[kind] - set.union(*(planted[k] for k in LOOKS))
    assert len(others) <= 4  # of 400
