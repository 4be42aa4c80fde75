"""The interval of the expected calibration error.

Of more than MOST_SINGLE images those are drawn together that lie in one bin, are right (or wrong)
and agree in their confidence to 1 / FINENESS: the sum of their weights has the same distribution,
and their gaps differ by less than a thousandth of the noise. So the work does not grow with them.
"""

import numpy as np
from numpy.typing import NDArray

from graft.evaluation.intervals import tails_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MOST_SINGLE, FINENESS = 200_000, 10_000


def ece_interval(
    bin_of: Ints,
    confidence_of: Floats,
    correct: Floats,
    *,
    repeats: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    design: Floats | None = None,
) -> tuple[float, float]:
    """An interval for the expected calibration error with these bins.

    ECE adds up absolute values, so noise can only raise it, and a bootstrap adds noise a second
    time: for a calibrated model the percentile interval never holds the truth, 0, and often not
    even the estimate. Hence the test is inverted (Carpenter 1999, "Test inversion bootstrap
    confidence intervals"): the interval holds every true ECE under which the observed one would
    be unsurprising, given the observed pattern of over- and underconfidence and the resampled
    noise. In simulations (20 to 1,000 images, true ECE 0 to 0.3) the 95 % interval covered the
    truth 92 to 100 times in 100; the percentile interval 0 to 98 times.

    `bin_of` (N,) is the bin, from 0, that each image's top probability falls in, `confidence_of`
    (N,) that probability, `correct` (N,) 1.0 where the top class is the true one and else 0.0;
    N >= 1; `design` (R,) the design effect in each resample, None for single images, infinite where
    nothing is known. Returns low and high with 0 <= low <= observed ECE <= high <= 1.
    """
    tails = tails_of(confidence)
    if design is not None and np.isinf(design).any():
        return 0.0, 1.0
    gap = correct - confidence_of
    observed = np.bincount(bin_of, gap) / len(bin_of)  # (B,)
    estimate = float(np.abs(observed).sum())
    draws = _resampled_gaps(bin_of, confidence_of, gap, repeats, seed, design)  # (R, B)
    noise = observed - draws  # a resample plays the truth, so the error is seen minus truth
    pattern = draws.mean(axis=0)  # close to `observed`, but never all zero
    pattern /= np.abs(pattern).sum()
    low, high = (_true_ece(estimate, pattern, noise, tail) for tail in reversed(tails))
    # ECE is never below |mean confidence - accuracy|, so neither is its upper limit; this counts
    # where no mistake was seen and the noise of one bin is far from symmetric.
    overall = float(np.quantile(np.abs(draws.sum(axis=1)), tails[1]))
    return min(low, estimate), max(high, estimate, overall)


def _resampled_gaps(
    bin_of: Ints,
    confidence_of: Floats,
    gap: Floats,
    repeats: int,
    seed: int,
    design: Floats | None,
) -> Floats:
    """Resamples (R, B) of each bin's accuracy minus confidence, weighted by its images, with a
    made-up image at the confidence of one of those seen.
    """
    rng = np.random.default_rng(seed)
    n, bins = len(bin_of), int(bin_of.max()) + 1
    cell_bin, cell_gap, images = _cells(bin_of, confidence_of, gap)
    draws = np.empty((repeats, bins))
    shapes = np.ones(repeats) if design is None else 1 / design
    for draw, shape in zip(draws, shapes, strict=True):
        # The weights of the images of a cell add up to a gamma weight of its own.
        weight = (
            rng.standard_gamma(shape, n) if images is None else rng.standard_gamma(shape * images)
        )
        draw[:] = np.bincount(cell_bin, weight * cell_gap, minlength=bins)
        extra = rng.integers(n)
        right, wrong = rng.standard_gamma(0.5, size=2)
        draw[bin_of[extra]] += right - (right + wrong) * confidence_of[extra]
        draw /= weight.sum() + right + wrong
    return draws


def _cells(bin_of: Ints, confidence_of: Floats, gap: Floats) -> tuple[Ints, Floats, Ints | None]:
    """The images (N,), or of very many the cells (C,) of those of one bin that are right, or wrong,
    and whose confidence agrees to 1 / FINENESS: their bin, their mean gap and their number, which
    is None for single images.
    """
    if len(bin_of) <= MOST_SINGLE:
        return bin_of, gap, None
    step = np.minimum((confidence_of * FINENESS).astype(np.int64), FINENESS)
    key = (bin_of * (FINENESS + 1) + step) * 2 + (gap > 0)
    _, first, cell, images = np.unique(
        key, return_index=True, return_inverse=True, return_counts=True
    )
    return bin_of[first], np.bincount(cell, gap) / images, images


def _true_ece(estimate: float, pattern: Floats, noise: Floats, tail: float) -> float:
    """The true ECE under which a fraction `tail` of observed ones would lie below `estimate`; from
    the `pattern` (B,) of miscalibration over the bins and its `noise` (R, B).
    """
    low, high = 0.0, 1.0
    for _ in range(30):
        middle = (low + high) / 2
        imagined = np.abs(middle * pattern + noise).sum(axis=1)
        if np.quantile(imagined, tail) < estimate:
            low = middle
        else:
            high = middle
    return low
