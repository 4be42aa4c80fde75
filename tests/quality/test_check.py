import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graft.data.decode import UnusableImageError, decode
from graft.errors import UsageError
from graft.quality.check import check
from graft.quality.finding import SEVERITIES
from graft.utils.progress import Progress


class Told(Progress):
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def start(self, name: str, total: int | None) -> None:
        self.calls.append(("start", total))

    def advance(self, done: int, note: str = "") -> None:
        self.calls.append(("advance", done))

    def finish(self) -> None:
        self.calls.append(("finish",))


def image(seed: int, format: str = "PNG", side: int = 40) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format)
    return file.getvalue()


@pytest.fixture
def dirty(tmp_path: Path) -> Path:
    """Two classes of 30 good images, with one of everything that goes wrong."""
    root = tmp_path / "dirty"
    for number, label in enumerate(("cat", "dog")):
        (root / label).mkdir(parents=True)
        for n in range(30):
            (root / label / f"{n:02d}.png").write_bytes(image(100 * number + n))
    (root / "cat" / "empty.jpg").touch()
    (root / "cat" / "cut.jpg").write_bytes(image(900, "JPEG", 300)[:-500])
    (root / "dog" / "text.png").write_bytes(b"no image")
    (root / "dog" / "copy.png").write_bytes(image(105))
    (root / "cat" / "both.png").write_bytes(image(901))
    (root / "dog" / "both.png").write_bytes(image(901))
    (root / "dog" / "notes.txt").write_text("left out")
    (root / "dog" / ".hidden.png").write_bytes(b"left out in silence")
    return root


def test_everything_that_is_wrong_is_said_at_once(dirty: Path, tmp_path: Path) -> None:
    result = check(dirty)
    assert {finding.kind: set(finding.paths) for finding in result.findings} == {
        "empty": {"cat/empty.jpg"},
        "truncated": {"cat/cut.jpg"},
        "unreadable": {"dog/text.png"},
        "duplicates": {"dog/05.png", "dog/copy.png"},
        "two_labels": {"cat/both.png", "dog/both.png"},
        "not_an_image": {"dog/notes.txt"},
    }
    assert not result.blocking
    assert result.usable == 61


def test_to_json_has_images_usable_classes_and_whole_findings(dirty: Path, tmp_path: Path) -> None:
    result = check(dirty)
    stored = json.loads(json.dumps(result.to_json()))
    assert stored["images"] == 66
    assert stored["usable"] == 61
    assert stored["classes"] == {"cat": 33, "dog": 33}
    assert len(stored["findings"]) == 6
    for finding in stored["findings"]:
        assert set(finding) == {"kind", "severity", "paths", "message", "sets"}
        assert finding["severity"] in SEVERITIES
        assert finding["message"]
        assert finding["paths"]


def test_a_large_jpeg_is_read_to_its_end_although_it_is_shown_small(tmp_path: Path) -> None:
    # check decodes at an eighth of the size: the last bytes must be looked at all the same.
    whole = image(1, "JPEG", 1000)
    for label in ("a", "b"):
        (tmp_path / "source" / label).mkdir(parents=True)
    (tmp_path / "source" / "a" / "whole.jpg").write_bytes(whole)
    (tmp_path / "source" / "b" / "cut.jpg").write_bytes(whole[:-10])
    result = check(tmp_path / "source")
    found = {finding.kind: finding.paths for finding in result.findings}
    assert found["truncated"] == ("b/cut.jpg",)
    assert result.usable == 1


def test_a_folder_without_images_blocks_instead_of_failing(tmp_path: Path) -> None:
    (tmp_path / "source" / "cat").mkdir(parents=True)
    (tmp_path / "source" / "cat" / "notes.txt").touch()
    result = check(tmp_path / "source")
    assert result.blocking
    assert [finding.kind for finding in result.findings if finding.blocking] == ["no_images"]
    assert result.to_json() | {"findings": 0} == {
        "images": 0,
        "usable": 0,
        "classes": {},
        "findings": 0,
    }


def test_a_source_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        check(tmp_path / "nowhere")


def test_progress_counts_every_file_once(dirty: Path, tmp_path: Path) -> None:
    told = Told()
    check(dirty, progress=told)
    assert told.calls[0] == ("start", 66)
    assert told.calls[1:-1] == [("advance", n) for n in range(1, 67)]
    assert told.calls[-1] == ("finish",)


def test_the_dirt_in_real_photos_is_found(flowers: Path, tmp_path: Path) -> None:
    # A split of the photos: each file that has a copy, and every eighth of the others.
    files = sorted(flowers.glob("*/*.jpg"))
    by_bytes: dict[bytes, list[Path]] = {}
    for file in files:
        by_bytes.setdefault(file.read_bytes(), []).append(file)
    copied = {file for group in by_bytes.values() if len(group) > 1 for file in group}
    for file in {*copied, *files[::8]}:
        (tmp_path / "split" / file.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, tmp_path / "split" / file.parent.name)
    result = check(tmp_path / "split")
    groups = [[f"{f.parent.name}/{f.name}" for f in g] for g in by_bytes.values() if len(g) > 1]
    assert groups
    two = {frozenset(g) for g in groups if len({path.split("/")[0] for path in g}) > 1}
    one = {path for g in groups if frozenset(g) not in two for path in g}
    told = {frozenset(g) for i in result.findings if i.kind == "two_labels" for g in i.sets}
    assert told == two
    assert {path for i in result.findings if i.kind == "duplicates" for path in i.paths} == one
    for finding in result.findings:
        assert finding.kind in ("two_labels", "duplicates") or _is_bad(
            tmp_path / "split", finding.paths
        )


def _is_bad(root: Path, paths: tuple[str, ...]) -> bool:
    for path in paths:
        with pytest.raises(UnusableImageError):
            decode((root / path).read_bytes())
    return True
