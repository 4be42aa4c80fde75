"""Predictions for files, wherever they are."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from graft.data.sources import IMAGE_SUFFIXES, find_images
from graft.errors import UsageError
from graft.inference.policy import Policy
from graft.inference.prediction import FileResult
from graft.inference.predictor import Predictor

_SUFFIXES = ", ".join(sorted(IMAGE_SUFFIXES))


def predict_paths(
    predictor: Predictor,
    paths: Sequence[str | Path],
    policy: Policy | None = None,
) -> Iterator[FileResult]:
    """Predict files and, in folders, every image file below; lazily, in order.

    A folder without images, and a link that leads out of one, is a result with a problem.

    Raises UsageError for a path that does not exist.
    """
    for path in paths:
        if not Path(path).exists():
            raise UsageError(f"{path}: no such file or folder")
    outside: list[Path] = []
    empty: list[Path] = []
    yield from predictor.predict_files(_files(map(Path, paths), outside, empty), policy)
    for path in empty:
        yield FileResult(str(path), None, f"holds no image file ({_SUFFIXES})")
    for link in outside:
        yield FileResult(
            str(link), None, "is a link that leads out of the folder; give the file by its name"
        )


def _files(paths: Iterable[Path], outside: list[Path], empty: list[Path]) -> Iterator[Path]:
    """The image files of each path; notes links that lead out, and folders without images."""
    for path in paths:
        before, file = len(outside), None
        for file in find_images(path, outside):
            yield file
        if file is None and len(outside) == before:
            empty.append(path)
