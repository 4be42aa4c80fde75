"""Would more data help? An error that falls as a power of the number of pictures."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Exponents and floors (as shares of the least error) that are tried.
EXPONENTS = np.linspace(0.05, 1.5, 30)
FLOORS = np.linspace(0.0, 0.98, 30)
DRAWS = 500


def fit_curve(sizes: Floats, errors: Floats, tested: int, seed: int = 0) -> dict[str, Any]:
    """Fit error = floor + scale · n^-exponent (Hestness et al. 2017, arXiv:1712.00409).

    By least squares with the weights that `tested` pictures give each error; and a band for twice
    and four times as many pictures as the largest size.

    The band is a parametric bootstrap: errors are drawn again around the curve as binomial shares
    of the tested pictures, and the curve is fitted anew; its ends are the 2.5 and 97.5 %
    quantiles. Takes sizes (P,) and errors (P,) in 0..1.
    """
    random = np.random.default_rng(seed)
    most = float(sizes.max())
    floor, scale, exponent = _fit(sizes, errors, tested)
    expected = floor + scale * sizes**-exponent
    draws = []
    for _ in range(DRAWS):
        again = random.binomial(tested, np.clip(expected, 0, 1)) / tested
        draws.append(_fit(sizes, again, tested))
    a, b, c = np.array(draws).T
    ahead = []
    for times in (2, 4):
        low, high = np.quantile(1 - (a + b * (times * most) ** -c), (0.025, 0.975))
        value = 1 - (floor + scale * (times * most) ** -exponent)
        ahead.append(
            {
                "pictures": int(times * most),
                "accuracy": float(value),
                "low": float(min(low, value)),
                "high": float(max(high, value)),
            }
        )
    return {
        "curve": {"floor": floor, "scale": scale, "exponent": exponent},
        "ahead": ahead,
        "method": f"power law, parametric bootstrap of {DRAWS} draws, 95 %",
    }


def _fit(sizes: Floats, errors: Floats, tested: int) -> tuple[float, float, float]:
    # For a floor and an exponent the scale has a closed form; the two lie on a grid, which unlike
    # a descent has no bad start.
    weight = tested / np.maximum(errors * (1 - errors), 1 / (4 * tested))
    floors = FLOORS * errors.min()
    basis = sizes[:, np.newaxis] ** -EXPONENTS  # (P, E)
    rest = errors[:, np.newaxis] - floors  # (P, F)
    weighted = basis * weight[:, np.newaxis]
    scale = np.maximum((weighted.T @ rest) / (weighted * basis).sum(0)[:, np.newaxis], 0)  # (E, F)
    miss = rest[:, np.newaxis, :] - basis[:, :, np.newaxis] * scale
    cost = (weight[:, np.newaxis, np.newaxis] * miss**2).sum(0)
    e, f = np.unravel_index(int(cost.argmin()), cost.shape)
    return float(floors[f]), float(scale[e, f]), float(EXPONENTS[e])
