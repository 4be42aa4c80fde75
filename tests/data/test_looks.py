import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from graft.data.dataset import Example, Issue
from graft.data.looks import look_issues
from graft.data.shortcut import shortcut_issues
from graft.data.sketch import SKETCH, Sketches, format_name, sketch, sketches

RANDOM = np.random.default_rng(5)


def noise(width: int = 90, height: int = 80, low: int = 0, high: int = 256) -> Image.Image:
    return Image.fromarray(RANDOM.integers(low, high, (height, width, 3), dtype=np.uint8))


def dark() -> Image.Image:
    grey = RANDOM.integers(0, 22, (80, 90, 1), dtype=np.uint8)
    return Image.fromarray(np.repeat(grey, 3, 2))


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def of(*images: Image.Image, format: str = "PNG") -> Sketches:
    return sketches(np.stack([sketch(encoded(i, format), i) for i in images]))


def examples(count: int, name: str = "{}.png") -> list[Example]:
    return [Example(name.format(n), Path(name.format(n)), "a") for n in range(count)]


def kinds(*images: Image.Image) -> dict[str, Issue]:
    return {i.kind: i for i in look_issues(examples(len(images)), of(*images))}


def test_a_sketch_holds_size_format_colour_and_luminance() -> None:
    image = Image.new("RGB", (200, 100), (10, 200, 30))
    (row,) = of(image, format="JPEG")
    assert (row["width"], row["height"]) == (200, 100)
    assert format_name(int(row["format"])) == "JPEG"
    assert row["bytes"] == len(encoded(image, "JPEG"))
    assert np.allclose(row["mean"], (10, 200, 30), atol=2)
    assert np.allclose(row["border"], (10, 200, 30), atol=2)
    assert np.allclose(row["grey"], 0.299 * 10 + 0.587 * 200 + 0.114 * 30, atol=2)
    assert row["spread"] < 1
    assert (row["camera"], row["taken"]) == (0, 0)


def test_a_sketch_knows_camera_and_time_of_the_exif() -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Maker", "One"
    exif.get_ifd(0x8769)[0x9003] = "2024:02:29 12:30:15"
    image = noise()
    rows = [sketch(encoded(image, "JPEG", exif=exif), image), sketch(encoded(image, "JPEG"), image)]
    with_exif, without = sketches(np.stack(rows))
    assert with_exif["camera"] > 0
    assert with_exif["taken"] == 1709209815  # that moment as UTC, by date(1)
    assert without["camera"] == 0


def test_ordinary_pictures_have_no_issue() -> None:
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
def test_a_picture_that_shows_little_is_told(kind: str, severity: str, image: Image.Image) -> None:
    issue = kinds(noise(), image)[kind]
    assert (issue.severity, issue.paths) == (severity, ("1.png",))


def test_a_blurred_picture_is_told() -> None:
    large = Image.fromarray(RANDOM.integers(0, 256, (12, 12, 3), dtype=np.uint8))
    sharp = large.resize((240, 240), Image.Resampling.NEAREST)
    assert set(kinds(sharp, sharp.filter(ImageFilter.GaussianBlur(16)))) == {"blurred"}


def test_a_name_that_lies_about_the_format_is_told() -> None:
    (issue,) = look_issues(examples(2, "{}.jpg"), of(noise(), noise(), format="PNG"))
    assert (issue.kind, len(issue.paths)) == ("wrong_extension", 2)
    assert "PNG" in issue.message
    assert look_issues(examples(1, "{}.JPEG"), of(noise(), format="JPEG")) == []
    assert look_issues(examples(1, "{}.png"), of(noise())) == []


def rows(count: int = 200) -> tuple[Sketches, np.ndarray]:
    """Sketches that have nothing to do with their labels."""
    random = np.random.default_rng(0)
    found = np.zeros(count, SKETCH)
    for name in ("width", "height", "bytes"):
        found[name] = random.integers(100, 1000, count)
    found["border"] = random.uniform(0, 255, (count, 3))
    found["mean"] = random.uniform(0, 255, (count, 3))
    found["spread"] = random.uniform(0, 60, count)
    found["sharpness"] = random.uniform(0, 1, count)
    found["camera"] = random.integers(0, 4, count)
    return found, random.integers(0, 2, count)


def test_trivia_that_say_nothing_of_the_label_are_no_shortcut() -> None:
    found, labels = rows()
    assert shortcut_issues(labels, ["a", "b"], found) == []


@pytest.mark.parametrize(
    ("column", "values", "words"),
    [
        ("camera", (7, 8), "the camera"),
        ("width", (300, 900), "the size of the picture"),
        ("format", (1, 2), "the file type"),
        ("border", (20, 230), "the border"),
        ("mean", (20, 230), "the brightness"),
    ],
)
def test_what_alone_tells_the_classes_apart_is_a_shortcut(
    column: str, values: tuple[int, int], words: str
) -> None:
    found, labels = rows()
    told = np.where(np.random.default_rng(1).random(len(labels)) < 0.95, labels, 1 - labels)
    value = np.where(told == 1, values[1], values[0])
    found[column] = value[:, None] if found[column].ndim > 1 else value
    issues = shortcut_issues(labels, ["a", "b"], found)
    assert [issue.kind for issue in issues] == ["shortcut"]
    assert issues[0].message.startswith(words)
    assert "9" in issues[0].message  # 9x % of the cases


def test_too_few_pictures_say_nothing_about_shortcuts() -> None:
    found, _ = rows(30)
    assert shortcut_issues(np.arange(30) % 2, ["a", "b"], found) == []
