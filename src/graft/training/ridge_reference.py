"""A second opinion on a head trained on shuffled blocks: ridge regression on all images."""

import numpy as np
from numpy.typing import NDArray

from graft.features.activations import Activations
from graft.features.feature_sums import sums_of
from graft.training.block_shuffle import on_disk

Ints = NDArray[np.int64]

# The penalty, in the middle of those that graft tune tries.
STRENGTH = 0.01


def ridge_reference(
    train: Activations, labels: Ints, val: Activations, val_labels: Ints, classes: int
) -> str:
    """What a ridge regression on the training features gets of the validation images, as a note.

    It is exact whatever the order, so that a head that is far below it was hurt by its batches.
    """
    weights, biases = sums_of(train, labels, classes).ridge(STRENGTH)
    right = sum(
        int(((x.astype(np.float64) @ weights.T + biases).argmax(1) == y).sum())
        for x, y in on_disk(val, val_labels)
    )
    return (
        f"the features of {len(train):,} training images do not fit in memory and were shuffled by "
        f"blocks; a ridge regression on the same features, which no order changes, gets "
        f"{right / max(1, len(val_labels)):.1%} of the validation images"
    )
