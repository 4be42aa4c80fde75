"""The metrics of a split, computed from its probabilities and labels alone.

Macro scores are means over the classes that have images here. A class without images cannot be
measured: a score of 0 would blame the classifier for what the split lacks. Images wrongly
predicted as such a class still count against their own. With an image in every class these are
scikit-learn's macro scores, otherwise those with labels=numpy.unique(labels). The classes left out
are in `classes_without_images`; in `per_class` they have n = 0, scores of 0, intervals of 0 to 1.

The baseline always predicts the majority class, which should be the most frequent one of train, as
the classifier did not see this split's labels either. Without it, it is the most frequent class
here, and `chosen_on` says so.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from graft.evaluation.calibration_interval import ece_interval
from graft.evaluation.intervals import (
    design_effects,
    group_numbers,
    grouped_fraction,
    percentile,
    resample_confusion,
    resample_groups,
    wilson,
)
from graft.evaluation.per_class import class_errors, class_rows, precision_recall_f1, scores
from graft.evaluation.scored_images import ScoredImages, check_labels
from graft.runs.confusion_counts import ConfusionCounts
from graft.runs.top_probabilities import Probabilities, TopProbabilities

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Draws = tuple[Floats, Floats, Floats]

BINS = 15  # as in Guo et al. 2017
REPEATS = 1000


def confusion_matrix(labels: ArrayLike, predictions: ArrayLike, k: int) -> Ints:
    """How many images of each class were predicted as each: (k, k) int64, rows = true class,
    columns = predicted class.

    Labels and predictions are (N,) integers from 0 to k - 1. Raises ValueError if they are not,
    and DataError without an image.
    """
    n = np.size(labels)
    true, predicted = check_labels(labels, n, k), check_labels(predictions, n, k)
    return np.bincount(true * k + predicted, minlength=k * k).reshape(k, k)


def reliability(
    probabilities: ArrayLike | TopProbabilities, labels: ArrayLike, bins: int = BINS
) -> tuple[Ints, Floats, Floats]:
    """How often images with a confidence near c are classified correctly: for a calibrated model, a
    fraction c of them.

    The confidence is the top probability. Bins divide [0, 1] into equal widths; each contains its
    upper edge and not its lower (Guo et al. 2017).

    Takes probabilities (N, K) and labels (N,); returns each bin's number of images (B,), mean
    confidence (B,) and accuracy (B,), both NaN in a bin without images. Raises as `evaluate`, and
    ValueError for fewer than one bin.
    """
    bin_of, confidence, correct = ScoredImages.of(probabilities, labels).binned(bins)
    count = np.bincount(bin_of, minlength=bins)
    n = np.where(count > 0, count, np.nan)
    return (
        count,
        np.bincount(bin_of, confidence, minlength=bins) / n,
        np.bincount(bin_of, correct, minlength=bins) / n,
    )


def expected_calibration_error(
    probabilities: ArrayLike | TopProbabilities, labels: ArrayLike, bins: int = BINS
) -> float:
    """The mean gap between confidence and accuracy over the bins of `reliability`, in [0, 1].

    Guo et al. 2017, "On Calibration of Modern Neural Networks". Noise raises it: even a perfectly
    calibrated model shows about 0.1 on 40 images and 0.02 on 1,000. Arguments and errors
    as `reliability`.
    """
    count, confidence, accuracy = reliability(probabilities, labels, bins)
    return float(np.nansum(count * np.abs(accuracy - confidence)) / count.sum())


def negative_log_likelihood(
    probabilities: ArrayLike | TopProbabilities, labels: ArrayLike
) -> float:
    """The mean of -log of the true class's probability; natural logarithm, at least 0.

    A probability below float64's epsilon counts as epsilon, as in scikit-learn's log_loss, so one
    image costs 36.04 at most. Arguments (N, K) and (N,); errors as `evaluate`.
    """
    of_true_class = ScoredImages.of(probabilities, labels).of_label
    return float(-np.log(np.clip(of_true_class, np.finfo(np.float64).eps, 1)).mean())


def brier(probabilities: ArrayLike | TopProbabilities, labels: ArrayLike) -> float:
    """The mean squared distance between the probabilities and the one-hot label, in [0, 2].

    Summed over all classes as in Brier 1950, so for two classes it is twice the halved form.
    Arguments (N, K) and (N,); errors as `evaluate`.
    """
    return float(ScoredImages.of(probabilities, labels).squared_distances.mean())


def evaluate(
    probabilities: ArrayLike | TopProbabilities,
    labels: ArrayLike,
    classes: Sequence[str],
    *,
    split: str = "test",
    majority: str | None = None,
    groups: Sequence[str] | None = None,
) -> dict[str, Any]:
    """All metrics of one split, ready for JSON. Macro scores and the baseline: see this module.

    Takes probabilities (N, K) with rows that sum to 1 within 0.001, or TopProbabilities (of which
    `left_out` then says what cannot be known), labels (N,) from 0 to K - 1,
    the K >= 2 class names, the `majority` class and, if there are groups, the group ID of each
    image (N,). Images of a group tend to be right or wrong together, so intervals widen by the
    design effect, to 0 to 1 for one group. Intervals of accuracy and of each class are Wilson's
    (`graft.evaluation.per_class`), the others come from `graft.evaluation.intervals`.
    `reliability` lists the bins that hold images.

    Raises ValueError if shapes do not match, a number is not a probability, a label is out of
    range, names repeat, or `majority` is not among them; DataError without an image.
    """
    scored = ScoredImages.of(probabilities, labels)
    p, targets, k = scored.probabilities, scored.targets, scored.k
    _check_names(classes, k, majority)
    confusion = ConfusionCounts.of(targets, scored.predicted, k)
    by_group, design, of_groups = _group_resamples(targets, scored.predicted, groups, k)
    macro, macro_intervals = _macro(confusion, design)
    common = classes.index(majority) if majority is not None else int(confusion.of_class.argmax())
    ece = ece_interval(*scored.binned(BINS), repeats=REPEATS, design=design)
    of = f", {_of_groups(design, by_group)}" if by_group is not None and design is not None else ""
    return {
        "split": split,
        "n": len(targets),
        "classes": list(classes),
        "classes_without_images": [classes[i] for i in confusion.without_images],
        "accuracy": _rate(scored.predicted == targets, by_group),
        **macro,
        "intervals": {
            **macro_intervals,
            "ece": list(ece),
            "method": f"Bayesian bootstrap over images{of} (ECE: inverted), "
            f"{REPEATS:,} resamples, 95 %",
        },
        "per_class": class_rows(confusion, classes, of_groups),
        "confusion": confusion.to_json(),
        "ece": expected_calibration_error(p, targets),
        "nll": negative_log_likelihood(p, targets),
        "brier": brier(p, targets),
        "reliability": _bins(p, targets),
        "class_ece": class_errors(p, targets, classes, repeats=REPEATS, design=design),
        "baseline": {
            "majority_class": classes[common],
            "chosen_on": "this split" if majority is None else "train",
            "accuracy": _rate(targets == common, by_group),
        },
        **_of_largest(scored),
    }


def _of_largest(scored: ScoredImages) -> dict[str, Any]:
    """What is said of images of which only the largest probabilities are known, and what is not."""
    if not isinstance(scored.probabilities, TopProbabilities):
        return {}
    kept = scored.probabilities.top.shape[1]
    return {
        "top_k_accuracy": scored.top_k_accuracy,
        "left_out": {
            "class_ece": "the calibration of one class takes its probability for every image; of "
            f"each image the {kept} largest are kept, of {scored.k:,} classes"
        },
    }


def _check_names(classes: Sequence[str], k: int, majority: str | None) -> None:
    if k < 2 or len(classes) != k or len(set(classes)) != k:
        raise ValueError(f"expected {max(k, 2)} different class names, got {list(classes)}")
    if majority is not None and majority not in classes:
        raise ValueError(f"expected the majority to be one of {list(classes)}, got {majority!r}")


def _group_resamples(
    targets: Ints, predicted: Ints, groups: Sequence[str] | None, k: int
) -> tuple[Ints | None, Floats | None, Draws | None]:
    """The number of each image's group (N,), design effects (R,), and resampled hits, actual and
    predicted (R, K) of each class by itself; all None without groups.
    """
    if groups is None:
        return None, None, None
    numbers = group_numbers(groups)
    of_groups = resample_groups(targets, predicted, numbers, k, repeats=REPEATS)
    design = design_effects(predicted == targets, numbers, repeats=REPEATS)
    return numbers, design, of_groups


def _macro(
    confusion: ConfusionCounts, design: Floats | None
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """The means of precision, recall and F1 over the classes that have images, and their
    intervals.
    """
    measured = confusion.of_class > 0
    resampled = scores(*resample_confusion(confusion, repeats=REPEATS, design=design))
    nothing_known = design is not None and bool(np.isinf(design).any())
    means, intervals = {}, {}
    for name, score, drawn in zip(
        ("macro_precision", "macro_recall", "macro_f1"),
        precision_recall_f1(confusion),
        resampled,
        strict=True,
    ):
        mean = float(score[measured].mean())
        low, high = percentile(drawn[:, measured].mean(axis=1))
        means[name] = mean
        # No resample reaches 1, as each holds half a mistake; a flawless sample does, and what
        # was seen belongs to what is possible (Brown, Cai and DasGupta 2001 on Jeffreys').
        intervals[name] = [0.0, 1.0] if nothing_known else [min(low, mean), max(high, mean)]
    return means, intervals


def _rate(hits: NDArray[np.bool_], groups: Ints | None) -> dict[str, Any]:
    if groups is None:
        (low, high), method = wilson(int(hits.sum()), len(hits)), "Wilson, 95 %"
    else:
        design = design_effects(hits, groups, repeats=REPEATS)
        low, high = grouped_fraction(int(hits.sum()), len(hits), design)
        method = f"Jeffreys, {_of_groups(design, groups)}, 95 %"
    return {"value": float(hits.mean()), "low": low, "high": high, "method": method}


def _of_groups(design: Floats, groups: Ints) -> str:
    """How intervals account for the groups (N,), in words."""
    count = int(groups.max()) + 1
    if count == 1:
        return "1 group, which says nothing of others"
    return f"{len(groups):,} images in {count:,} groups, design effect {np.median(design):,.1f}"


def _bins(p: Probabilities, targets: Ints) -> list[dict[str, Any]]:
    edges = np.linspace(0, 1, BINS + 1)
    rows = zip(edges[:-1], edges[1:], *reliability(p, targets), strict=True)
    return [
        {
            "low": float(low),
            "high": float(high),
            "n": int(count),
            "confidence": float(confidence),
            "accuracy": float(accuracy),
        }
        for low, high, count, confidence, accuracy in rows
        if count
    ]
