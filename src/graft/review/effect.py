"""What corrected labels did to the measured accuracy: because the model learned from better labels,
or because it was tested on better ones.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.evaluation.intervals import wilson
from graft.training.refit import Refit

Labels = Mapping[str, str]


@dataclass(frozen=True)
class Effect:
    """The accuracy on the test split, as fractions, before and after the decisions.

    `before`: labels as the source gives them. `accuracy`, `low`, `high` (95 %), `n`: a head that
    was fitted on the corrected train and val images, on the corrected test images. The difference
    is `from_training`, which corrected labels in train and val brought on the test images as they
    were, plus `from_test`, which correcting the test labels brought for that same head.

    `trained`, `tested`: how many decisions changed a label or left an image out, in train and val,
    and in test. `undoubted`, `undoubted_wrong`: the test images looked at that nothing had called
    in doubt, taken at random, and how many of their labels were wrong all the same; `hidden_low`
    and `hidden_high` are the 95 % interval of that fraction, None where none was looked at: such
    errors count as right where nobody looks, so the accuracy may flatter the model by as much.
    """

    before: float
    accuracy: float
    low: float
    high: float
    n: int
    from_training: float
    from_test: float
    trained: int
    tested: int
    undoubted: int
    undoubted_wrong: int
    hidden_low: float | None
    hidden_high: float | None

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


def effect_of(
    refit: Refit,
    digests: Sequence[str],
    labels: Labels,
    doubted: Container[str] = (),
    earlier: Effect | None = None,
) -> Effect:
    """Fit the head again with `labels` in place of those of the images (N,) with these `digests`,
    sha256 in hexadecimal; "" leaves an image out. `doubted` are the test images that were looked at
    because something spoke against their labels. `earlier` saves the fit of the labels as given.
    """
    split, seed = refit.split, refit.config.seed
    number = {name: i for i, name in enumerate(split.classes)}
    at_random = np.array([digest in labels and digest not in doubted for digest in digests])
    out = np.array([labels.get(digest) == "" for digest in digests])
    now = np.array(
        [
            number.get(labels.get(d) or "", int(y))
            for d, y in zip(digests, split.labels, strict=True)
        ]
    )
    test = split.assignment == "test"
    if earlier is None:
        rows, probabilities = refit.test(split.assignment, seed)
        before = float((probabilities.argmax(1) == split.labels[rows]).mean())
        first = _answers(len(digests), rows, probabilities)
    else:
        before, first = earlier.before, None
    # Test images that were left out are still answered for, so that the same images are compared.
    assignment = np.where(out & ~test, "out", split.assignment)
    corrected = replace(refit, split=replace(split, labels=np.where(test, split.labels, now)))
    changed = out | (now != split.labels)
    if (changed & ~test).any() or first is None:
        rows, probabilities = corrected.test(assignment, seed)
    answers = _answers(len(digests), rows, probabilities)
    as_given = float((answers[rows] == split.labels[rows]).mean())
    left = rows[~out[rows]]
    kept = np.isin(rows, left)
    scored = replace(refit, split=replace(split, labels=now)).score(left, probabilities[kept])
    accuracy = scored["accuracy"]
    looked_at = at_random & test
    wrong = int((looked_at & changed).sum())
    hidden = wilson(wrong, int(looked_at.sum())) if looked_at.any() else (None, None)
    return Effect(
        before,
        accuracy["value"],
        accuracy["low"],
        accuracy["high"],
        scored["n"],
        as_given - before,
        accuracy["value"] - as_given,
        int((changed & ~test).sum()),
        int((changed & test).sum()),
        int(looked_at.sum()),
        wrong,
        *hidden,
    )


def _answers(count: int, rows: NDArray[np.int64], found: NDArray[np.float64]) -> NDArray[np.int64]:
    """The class number that each of N images got, -1 for those that were not asked about."""
    answers = np.full(count, -1, np.int64)
    answers[rows] = found.argmax(1)
    return answers
