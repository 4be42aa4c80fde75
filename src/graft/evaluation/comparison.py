"""Finished runs compared on the same test images: which is best, and which differences count."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.data.groups import groups_that_count
from graft.errors import DataError, UsageError
from graft.evaluation.paired_tests import NO_DIFFERENCE, Pair, compare_pairs
from graft.runs.image_table import values_of
from graft.runs.run import Run
from graft.runs.text_column import taken

Record = dict[str, Any]
TestImage = tuple[str, str, str]  # path, label and SHA-256 of the file


@dataclass(frozen=True)
class ComparedRun:
    """One run of a comparison. `correct` (N,) says which test images it classifies correctly, in
    the order of the first run.
    """

    name: str
    run: Run
    correct: NDArray[np.bool_]

    @property
    def accuracy(self) -> Record:
        """`value`, `low`, `high` and `method`, as in metrics.json."""
        return dict(self.run.metrics["accuracy"])

    @property
    def seconds(self) -> float:
        """How long training took in all; 0 where that is not known."""
        return float(self.run.metrics.get("seconds", {}).get("total") or 0.0)

    @property
    def bytes(self) -> int:
        """The size of the weights on disk."""
        return self.run.weights.stat().st_size

    @cached_property
    def figures(self) -> Record:
        """The run's line of comparison.json."""
        metrics = self.run.metrics
        seconds = metrics.get("seconds", {})
        return {
            "name": self.name,
            "run": str(self.run.path),
            "accuracy": self.accuracy,
            **{key: metrics[f"macro_{key}"] for key in ("precision", "recall", "f1")},
            "ece": metrics["ece"],
            "intervals": {
                name.removeprefix("macro_"): ends
                for name, ends in metrics["intervals"].items()
                if name != "method"
            },
            "parameters": self.run.model.get("parameters", {}),
            "seconds_features": seconds.get("decode_and_backbone"),
            "features_from_cache": metrics.get("from_cache"),
            "seconds_fit": seconds.get("fit"),
            "images_per_second": self.run.speed,
            "bytes": self.bytes,
        }


@dataclass(frozen=True)
class Comparison:
    """Runs with the same test images, in the order given, and the test of every pair of them.

    `images_in_common` is the number of training and validation images if they are the same for all
    runs, else None.
    """

    runs: list[ComparedRun]
    pairs: list[Pair]
    images_in_common: int | None

    @property
    def n(self) -> int:
        """The number of test images."""
        return len(self.runs[0].correct)

    @property
    def names(self) -> list[str]:
        """The runs' names, all different."""
        return [run.name for run in self.runs]

    @property
    def best(self) -> ComparedRun:
        """The run with the highest accuracy; of equals the first."""
        return max(self.runs, key=lambda run: run.accuracy["value"])

    @property
    def not_shown_worse(self) -> list[ComparedRun]:
        """The runs for which no difference from the best is shown, by accuracy."""
        best = self.runs.index(self.best)
        others = {
            pair.first if pair.second == best else pair.second
            for pair in self.pairs
            if best in (pair.first, pair.second) and pair.verdict == NO_DIFFERENCE
        }
        return sorted((self.runs[i] for i in others), key=lambda run: -run.accuracy["value"])

    @property
    def fastest(self) -> ComparedRun | None:
        """Of the best and those not shown to be worse, the run that trained fastest; None where
        the cache had paid for some of its time.
        """
        fastest = min([self.best, *self.not_shown_worse], key=lambda run: run.seconds)
        return fastest if fastest.run.metrics.get("from_cache") is False else None

    def correct_alone(self) -> list[tuple[ComparedRun, list[tuple[str, str]]]]:
        """For each run the path and label of the test images that it alone classifies correctly."""
        first = self.runs[0].run
        paths, labels, _ = first.predictions("test")
        classes = first.classes
        correct = np.stack([run.correct for run in self.runs])
        alone = correct & (correct.sum(0) == 1)
        rows = [np.flatnonzero(row) for row in alone]
        return [
            (
                run,
                [
                    (path, classes[i])
                    for path, i in zip(taken(paths, own), labels[own], strict=True)
                ],
            )
            for run, own in zip(self.runs, rows, strict=True)
        ]

    def to_json(self) -> Record:
        """As in comparison.json."""
        return {
            "n": self.n,
            "same_training_images": self.images_in_common is not None,
            "models": [run.figures for run in self.runs],
            "pairs": [pair.to_json() for pair in self.pairs],
            "conclusion": {
                "best": self.best.name,
                "not_shown_worse": [run.name for run in self.not_shown_worse],
                "fastest": self.fastest.name if self.fastest else None,
            },
        }


def read_comparison(folders: Sequence[Path]) -> Comparison:
    """Read finished runs and compare them.

    Raises UsageError for fewer than two, and DataError for a folder without a finished run or for
    runs with different test images: numbers of different images cannot be compared.
    """
    if len(folders) < 2:
        raise UsageError("a comparison takes at least two runs, or one source of images")
    runs = [Run.finished(folder) for folder in folders]
    tested = [_test_images(run) for run in runs]
    for folder, other in zip(folders[1:], tested[1:], strict=True):
        if sorted(other) != sorted(tested[0]):
            raise DataError(
                f"{folders[0]} and {folder} were tested on different images or labels "
                f"({len(tested[0])} and {len(other)}), so their numbers cannot be compared; train "
                "both from the same source with the same --seed"
            )
    place = np.argsort(_order(tested[0]))
    compared = [
        ComparedRun(name, run, _correct(run)[_order(own)][place])
        for name, run, own in zip(_names(runs), runs, tested, strict=True)
    ]
    groups = groups_that_count(runs[0].group_ids([path for path, _, _ in tested[0]]))
    pairs = compare_pairs([run.correct for run in compared], groups)
    learned = [_images_learned_from(run) for run in runs]
    same = all(images == learned[0] for images in learned)
    return Comparison(compared, pairs, len(learned[0]) if same else None)


def _test_images(run: Run) -> list[TestImage]:
    paths, labels, _ = run.predictions("test")
    digests = values_of(run.images, "sha256", paths)
    return [
        (path, run.classes[label], digests.get(path, ""))
        for path, label in zip(paths, labels, strict=True)
    ]


def _correct(run: Run) -> NDArray[np.bool_]:
    _, labels, probabilities = run.predictions("test")
    return np.asarray(probabilities.argmax(1) == labels)


def _order(images: Sequence[TestImage]) -> NDArray[np.int64]:
    """The positions of the images in sorted order; equal ones keep their order."""
    return np.array(sorted(range(len(images)), key=lambda i: images[i]), np.int64)


def _images_learned_from(run: Run) -> list[bytes]:
    """Path, label, split and digest of each image but those of test, hashed and in order: of
    millions of images these are small.
    """
    names = ("path", "label", "split", "sha256")
    return sorted(
        blake2b("\0".join(row[name] for name in names).encode(), digest_size=16).digest()
        for row in run.images
        if row["split"] != "test"
    )


def _names(runs: Sequence[Run]) -> list[str]:
    """The model of each run and what was unfrozen; with the folder's name where two agree."""
    names = []
    for run in runs:
        settings = run.config.get("resolved") or run.config.get("settings", {})
        name = Path(str(settings.get("model", run.name)).rstrip("/")).name
        unfreeze = settings.get("unfreeze", "none")
        names.append(name + (f"@{unfreeze}" if unfreeze != "none" else ""))
    return [
        f"{name} ({run.name})" if names.count(name) > 1 else name
        for name, run in zip(names, runs, strict=True)
    ]
