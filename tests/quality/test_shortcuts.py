from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from graft.data.fingerprint import FINGERPRINT, Fingerprints
from graft.quality import shortcuts
from graft.quality.check import check
from graft.quality.shortcuts import FOLDS, shortcut_findings


def rows(count: int = 200, classes: int = 2) -> tuple[Fingerprints, np.ndarray]:
    """Fingerprints that have nothing to do with their labels."""
    random = np.random.default_rng(0)
    found = np.zeros(count, FINGERPRINT)
    for name in ("width", "height", "bytes"):
        found[name] = random.integers(100, 1000, count)
    found["border"] = random.uniform(0, 255, (count, 3))
    found["mean"] = random.uniform(0, 255, (count, 3))
    found["spread"] = random.uniform(0, 60, count)
    found["sharpness"] = random.uniform(0, 1, count)
    found["camera"] = random.integers(0, 4, count)
    return found, random.integers(0, classes, count)


def plant(found: Fingerprints, column: str, where: np.ndarray, value: int) -> None:
    found[column][where] = value


@pytest.mark.parametrize("classes", [2, 5, 12])
def test_trivia_that_say_nothing_of_the_label_are_no_shortcut(classes: int) -> None:
    found, labels = rows(100 * classes, classes)
    assert shortcut_findings(labels, [*"abcdefghijkl"[:classes]], found) == []


@pytest.mark.parametrize(
    ("column", "values", "words"),
    [
        ("camera", (7, 8), "the camera"),
        ("width", (300, 900), "the size of the image"),
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
    plant(found, column, told == 0, values[0])
    plant(found, column, told == 1, values[1])
    findings = shortcut_findings(labels, ["a", "b"], found)
    assert [finding.kind for finding in findings] == ["shortcut"]
    assert findings[0].message.startswith(words)
    assert "9" in findings[0].message  # 9x % of the cases


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("camera", 9, "the camera (EXIF)"),
        ("width", 500, "the size of the image"),
        ("format", 2, "the file type"),
        ("border", 0, "the border"),
        ("sharpness", 2, "the sharpness"),
    ],
)
@pytest.mark.parametrize("share", [0.95, 1.0])
def test_one_class_of_five_that_trivia_give_away_is_named(
    column: str, value: int, words: str, share: float
) -> None:
    found, labels = rows(500, 5)
    planted = (labels == 3) & (np.random.default_rng(1).random(500) < share)
    plant(found, column, planted, value)
    (finding,) = shortcut_findings(labels, [*"abcde"], found)
    assert (finding.kind, finding.severity) == ("shortcut", "matters")
    assert finding.message.startswith(f"{words} alone tells 'd' from the other classes in ")


def test_what_half_of_a_class_has_gives_nothing_away() -> None:
    found, labels = rows(500, 5)
    plant(found, "format", (labels == 3) & (np.arange(500) % 2 == 0), 2)
    assert shortcut_findings(labels, [*"abcde"], found) == []


def test_of_several_classes_given_away_each_is_named() -> None:
    found, labels = rows(800, 8)
    plant(found, "camera", labels == 1, 8)
    plant(found, "camera", labels == 4, 9)
    (finding,) = shortcut_findings(labels, [*"abcdefgh"], found)
    assert "'b' and 'e' from the other classes" in finding.message


def test_a_small_class_does_not_hide_what_tells_the_others_apart() -> None:
    found, labels = rows(300, 3)
    labels[labels == 0] = np.where(np.arange((labels == 0).sum()) < 19, 0, 1)
    assert np.bincount(labels)[0] == 19
    plant(found, "format", labels == 2, 2)
    (finding,) = shortcut_findings(labels, ["few", "many", "more"], found)
    assert finding.message.startswith("the file type alone tells the classes apart in 100%")
    assert "few" not in finding.message


def test_too_few_images_say_nothing_about_shortcuts() -> None:
    found, _ = rows(30)
    assert shortcut_findings(np.arange(30) % 2, ["a", "b"], found) == []


def test_a_class_from_another_source_is_told_by_its_files(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(5 * 24):
        name = "abcde"[number % 5]
        pixels = random.integers(0, 256, (9, 9, 3), dtype=np.uint8)
        image = Image.fromarray(pixels).resize((90, 90), Image.Resampling.BICUBIC)
        (tmp_path / name).mkdir(exist_ok=True)
        if name == "c":
            ImageOps.expand(image.resize((70, 70)), 10).save(tmp_path / name / f"{number}.png")
        else:
            image.save(tmp_path / name / f"{number}.jpg")
    findings = check(tmp_path).findings
    told = [finding.message for finding in findings if finding.kind == "shortcut"]
    assert all("alone tells 'c' from the other classes in" in message for message in told)
    assert {"the border", "the file type"} <= {message.split(" alone")[0] for message in told}
    assert not [message for message in told if "size of the image" in message]


def one_by_one(columns: list[np.ndarray], labels: np.ndarray, count: int):
    """The recall of each class and its balanced accuracy, each image by itself."""
    fold = np.empty(len(labels), int)
    for number in range(count):
        mine = np.flatnonzero(labels == number)
        fold[np.random.default_rng(number).permutation(mine)] = np.arange(len(mine)) % FOLDS
    right, hits, called = np.zeros((3, count))
    for row, truth in enumerate(labels):
        seen = fold != fold[row]
        scores, odds = np.zeros((2, count))
        for column in columns:
            values = int(column.max()) + 1
            for one in range(count):
                own, rest = seen & (labels == one), seen & (labels != one)
                same = column == column[row]
                share = ((own & same).sum() + 1) / (own.sum() + values)
                scores[one] += np.log(share)
                odds[one] += np.log(share) - np.log(
                    ((rest & same).sum() + 1) / (rest.sum() + values)
                )
        right[truth] += scores.argmax() == truth
        hits[truth] += odds[truth] > 0
        called += odds > 0
    sizes = np.bincount(labels, minlength=count)
    return right / sizes, (hits / sizes + 1 - (called - hits) / (len(labels) - sizes)) / 2


@pytest.mark.parametrize("block", [1, 2**23])
def test_images_that_are_equal_in_trivia_are_predicted_at_once(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shortcuts, "BLOCK", block)
    random = np.random.default_rng(2)
    labels = random.integers(0, 4, 160)
    columns = [random.integers(0, 3, 160) + (labels == 1), random.integers(0, 5, 160)]
    found = shortcuts._cross_validated(columns, labels, 4)
    assert np.allclose(found, one_by_one(columns, labels, 4))


def test_of_very_many_cameras_the_rare_ones_count_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortcuts, "NAMES", 3)
    found, labels = rows(500, 5)
    found["camera"] = np.arange(500) + 100
    plant(found, "camera", labels == 3, 9)
    (finding,) = shortcut_findings(labels, [*"abcde"], found)
    assert finding.message.startswith("the camera (EXIF) alone tells 'd' from the other classes")
