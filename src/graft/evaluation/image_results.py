"""What a finished run said of each image that was held back, and what it would have said if it
answered from some probability on: `graft.results("runs/birds").answering_from(0.9)`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from graft.data.groups import groups_that_count
from graft.errors import UsageError
from graft.evaluation.selective import answered_from
from graft.runs.confusion_counts import ConfusionCounts
from graft.runs.run import Run
from graft.runs.text_column import taken
from graft.runs.top_probabilities import Probabilities, of_labels

# Where the curve is known: each whole percent, and beyond 99 % each tenth, where most answers of a
# good classifier lie.
STEPS = (*(n / 100 for n in range(100)), *(n / 1000 for n in range(991, 1000)))
SPLITS = ("test", "val")


@dataclass(frozen=True, slots=True)
class ImageResult:
    """An image with its label and the predicted class, and the probability of each."""

    path: str
    label: str
    label_probability: float
    predicted: str
    probability: float

    @property
    def correct(self) -> bool:
        """Whether the predicted class is the label."""
        return self.label == self.predicted


def image_results(run: Run, split: str) -> list[ImageResult]:
    """Each image of a split ("test" or "val"), the most confident answers first."""
    return Answers.of(run, split).results()


@dataclass(frozen=True)
class Answers:
    """What a run said of each image of a split, in columns: `paths` (N), the numbers of `labels`
    and of the `predicted` classes (N,), and the `probability` (N,) of each.
    """

    classes: Sequence[str]
    paths: Sequence[str]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    label_probability: NDArray[np.float64]
    probability: NDArray[np.float64]

    @classmethod
    def of(cls, run: Run, split: str) -> Self:
        """Of a split, "test" or "val"."""
        paths, labels, probabilities = run.predictions(split)
        return cls(
            run.classes,
            paths,
            labels,
            probabilities.argmax(axis=1),
            of_labels(probabilities, labels),
            probabilities.max(axis=1),
        )

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Which images were misclassified, (N,)."""
        return np.asarray(self.labels != self.predicted)

    def results(
        self, chosen: NDArray[np.bool_] | None = None, most: int | None = None
    ) -> list[ImageResult]:
        """The images `chosen` (N,), or all, the most confident answers first, at most `most`."""
        rows = np.arange(len(self.labels)) if chosen is None else np.flatnonzero(chosen)
        if most is not None and len(rows) > most:
            # Those as confident as the last one, too: which of them is shown, its path decides.
            sure = self.probability[rows]
            rows = rows[sure >= np.partition(sure, -most)[-most]]
        found = [
            ImageResult(
                path,
                self.classes[self.labels[i]],
                float(self.label_probability[i]),
                self.classes[self.predicted[i]],
                float(self.probability[i]),
            )
            for i, path in zip(rows.tolist(), taken(self.paths, rows), strict=True)
        ]
        return sorted(found, key=lambda each: (-each.probability, each.path))[:most]


class Results:
    """The images of a finished run's `split`, "test" or "val", one by one and at any threshold.

    Choose a threshold on "val" and read what it is worth on "test": one that was chosen by its
    result on the test images promises a little too much.

    Raises DataError for a folder that is no finished run, UsageError for another split.
    """

    def __init__(self, run: str | Path | Run, split: str = "test") -> None:
        if split not in SPLITS:
            raise UsageError(f"split is one of {', '.join(SPLITS)}, not {split!r}")
        self.run = run if isinstance(run, Run) else Run.finished(run)
        self.split = split

    @property
    def classes(self) -> list[str]:
        """The classes, in the order of the confusion matrix."""
        return self.run.classes

    @cached_property
    def images(self) -> list[ImageResult]:
        """Every image, the most confident answers first."""
        return image_results(self.run, self.split)

    def cell(
        self,
        label: str | None = None,
        predicted: str | None = None,
        *,
        min_probability: float = 0.0,
        abstained: bool = False,
    ) -> list[ImageResult]:
        """The images of a cell of the confusion matrix, or of a row or column where one of the two
        classes is left out: those answered from `min_probability` on, or with `abstained` those
        below it. UsageError for an unknown class.
        """
        least = _checked(min_probability)
        for name in (label, predicted):
            if name is not None and name not in self.classes:
                raise UsageError(
                    f"no class {name!r}: expected one of {', '.join(self.classes[:12])}"
                )
        return [
            each
            for each in self.images
            if (label is None or each.label == label)
            and (predicted is None or each.predicted == predicted)
            and (each.probability < least) == abstained
        ]

    def answering_from(self, min_probability: float = 0.0) -> dict[str, Any]:
        """What is answered from this probability on, and how much of it is wrong, with intervals;
        ready for JSON.

        `confusion`, as in metrics.json, counts the answered images, rows = true class, and
        `abstained_by_class` (K,) the others; `wrong_abstained` of these would have been wrong.
        Raises UsageError unless 0 <= `min_probability` <= 1.
        """
        least = _checked(min_probability)
        labels, probabilities, groups = self._arrays
        answered, predicted = probabilities.max(1) >= least, probabilities.argmax(1)
        left = labels[~answered]
        count = len(self.classes)
        return {
            "split": self.split,
            "min_probability": least,
            "n": len(labels),
            **answered_from(probabilities, labels, least, groups),
            "abstained": len(left),
            "wrong_abstained": int((left != predicted[~answered]).sum()),
            "confusion": _counts(labels[answered], predicted[answered], count),
            "abstained_by_class": np.bincount(left, minlength=count).tolist(),
        }

    def curve(self, steps: Sequence[float] = STEPS) -> list[dict[str, Any]]:
        """What is answered, and how much of it is wrong, with intervals, at each of `steps`."""
        labels, probabilities, groups = self._arrays
        return [
            {"min_probability": step, **answered_from(probabilities, labels, step, groups)}
            for step in map(_checked, steps)
        ]

    @cached_property
    def _arrays(self) -> tuple[NDArray[np.int64], Probabilities, list[str] | None]:
        """Labels (N,), probabilities (N, K) and group IDs (N,), where these count."""
        paths, labels, probabilities = self.run.predictions(self.split)
        return labels, probabilities, groups_that_count(self.run.group_ids(paths))


def results(run: str | Path, split: str = "test") -> Results:
    """The test images of a finished run, one by one and at any threshold; see `Results`."""
    return Results(run, split)


def _checked(min_probability: float) -> float:
    if not 0 <= min_probability <= 1:
        raise UsageError(f"a probability lies between 0 and 1, not {min_probability!r}")
    return float(min_probability)


def _counts(labels: NDArray[np.int64], predicted: NDArray[np.int64], count: int) -> Any:
    return ConfusionCounts.of(labels, predicted, count).to_json()
