"""Ridge regression of the classes on frozen features: all penalties from one decomposition.

With the eigenvectors of the features' Gram matrix a further penalty costs a product of matrices,
and what a fold would get from the other folds is known in closed form (Allen 1974, Technometrics
16): y - (1 - H)^-1 (y - fit), H being the fold's block of the hat matrix. So 21 penalties in five
folds, 105 fits, cost little more than one.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

# Scores are about 1 for the right class and 0 for others; ten times as much are logits whose
# temperature is near 1.
SCALE = 10.0


def standardized(features: Tensor) -> Tensor:
    """Features (n, D) of mean 0 and, but for those that hardly vary, variance 1, in float64: as
    models/head.py makes them.
    """
    x = features.double()
    std = x.std(0, correction=0)
    return (x - x.mean(0)) / (std + 1e-3 * std.mean() + 1e-12)


def ridge_path(
    x: Tensor, labels: Ints, classes: int, fold: Ints, strengths: Sequence[float]
) -> Floats:
    """Logits (S, n, K) of each strength, each image's from those of other folds (n,).

    `x` (n, D) is standardized; a strength is the penalty as a multiple of n. The regression has an
    intercept, which is not penalized.
    """
    count = len(x)
    wanted = torch.nn.functional.one_hot(torch.from_numpy(labels), classes).double()
    prior = wanted.mean(0)
    basis, values = _decomposed(x)  # x is basis times some rotation: basis is (n, R)
    moments = basis.T @ (wanted - prior)
    found = torch.empty(len(strengths), count, classes, dtype=torch.float64)
    parts = [np.flatnonzero(fold == number) for number in np.unique(fold)]
    ones = torch.full((count, 1), count**-0.5, dtype=torch.float64)
    for path, strength in zip(found, strengths, strict=True):
        shrunk = 1 / (values + strength * count)
        residual = wanted - (basis @ (shrunk[:, None] * moments) + prior)
        roots = torch.cat([basis * shrunk.sqrt(), ones], 1)  # H is roots @ roots.T
        for rows in parts:
            path[rows] = wanted[rows] - _left_out(roots[rows], residual[rows])
    return (SCALE * found).float().numpy()


def ridge_weights(x: Tensor, labels: Ints, classes: int, strength: float) -> tuple[Tensor, Tensor]:
    """Weights (K, D) and biases (K,), float32, of logits on standardized features (n, D)."""
    wanted = torch.nn.functional.one_hot(torch.from_numpy(labels), classes).double()
    prior, penalty = wanted.mean(0), strength * len(x)
    if len(x) < x.shape[1]:  # the same, by the smaller system
        kernel = x @ x.T + penalty * torch.eye(len(x), dtype=torch.float64)
        weights = x.T @ torch.linalg.solve(kernel, wanted - prior)
    else:
        gram = x.T @ x + penalty * torch.eye(x.shape[1], dtype=torch.float64)
        weights = torch.linalg.solve(gram, x.T @ (wanted - prior))
    return (SCALE * weights.T).float(), (SCALE * prior).float()


def _decomposed(x: Tensor) -> tuple[Tensor, Tensor]:
    """`x` rotated to its principal axes (n, R), R the smaller of n and D, and their eigenvalues."""
    if len(x) < x.shape[1]:
        values, vectors = torch.linalg.eigh(x @ x.T)
        values = values.clamp(min=0)
        return vectors * values.sqrt(), values
    values, vectors = torch.linalg.eigh(x.T @ x)
    return x @ vectors, values.clamp(min=0)


def _left_out(roots: Tensor, residual: Tensor) -> Tensor:
    """(1 - roots @ roots.T)^-1 @ residual, by the smaller of two systems."""
    count, width = roots.shape
    if count <= width:
        hat = roots @ roots.T
        hat = torch.eye(count, dtype=torch.float64) - hat
        return torch.as_tensor(torch.linalg.solve(hat, residual))
    inner = torch.eye(width, dtype=torch.float64) - roots.T @ roots  # Woodbury
    return torch.as_tensor(residual + roots @ torch.linalg.solve(inner, roots.T @ residual))
