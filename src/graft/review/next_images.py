"""`graft next`: the images to label next, for a run, and whether that beats taking any."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from graft.data.file_listing import find_images
from graft.data.reader import Loaded
from graft.errors import DataError, UsageError
from graft.features.cached_encoder import CachedEncoder
from graft.inference.predictor import Predictor
from graft.inference.saved_model import load
from graft.quality.finding import images
from graft.review.drop_query import PASSES, drop_query, simulate
from graft.runs.run import Run
from graft.utils.cache_folder import cache_folder, cache_in_use
from graft.utils.files import write_text
from graft.utils.progress import SILENT, Progress

# A simulation needs so many labeled images in train, and in test.
FEWEST, FEWEST_TEST = 40, 20


@dataclass(frozen=True, slots=True)
class NextImage:
    """An image to label: the label that the run guesses with its probability, and in how many of
    `passes` with most of the features dropped the guess changed.
    """

    path: str
    guess: str
    probability: float
    flips: int
    passes: int = PASSES


@dataclass(frozen=True)
class NextImages:
    """What to label next.

    `chosen`: in no order, as none of them replaces another. `looked_at`: how many images there were
    to choose from; `known`: files with the bytes of an image that the run has already, which were
    left out, as were `copies` of others and the `unreadable`. `curve`: what such choices would
    have come to on the run's own images (graft.review.drop_query.simulate), None where these are
    too few.
    """

    chosen: tuple[NextImage, ...]
    looked_at: int
    known: int
    copies: int
    unreadable: tuple[str, ...]
    curve: dict[str, Any] | None

    def to_json(self) -> dict[str, Any]:
        """As `graft next --json` prints it."""
        return asdict(self)


@cache_in_use()
def next_to_label(
    run: str | Path,
    unlabeled: str | Path | Sequence[str | Path],
    *,
    count: int = 50,
    curve: bool = True,
    backend: str = "auto",
    progress: Progress = SILENT,
) -> NextImages:
    """Choose `count` of the images in the files and folders `unlabeled`, by DropQuery on the
    features of a run, which stay in the cache; see graft.review.drop_query.

    With `curve` the same choice is simulated on the run's own labeled images, beside random choice;
    they must still be where they were.

    Raises UsageError for a count below 1, ModelError for a run without a model, DataError where
    there is no image to choose.
    """
    if count < 1:
        raise UsageError(f"count must be a whole number of at least 1, not {count}")
    places = [unlabeled] if isinstance(unlabeled, str | Path) else list(unlabeled)
    for place in places:
        if not Path(place).exists():
            raise UsageError(f"{place}: there is no such file or folder of images")
    predictor, stored = load(run, backend), Run.finished(run)
    files = [file for place in places for file in find_images(Path(place))]
    encoder = CachedEncoder(cache_folder(), predictor.backbone, predictor.backend, views=1)
    read = _read(encoder, files, progress)
    unreadable = tuple(str(each.file) for each in read if each.problem is not None)
    known = {bytes.fromhex(row["sha256"]) for row in stored.images}
    first: dict[bytes, Path] = {}
    for each in read:
        if each.problem is None and each.digest is not None:
            first.setdefault(each.digest, each.file)
    rows = {digest: file for digest, file in first.items() if digest not in known}
    if not rows:
        raise DataError(
            f"{', '.join(map(str, places))}: expected unlabeled images to choose from; of "
            f"{images(len(files))} {len(first) - len(rows):,} are in the run already and "
            f"{len(unreadable):,} cannot be read"
        )
    features = encoder.gather(list(rows)).whole()
    return NextImages(
        _chosen(predictor, features, list(rows.values()), count),
        len(rows),
        sum(each.problem is None and each.digest in known for each in read),
        len(read) - len(unreadable) - len(first),
        unreadable,
        _curve(predictor, stored, encoder, count, progress) if curve else None,
    )


def _chosen(
    predictor: Predictor, features: NDArray[np.float16], files: Sequence[Path], count: int
) -> tuple[NextImage, ...]:
    found = drop_query(_standardized(predictor, features), partial(_scores, predictor), count)
    probabilities = predictor.probabilities(features[found.rows])
    return tuple(
        NextImage(
            str(files[row]),
            predictor.classes[int(shares.argmax())],
            round(float(shares.max()), 4),
            int(flips),
        )
        for row, flips, shares in zip(found.rows, found.flips, probabilities, strict=True)
    )


def check_table(table: Path) -> None:
    """Raise UsageError unless `table` is the name of a new .csv file."""
    if table.suffix != ".csv" or table.exists() or table.is_symlink():
        raise UsageError(f"--csv needs the name of a new .csv file, not {str(table)!r}")


def write_next(found: NextImages, table: Path) -> None:
    """Write a table (.csv) of the chosen images with an empty column `label` to fill in, which is
    then a source to train on. UsageError as `check_table`.
    """
    check_table(table)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "label", "guess", "probability"])
    for each in found.chosen:
        writer.writerow([Path(each.path).absolute(), "", each.guess, each.probability])
    write_text(table, text.getvalue())


def _read(encoder: CachedEncoder, files: Sequence[Path], progress: Progress) -> list[Loaded]:
    read: list[Loaded] = []
    progress.start("encoding", len(files))
    encoder.compute(files, lambda index, digest: (0,), read.append, progress)
    progress.finish()
    return read


def _standardized(predictor: Predictor, features: NDArray[Any]) -> NDArray[np.float32]:
    head = predictor.head
    found = torch.from_numpy(features).float() - head.get_buffer("mean")
    return (found / head.get_buffer("std")).numpy()


def _scores(predictor: Predictor, standard: torch.Tensor) -> torch.Tensor:
    """The logits of standardized features, whose dropped ones are then the mean of all images."""
    return torch.as_tensor(predictor.head.layers(standard))


def _curve(
    predictor: Predictor, run: Run, encoder: CachedEncoder, count: int, progress: Progress
) -> dict[str, Any] | None:
    """The simulation, on those of the run's images that are still there."""
    number = {name: i for i, name in enumerate(predictor.classes)}
    parts = {}
    for name, splits in (("pool", ("train", "val")), ("test", ("test",))):
        rows = [r for r in run.images if r["split"] in splits and r["path"] in run.files]
        read = _read(encoder, [run.files[r["path"]] for r in rows], progress)
        kept = [
            (each.digest, number[row["label"]])
            for each, row in zip(read, rows, strict=True)
            if each.problem is None and each.digest is not None and row["label"] in number
        ]
        labels = np.array([label for _, label in kept], np.int64)
        least = FEWEST if name == "pool" else FEWEST_TEST
        if len(kept) < least or len(np.unique(labels)) < len(number):
            progress.say(
                f"no simulation: it needs {least} of the run's own {name} images and every class "
                f"among them; {len(kept)} are still there"
            )
            return None
        features = encoder.gather([digest for digest, _ in kept]).whole()
        parts[name] = _standardized(predictor, features), labels
    return simulate(*parts["pool"], *parts["test"], len(number), count)
