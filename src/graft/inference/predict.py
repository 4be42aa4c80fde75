"""Predictions for files, wherever they are."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from graft.inference.image_input import images_below
from graft.inference.policy import Policy
from graft.inference.prediction import FileResult
from graft.inference.predictor import Predictor


def predict_paths(
    predictor: Predictor,
    paths: Sequence[str | Path],
    policy: Policy | None = None,
) -> Iterator[FileResult]:
    """Predict files and, in folders, every image file below; lazily, in order.

    Raises UsageError for a path that does not exist, DataError for a folder without images.
    """
    return predictor.predict_files(images_below(paths), policy)
