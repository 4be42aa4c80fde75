"""Outlines and courses: the lines that vessels are turned from and handles follow."""

import numpy as np
from scipy.interpolate import PchipInterpolator

Points = list[tuple[float, float]]


def bent(points: Points | np.ndarray, count: int = 36) -> np.ndarray:
    """A smooth line through points, which doesn't swing beyond them."""
    p = np.asarray(points, dtype=float)
    p = p[np.r_[True, np.linalg.norm(np.diff(p, axis=0), axis=1) > 1e-9]]
    along = np.r_[0, np.cumsum(np.linalg.norm(np.diff(p, axis=0), axis=1))]
    at = np.linspace(0, along[-1], count)
    return np.stack([PchipInterpolator(along, p[:, i])(at) for i in (0, 1)], axis=1)


def arc(
    center: tuple[float, float],
    size: tuple[float, float],
    start: float,
    end: float,
    count: int = 18,
) -> np.ndarray:
    """A part of an ellipse; angles in degrees, from the right, counterclockwise."""
    angle = np.radians(np.linspace(start, end, count))
    return np.stack(
        [center[0] + size[0] * np.cos(angle), center[1] + size[1] * np.sin(angle)], axis=1
    )


def vessel(sides: np.ndarray, above: float = 0.3) -> np.ndarray:
    """An outline from sides that go up from the foot: closed below, going on above the rim."""
    lift = sides[-1] - sides[-3]
    lift = lift / max(lift[1], 1e-3) * above
    over = sides[-1] + [np.clip(lift[0], -0.3, 0.6), above]
    return np.concatenate([[[0.0, sides[0, 1]]], sides, [over], [[0.0, over[1]]]])


def closed(sides: np.ndarray) -> np.ndarray:
    """An outline from sides, closed below and above."""
    return np.concatenate([[[0.0, sides[0, 1]]], sides, [[0.0, sides[-1, 1]]]])


def radius_at(sides: np.ndarray, height: float) -> float:
    """How wide sides that go up are at a height."""
    return float(np.interp(height, sides[:, 1], sides[:, 0]))


def handle(
    rng: np.random.Generator,
    sides: np.ndarray,
    low: float,
    high: float,
    reach: float,
    sign: int = 1,
) -> np.ndarray:
    """The course of a handle from the side at `low` to the side at `high`, as far as `reach`."""
    sink = 0.02
    a, b = radius_at(sides, low) - sink, radius_at(sides, high) - sink
    out, tall = max(a, b) + reach, high - low
    style = rng.choice(["round", "ear", "square", "low"])
    if style == "square":
        middle = [(out - 0.04, low + 0.02 * tall), (out, low + 0.2 * tall)]
        middle += [(out, high - 0.2 * tall), (out - 0.04, high - 0.02 * tall)]
    elif style == "ear":
        middle = [(a + 0.45 * reach, low + 0.06 * tall), (out - 0.1 * reach, low + 0.5 * tall)]
        middle += [(out, low + 0.8 * tall), (b + 0.6 * reach, high + 0.06 * tall)]
    elif style == "low":
        middle = [(out - 0.2 * reach, low + 0.08 * tall), (out, low + 0.38 * tall)]
        middle += [(b + 0.6 * reach, low + 0.8 * tall)]
    else:
        turn = np.radians(np.linspace(-68, 68, 5))
        half = (out - (a + b) / 2) * np.cos(turn) + (a + b) / 2
        middle = list(zip(half, low + tall / 2 * (1 + np.sin(turn)), strict=True))
    return bent([(a, low), *middle, (b, high)], 22) * [sign, 1]
