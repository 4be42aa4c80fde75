"""Predictions for files, wherever they are."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from graft.data.remote_address import public_address
from graft.data.sources import IMAGE_SUFFIXES, find_images
from graft.data.unlabeled import Named, images_of, is_of_many
from graft.errors import UsageError
from graft.inference.policy import Policy
from graft.inference.prediction import FileResult
from graft.inference.predictor import Predictor
from graft.utils.cache_folder import cache_in_use, sources_folder

_SUFFIXES = ", ".join(sorted(IMAGE_SUFFIXES))


def predict_paths(
    predictor: Predictor,
    paths: Sequence[str | Path],
    policy: Policy | None = None,
) -> Iterator[FileResult]:
    """Predict files and, in folders, every image file below; lazily, in order. Addresses of files
    and folders elsewhere, and tars of images, are as good.

    A folder without images, and a link that leads out of one, is a result with a problem.

    Raises UsageError for a path that does not exist, and what `images_of` raises for an address.
    """
    many = [is_of_many(path) for path in paths]
    for path, of_many in zip(paths, many, strict=True):
        if not of_many and not Path(path).exists():
            raise UsageError(f"{path}: no such file or folder")
    outside: list[Path] = []
    empty: list[str] = []
    names: deque[str] = deque()

    def files() -> Iterator[Path]:
        for name, file in _named(zip(paths, many, strict=True), outside, empty):
            names.append(name)
            yield file

    with cache_in_use() if any(many) else nullcontext():
        for result in predictor.predict_files(files(), policy):
            yield _called(result, names.popleft())
    for shown in empty:
        yield FileResult(shown, None, f"holds no image file ({_SUFFIXES})")
    for link in outside:
        yield FileResult(
            str(link), None, "is a link that leads out of the folder; give the file by its name"
        )


def _named(
    paths: Iterable[tuple[str | Path, bool]], outside: list[Path], empty: list[str]
) -> Iterator[Named]:
    """The images of each path, by name; notes links that lead out, and folders without images."""
    for path, of_many in paths:
        before, name = len(outside), ""
        found = (
            images_of(path, sources_folder())
            if of_many
            else ((str(file), file) for file in find_images(Path(path), outside))
        )
        for name, file in found:
            yield name, file
        if not name and len(outside) == before:
            empty.append(public_address(path))


def _called(result: FileResult, name: str) -> FileResult:
    """The result under the name of its image, where that is not the path of its file."""
    if result.path == name:
        return result
    prediction = result.prediction and replace(result.prediction, path=name)
    return replace(result, path=name, prediction=prediction)
