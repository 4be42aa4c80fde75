"""Whether fine-tuning is worth keeping: a paired comparison of calibrated losses on val."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from graft.evaluation.calibration import fit_temperature

# The fine-tuned network replaces the probe if its mean loss on val, calibrated, is lower by more
# than this many nats. No margin: one standard error of the difference kept the worse of the two
# more often (docs/recipes.md).
MARGIN = 0.0


def paired_gain(
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    labels: NDArray[np.int64],
    groups: Sequence[str] | None = None,
) -> tuple[float, float]:
    """How much lower the mean cross-entropy of logits (n, K) became, in nats, and the standard
    error of that difference over the same n images, or over their groups.

    Both are calibrated first, each half of the units by the temperature of the other half: what
    is merely more or less sure would gain nothing once the classifier is calibrated.
    """
    names = np.arange(len(labels)) if groups is None else np.asarray(groups)
    unit = np.unique(names, return_inverse=True)[1]
    count = int(unit.max()) + 1
    half = (np.random.default_rng(0).permutation(count) % 2)[unit]
    losses = np.empty((2, len(labels)))
    for loss, logits in zip(losses, (before, after), strict=True):
        for own in (half == 0, half == 1):
            temperature = fit_temperature(logits[~own], labels[~own]) if (~own).any() else 1.0
            scores = torch.from_numpy(logits[own]).double() / temperature
            loss[own] = -torch.log_softmax(scores, 1).numpy()[np.arange(own.sum()), labels[own]]
    difference = losses[0] - losses[1]
    gain = float(difference.mean())
    # One group says nothing of how groups differ.
    noise = np.sqrt((np.bincount(unit, difference - gain) ** 2).sum()) if count > 1 else np.inf
    return gain, float(noise / len(labels))
