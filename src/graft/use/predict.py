"""Labels for pictures, wherever they are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from graft.data.scan import find_images
from graft.errors import UsageError
from graft.models.classifier import Prediction, load


@dataclass(frozen=True, slots=True)
class PathResult:
    """A file's prediction, or the problem that there is none."""

    path: str
    prediction: Prediction | None
    problem: str = ""


def predict_paths(
    run: str | Path, paths: Sequence[str | Path], engine: str = "auto"
) -> Iterator[PathResult]:
    """Predict files and, in folders, every image file below; lazily, in order.

    Raises UsageError for a path that does not exist, ModelError for a run without model.
    """
    for path in paths:
        if not Path(path).exists():
            raise UsageError(f"{path}: no such file or folder")
    classifier = load(run, engine)
    files = (file for path in paths for file in find_images(Path(path)))
    for answer in classifier.predictions(files):
        if isinstance(answer, Prediction):
            yield PathResult(answer.path, answer)
        else:
            yield PathResult(str(answer.file), None, str(answer.problem))
