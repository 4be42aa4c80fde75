import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from graft.data.dataset import Example
from graft.data.fingerprint import Fingerprints, fingerprint, fingerprints, format_name
from graft.quality.appearance import appearance_findings
from graft.quality.finding import Finding, some

RANDOM = np.random.default_rng(5)


def noise(width: int = 90, height: int = 80, low: int = 0, high: int = 256) -> Image.Image:
    return Image.fromarray(RANDOM.integers(low, high, (height, width, 3), dtype=np.uint8))


def dark() -> Image.Image:
    gray = RANDOM.integers(0, 22, (80, 90, 1), dtype=np.uint8)
    return Image.fromarray(np.repeat(gray, 3, 2))


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def of(*images: Image.Image, format: str = "PNG") -> Fingerprints:
    return fingerprints(np.stack([fingerprint(encoded(i, format), i) for i in images]))


def examples(count: int, name: str = "{}.png") -> list[Example]:
    return [Example(name.format(n), Path(name.format(n)), "a") for n in range(count)]


def kinds(*images: Image.Image) -> dict[str, Finding]:
    return {i.kind: i for i in appearance_findings(examples(len(images)), of(*images))}


def test_a_fingerprint_holds_size_format_color_and_luminance() -> None:
    image = Image.new("RGB", (200, 100), (10, 200, 30))
    (row,) = of(image, format="JPEG")
    assert (row["width"], row["height"]) == (200, 100)
    assert format_name(int(row["format"])) == "JPEG"
    assert row["bytes"] == len(encoded(image, "JPEG"))
    assert np.allclose(row["mean"], (10, 200, 30), atol=2)
    assert np.allclose(row["border"], (10, 200, 30), atol=2)
    assert np.allclose(row["gray"], 0.299 * 10 + 0.587 * 200 + 0.114 * 30, atol=2)
    assert row["spread"] < 1
    assert (row["camera"], row["taken"]) == (0, 0)


def test_a_fingerprint_knows_camera_and_time_of_the_exif() -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Maker", "One"
    exif.get_ifd(0x8769)[0x9003] = "2024:02:29 12:30:15"
    image = noise()
    rows = [
        fingerprint(encoded(image, "JPEG", exif=exif), image),
        fingerprint(encoded(image, "JPEG"), image),
    ]
    with_exif, without = fingerprints(np.stack(rows))
    assert with_exif["camera"] > 0
    assert with_exif["taken"] == 1709209815  # that moment as UTC, by date(1)
    assert without["camera"] == 0


def test_ordinary_images_have_no_finding() -> None:
    assert kinds(noise(), noise(300, 200)) == {}


@pytest.mark.parametrize(
    ("kind", "severity", "image"),
    [
        ("blank", "matters", Image.new("RGB", (80, 80), "white")),
        ("dark", "matters", dark()),
        ("tiny", "note", noise(20, 90)),
        ("elongated", "note", noise(400, 100)),
    ],
)
def test_a_image_that_shows_little_is_told(kind: str, severity: str, image: Image.Image) -> None:
    finding = kinds(noise(), image)[kind]
    assert (finding.severity, finding.paths) == (severity, ("1.png",))


def test_a_blurred_image_is_told() -> None:
    large = Image.fromarray(RANDOM.integers(0, 256, (12, 12, 3), dtype=np.uint8))
    sharp = large.resize((240, 240), Image.Resampling.NEAREST)
    assert set(kinds(sharp, sharp.filter(ImageFilter.GaussianBlur(16)))) == {"blurred"}


def test_a_name_that_lies_about_the_format_is_told() -> None:
    (finding,) = appearance_findings(examples(2, "{}.jpg"), of(noise(), noise(), format="PNG"))
    assert (finding.kind, len(finding.paths)) == ("wrong_extension", 2)
    assert "PNG" in finding.message
    assert appearance_findings(examples(1, "{}.JPEG"), of(noise(), format="JPEG")) == []
    assert appearance_findings(examples(1, "{}.png"), of(noise())) == []


def test_of_many_names_three_are_named() -> None:
    assert some(["a"]) == "'a'"
    assert some(["a", "b", "c"]) == "'a', 'b' and 'c'"
    assert some([*"abcde"]) == "'a', 'b', 'c' and 2 more"
