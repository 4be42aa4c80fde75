"""Smooth random fields for textures, and small vector arithmetic.

Vectors are tensors of shape (3, N): the three rows are contiguous, which elementwise work likes.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

SIDE = 64  # the noise repeats after so many cells; a power of two, for the cheap modulo


def dot(a: Tensor, b: Tensor) -> Tensor:
    """The N scalar products of two (3, N) tensors; faster than a sum over an axis of three."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def unit(a: Tensor) -> Tensor:
    """The N vectors at length one."""
    return a * dot(a, a).clamp_min(1e-12).rsqrt()


def column(values: Sequence[float] | np.ndarray) -> Tensor:
    """Three numbers as a (3, 1) tensor, which broadcasts against (3, N)."""
    return torch.tensor(np.asarray(values, dtype=np.float32)).reshape(3, 1)


def smoothstep(low: float, high: float, x: Tensor) -> Tensor:
    """0 below `low`, 1 above `high`, smooth between."""
    t = ((x - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def mix(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    """`a` where the weight is 0, `b` where it is 1."""
    return a + (b - a) * weight


class Noise:
    """Value noise: random numbers on a grid, smoothly interpolated, between 0 and 1."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.values = torch.tensor(rng.random(SIDE * SIDE, dtype=np.float32))

    def __call__(self, u: Tensor, v: Tensor) -> Tensor:
        """The noise at (u, v); one cell of its grid is one unit."""
        fu, fv = u.floor(), v.floor()
        iu, iv = fu.long(), fv.long()
        a, b = u - fu, v - fv
        a, b = a * a * (3 - 2 * a), b * b * (3 - 2 * b)
        left, right = iu & (SIDE - 1), (iu + 1) & (SIDE - 1)
        below, above = (iv & (SIDE - 1)) * SIDE, ((iv + 1) & (SIDE - 1)) * SIDE
        low = torch.lerp(self.values[below + left], self.values[below + right], a)
        high = torch.lerp(self.values[above + left], self.values[above + right], a)
        return torch.lerp(low, high, b)

    def octaves(self, u: Tensor, v: Tensor, count: int = 4) -> Tensor:
        """Noise of several sizes, each half as large and half as strong as the one before."""
        total, weight = torch.zeros_like(u), 0.0
        for octave in range(count):
            strength = 0.5**octave
            total += strength * self(u * 2.0**octave + 17 * octave, v * 2.0**octave + 5 * octave)
            weight += strength
        return total / weight

    def solid(self, p: Tensor, scale: float, count: int = 2) -> Tensor:
        """Noise in space: the mean over three planes, which needs no unwrapped surface."""
        x, y, z = p * scale
        return (
            self.octaves(x + 0.3 * z, y, count)
            + self.octaves(y + 9, z + 0.4 * x, count)
            + self.octaves(z + 21, x + 0.2 * y, count)
        ) / 3
