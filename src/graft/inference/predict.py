"""Predictions for files, wherever they are."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from graft.data.sources import find_images
from graft.errors import UsageError
from graft.inference.policy import Policy
from graft.inference.prediction import FileResult
from graft.inference.predictor import Predictor


def predict_paths(
    predictor: Predictor,
    paths: Sequence[str | Path],
    policy: Policy | None = None,
) -> Iterator[FileResult]:
    """Predict files and, in folders, every image file below; lazily, in order.

    Raises UsageError for a path that does not exist.
    """
    for path in paths:
        if not Path(path).exists():
            raise UsageError(f"{path}: no such file or folder")
    files = (file for path in paths for file in find_images(Path(path)))
    yield from predictor.predict_files(files, policy)
