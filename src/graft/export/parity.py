"""Whether an exported file says what the run says: on the run's own images, read from their
files, and on images of odd sizes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from graft.data.decode import (
    Preprocess,
    center_view,
    decode,
    read_bytes,
    resized_shorter_side,
)
from graft.errors import DataError, ModelError
from graft.evaluation.paired_tests import compare_pairs
from graft.export.programs import Program
from graft.inference.predictor import Predictor
from graft.runs.run import Run
from graft.utils.progress import Progress

IMAGES = 200  # of val and test, unless told otherwise
NAMED = 20  # images in a message or in parity.json


@dataclass(frozen=True)
class Tolerance:
    """How far an export may be from the run: in a probability, and in an OOD score as a fraction
    of the limit. A label or a refusal may change only where the run itself is as near to a tie.
    """

    probability: float = 0.005
    ood_score: float = 0.02


FLOAT32, FLOAT16 = Tolerance(), Tolerance(0.02, 0.05)
# For int8, which is judged by its accuracy instead (graft.export.int8): any difference.
ANY = Tolerance(1.0, 1e6)


@dataclass
class Answers:
    """What was said of n images: probabilities (n, K), OOD scores (n,), 0 without a detector."""

    probabilities: NDArray[np.float64]
    ood_scores: NDArray[np.float64]

    @property
    def labels(self) -> NDArray[np.int64]:
        """The most probable class of each, (n,)."""
        best: NDArray[np.int64] = self.probabilities.argmax(1)
        return best

    @property
    def refused(self) -> NDArray[np.bool_]:
        """Which are out of distribution, (n,)."""
        return self.ood_scores > 1


@dataclass
class Sample:
    """Images with files: their names, and the numbers of their true classes, -1 if unknown."""

    files: list[Path] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)

    def add(self, files: Sequence[Path], names: Sequence[str], labels: Sequence[int]) -> None:
        """More images."""
        self.files += files
        self.names += names
        self.labels += labels

    def only(self, rows: Sequence[int]) -> "Sample":
        """Some of the images."""
        return Sample(
            [self.files[i] for i in rows],
            [self.names[i] for i in rows],
            [self.labels[i] for i in rows],
        )


def sample_of(run: Run, most: int = IMAGES) -> Sample:
    """Images of val and test, `most` of them or all there are, evenly over both.

    Raises DataError where none of them is there any more.
    """
    files = run.files
    found = Sample()
    for split in ("val", "test"):
        paths, labels, _ = run.predictions(split)
        kept = [(p, int(label)) for p, label in zip(paths, labels, strict=True) if p in files]
        found.add([files[p] for p, _ in kept], [p for p, _ in kept], [label for _, label in kept])
    there = [i for i, file in enumerate(found.files) if file.is_file()]
    if not there:
        raise DataError(
            f"{run.path}: expected its val and test images, to compare the export with, none is "
            "there any more; give some with --images FOLDER"
        )
    chosen = [there[i] for i in np.unique(np.linspace(0, len(there) - 1, most).round().astype(int))]
    return found.only(chosen)


def predicted(predictor: Predictor, files: Sequence[Path]) -> Answers:
    """What the run says, as `graft predict` with the predictor's backend."""
    rows, scores = [], []
    for file, result in zip(files, predictor.predict_files(files), strict=True):
        if result.prediction is None:
            raise DataError(f"{file}: {result.problem}; leave it out")
        rows.append(list(result.prediction.probabilities.values()))
        scores.append(result.prediction.ood_score or 0.0)
    return Answers(np.array(rows), np.array(scores))


def exported(
    program: Program, files: Sequence[Path], read: Callable[[Path], Image.Image], fed: Preprocess
) -> Iterator[tuple[NDArray[np.float32], float]]:
    """What the file says of each image: probabilities (K,) and OOD score."""
    for file in files:
        image = read(file)
        pixels = center_view(image, fed) if program.square else np.asarray(image)
        probabilities, ood_score, _ = program.run(np.ascontiguousarray(pixels)[np.newaxis])
        yield probabilities[0], float(ood_score[0])


def check_parity(
    program: Program,
    predictor: Predictor,
    sample: Sample,
    progress: Progress,
    tolerance: Tolerance = FLOAT32,
) -> dict[str, Any]:
    """Compare an exported file with the run on each image of a sample; what parity.json holds.

    `predictor` computes in float32. "differ" names the images beyond the tolerance, "near_ties"
    those whose label or refusal changed within it; "decoded_whole" says what changes where a
    program does not decode large JPEGs at a fraction of their size, as predict does.
    """
    fed = predictor.backbone.preprocess
    side = resized_shorter_side(fed)
    expected = predicted(predictor, sample.files)
    found = _all(program, sample, lambda file: decode(read_bytes(file), side), fed, progress)
    result = _compared(expected, found, sample, tolerance)
    result |= {
        "runtime": program.runtime,
        "compared_with": f"graft predict, {predictor.backend.name}",
    }
    scaled = [i for i, file in enumerate(sample.files) if _decoded_smaller(file, side)]
    if scaled:
        some = sample.only(scaled)
        whole = _all(program, some, lambda file: decode(read_bytes(file)), fed, progress)
        part = Answers(expected.probabilities[scaled], expected.ood_scores[scaled])
        result["decoded_whole"] = _compared(part, whole, some, tolerance)
    return result


def refuse_difference(parity: dict[str, Any], what: str) -> None:
    """Raise ModelError for an export that differs beyond its tolerance, with the images."""
    if differ := parity["differ"]:
        named = ", ".join(differ[:NAMED])
        raise ModelError(
            f"{what} is refused: it differs from graft predict on {parity['differing']:,} of "
            f"{parity['images']:,} images (worst probability {parity['probability']['worst']:.2g}, "
            f"worst OOD score {parity['ood_score']['worst']:.2g}): {named}"
        )


def _all(
    program: Program,
    sample: Sample,
    read: Callable[[Path], Image.Image],
    fed: Preprocess,
    progress: Progress,
) -> Answers:
    rows, scores = [], []
    progress.start("comparing", len(sample.files))
    for row, score in exported(program, sample.files, read, fed):
        rows.append(row.astype(np.float64))
        scores.append(score)
        progress.advance(len(rows))
    progress.finish()
    return Answers(np.array(rows), np.array(scores))


def _decoded_smaller(file: Path, side: int) -> bool:
    data = read_bytes(file)
    return decode(data, side).size != decode(data).size


def _compared(
    expected: Answers, found: Answers, sample: Sample, tolerance: Tolerance
) -> dict[str, Any]:
    apart = np.abs(found.probabilities - expected.probabilities).max(1)
    scores = np.abs(found.ood_scores - expected.ood_scores)
    # Scores far beyond the limit differ by more and mean the same.
    beyond = scores > tolerance.ood_score * np.maximum(expected.ood_scores, 1)
    label_changed = expected.labels != found.labels
    refusal_changed = expected.refused != found.refused
    differ = ~((apart <= tolerance.probability) & ~beyond)
    names = np.array(sample.names, dtype=object)
    result: dict[str, Any] = {
        "images": len(names),
        "probability": _spread(apart, tolerance.probability),
        "ood_score": _spread(scores / np.maximum(expected.ood_scores, 1), tolerance.ood_score),
        "labels_changed": int(label_changed.sum()),
        "refusals": int(expected.refused.sum()),
        "refusals_changed": int(refusal_changed.sum()),
        "differing": int(differ.sum()),
        "differ": names[differ][:NAMED].tolist(),
        "near_ties": names[(label_changed | refusal_changed) & ~differ][:NAMED].tolist(),
    }
    labels = np.array(sample.labels)
    if (known := labels >= 0).any():
        right = [a.labels[known] == labels[known] for a in (expected, found)]
        pair = compare_pairs(right)[0].to_json()
        result["accuracy"] = {"graft": float(right[0].mean()), "export": float(right[1].mean())}
        result["mcnemar"] = {
            name: pair[name]
            for name in ("only_first", "only_second", "difference", "low", "high", "p")
        }
    return result


def _spread(values: NDArray[np.float64], tolerance: float) -> dict[str, float]:
    # Not a number is the worst of all.
    values = np.nan_to_num(values, nan=1e9, posinf=1e9)
    return {"worst": float(values.max()), "mean": float(values.mean()), "tolerance": tolerance}
