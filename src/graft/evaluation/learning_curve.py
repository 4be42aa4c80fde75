"""Would more data help? An error that falls as a power of the number of images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.evaluation.intervals import percentile, wilson

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Exponents and floors (as fractions of the lowest error) that are tried.
EXPONENTS = np.linspace(0.05, 1.5, 30)
FLOORS = np.linspace(0.0, 0.98, 30)
DRAWS = 500
WEIGHTS = 2**22  # drawn at once, to bound the memory


def resampled(right: Floats, units: Ints, seed: int = 0, draws: int = DRAWS) -> Floats:
    """Resampled accuracies (R, P) of P fits of a classifier, tested on the same images or not.

    A Bayesian bootstrap over units, the groups or single images that are right or wrong together:
    a unit has the same Exponential(1) weight for all fits in a draw, so fits tested on the same
    images stay correlated. A made-up image, half right and half wrong, keeps
    the interval of a flawless classifier honest (graft.evaluation.intervals).

    `right` (P, N) is 1.0 where a fit classifies an image correctly, 0.0 where not, and NaN
    where it was not tested on it; `units` (N,) numbers from 0 on.
    """
    random = np.random.default_rng(seed)
    hits, tested = np.zeros((2, int(units.max()) + 1, len(right)))
    for fit, row in enumerate(right):
        known = ~np.isnan(row)
        hits[:, fit] = np.bincount(units[known], row[known], minlength=len(hits))
        tested[:, fit] = np.bincount(units[known], minlength=len(hits))
    accuracies = []
    for block in np.array_split(np.arange(draws), -(-draws * len(hits) // WEIGHTS)):
        weight = random.standard_exponential((len(block), len(hits)))
        made = random.standard_gamma(0.5, (2, len(block), 1))
        accuracies.append((weight @ hits + made[0]) / (weight @ tested + made.sum(0)))
    return np.concatenate(accuracies)


def bootstrap_interval(right: Floats, units: Ints) -> dict[str, float]:
    """`value`, `low` and `high` of the fraction of correct images, (N,) of 1.0 and 0.0, N at
    least 1: 95 %, by the bootstrap over units (N,), and nowhere narrower than Wilson's interval.
    """
    value = float(right.mean())
    return {"value": value} | _ends(resampled(right[np.newaxis], units)[:, 0], value, len(right))


def _ends(draws: Floats, value: float, tested: int) -> dict[str, float]:
    low, high = percentile(draws)
    least, most = wilson(min(max(round(value * tested), 0), tested), tested)
    return {"low": min(low, least, value), "high": max(high, most, value)}


def fit_curve(sizes: Floats, right: Floats, units: Ints, seed: int = 0) -> dict[str, Any]:
    """Fit error = floor + scale · n^-exponent (Hestness et al. 2017, arXiv:1712.00409).

    By least squares with the weights that the tested images give each error; and 95 % bands for
    the sizes measured (`fitted`) and for twice and four times the largest (`ahead`), with what
    these `gain` on the curve.

    A band is the 2.5 and 97.5 % quantiles of curves fitted anew to resampled errors: all fits are
    resampled jointly by the units of the test split (see `resampled`), and to each is added what
    another fit, drawn at random, is off its own curve, since other images to train on would have
    moved it. It is nowhere narrower than Wilson's interval of an accuracy measured on as many
    images.

    Takes sizes (P,), right (P, N), 1.0 or 0.0 for each fit and test image, and units (N,), whole
    numbers from 0 on.
    """
    tested = right.shape[1]
    errors = 1 - right.mean(1)
    floor, scale, exponent = _fit(sizes, errors, tested)
    random = np.random.default_rng([seed, 1])
    noise = np.sqrt(_variance(errors, tested))
    # Three numbers were fitted, so the rest is smaller than what it is made of.
    off = (errors - floor - scale * sizes**-exponent) / noise
    off *= np.sqrt(len(sizes) / max(len(sizes) - 3, 1))
    again = 1 - resampled(right, units, seed) + noise * random.choice(off, (DRAWS, len(sizes)))
    curves = np.array([_fit(sizes, drawn, tested) for drawn in again.clip(0, 1)])
    most = float(sizes.max())

    def accuracies(images: float) -> tuple[float, Floats]:
        drawn = 1 - (curves[:, 0] + curves[:, 1] * images ** -curves[:, 2])
        return 1 - (floor + scale * images**-exponent), drawn

    def at(images: float) -> dict[str, Any]:
        value, drawn = accuracies(images)
        row = {"images": int(images), "accuracy": value}
        return row | _ends(drawn.clip(0, 1), value, tested)

    def ahead(times: int) -> dict[str, Any]:
        (value, drawn), (now, drawn_now) = accuracies(times * most), accuracies(most)
        low, high = percentile(drawn - drawn_now)
        gain = {"value": value - now, "low": min(low, value - now), "high": max(high, value - now)}
        return at(times * most) | {"gain": gain}

    count = int(units.max()) + 1
    return {
        "curve": {"floor": floor, "scale": scale, "exponent": exponent},
        "fitted": [at(float(size)) for size in np.unique(sizes)],
        "ahead": [ahead(2), ahead(4)],
        "method": f"power law, Bayesian bootstrap over {count:,} test "
        f"{'images' if count == tested else 'groups'}, {DRAWS} draws, 95 %",
    }


def _variance(errors: Floats, tested: int) -> Floats:
    variance: Floats = np.maximum(errors * (1 - errors), 1 / (4 * tested)) / tested
    return variance


def _fit(sizes: Floats, errors: Floats, tested: int) -> tuple[float, float, float]:
    # For a floor and an exponent the scale has a closed form; the two lie on a grid, which unlike
    # a descent has no bad start.
    weight = 1 / _variance(errors, tested)
    floors = FLOORS * errors.min()
    basis = sizes[:, np.newaxis] ** -EXPONENTS  # (P, E)
    rest = errors[:, np.newaxis] - floors  # (P, F)
    weighted = basis * weight[:, np.newaxis]
    scale = np.maximum((weighted.T @ rest) / (weighted * basis).sum(0)[:, np.newaxis], 0)  # (E, F)
    miss = rest[:, np.newaxis, :] - basis[:, :, np.newaxis] * scale
    cost = (weight[:, np.newaxis, np.newaxis] * miss**2).sum(0)
    e, f = np.unravel_index(int(cost.argmin()), cost.shape)
    return float(floors[f]), float(scale[e, f]), float(EXPONENTS[e])


def points_of(
    sizes: Sequence[int], right: Floats, labels: Ints, units: Ints, classes: Sequence[str]
) -> list[dict[str, Any]]:
    """Each fit's number of training images, accuracy with `low` and `high`, and recall of the
    classes that were tested. Takes sizes (P,), right (P, N), labels (N,) and units (N,).
    """
    rows = []
    for images, hit in zip(sizes, right, strict=True):
        rate = bootstrap_interval(hit, units)
        recall = {classes[k]: float(hit[labels == k].mean()) for k in np.unique(labels)}
        row = {"images": int(images), "accuracy": rate["value"], "per_class": recall}
        rows.append(row | {"low": rate["low"], "high": rate["high"]})
    return rows


def next_classes(
    sizes: Ints, right: Floats, labels: Ints, units: Ints, classes: Sequence[str]
) -> list[dict[str, Any]]:
    """The classes that were tested, by how much recall the last doublings of images brought each
    and is still to be had: where further images are likely to help most.

    `n` are a class's test images; `recall` is the last fit's, with `low` and `high`; `before`, a
    rate with its interval, the mean of the fits at the two sizes below the largest; `gained` what
    recall has over it. Takes sizes (P,), right (P, N), labels (N,) and units (N,).
    """
    earlier = np.isin(sizes, np.unique(sizes)[-3:-1])
    rows = []
    for label in np.unique(labels):
        mine = labels == label
        own = np.unique(units[mine], return_inverse=True)[1]
        rate = bootstrap_interval(right[-1, mine], own)
        fits = right[earlier] if earlier.any() else right[-1:]
        before = bootstrap_interval(fits[:, mine].mean(0), own)
        row = {"class": classes[label], "n": int(mine.sum()), "recall": rate["value"]}
        row |= {"low": rate["low"], "high": rate["high"], "before": before}
        rows.append(row | {"gained": rate["value"] - before["value"]})
    return sorted(rows, key=lambda row: row["recall"] - max(row["gained"], 0.0))
