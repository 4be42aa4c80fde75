"""Out of distribution (OOD): how unlike the training images an image is."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Directions of the training features that count as known: at most so many, and at most one for
# this many images.
DIRECTIONS, IMAGES_A_DIRECTION = 256, 4
# The fraction of validation images beyond the limit.
REFUSED = 0.025
# Training images that the directions are computed from, at most.
IMAGES = 4096


@dataclass
class OODDetector:
    """Scores features (D,): minus `mean`, over `std`, what remains outside the span of the
    orthonormal `directions` (D, Q) is new. The length of that residual, as a multiple of `limit`,
    is the ood_score: 0 for nothing new, above 1 for out of distribution.

    The residual of a principal subspace is the half of ViM (Wang et al. 2022, arXiv:2203.10807)
    that tells flowers from other images as well as any score tried (docs/recipes.md), in little
    space.
    """

    mean: Tensor
    std: Tensor
    directions: Tensor
    limit: float = 1.0

    def projected(self, features: NDArray[np.float16]) -> tuple[Tensor, Tensor]:
        """(N, D) features, standardized, and their coordinates (N, Q) along the directions."""
        x = (torch.from_numpy(features).float() - self.mean) / self.std
        return x, x @ self.directions

    def score(self, features: NDArray[np.float16]) -> NDArray[np.float64]:
        """(N, D) features to (N,) ood_scores, 0 or more; above 1: out of distribution."""
        x, known = self.projected(features)
        # By Pythagoras; what rounding leaves below 0 is nothing new.
        rest = (x.square().sum(1) - known.square().sum(1)).clamp(min=0).sqrt()
        scores: NDArray[np.float64] = rest.double().numpy() / self.limit
        return scores

    def tensors(self) -> dict[str, Tensor]:
        """As stored with the model's weights."""
        return {"mean": self.mean, "std": self.std, "directions": self.directions.half()}


def fit_ood_detector(
    train: NDArray[np.float16], val: NDArray[np.float16], seed: int
) -> OODDetector:
    """Fit the detector to features of training images (N, D), and its limit to those of validation
    images (M, D), M > 0: an image like them is beyond it with the probability
    `expected_refusals(M)`. The same seed gives the same detector.
    """
    x = torch.from_numpy(train).float()
    mean, std = x.mean(0), x.std(0, correction=0) + 1e-3
    wanted = max(1, min(DIRECTIONS, len(x) // IMAGES_A_DIRECTION, x.shape[1] // 2))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _, _, directions = torch.pca_lowrank((x - mean) / std, q=wanted, center=False, niter=1)
    detector = OODDetector(mean, std, directions.half().float())
    scores = np.sort(detector.score(val))
    detector.limit = max(float(scores[_rank(len(scores)) - 1]), 1e-6)
    return detector


def expected_refusals(n: int) -> float:
    """The probability that an image like `n` > 0 validation images is beyond the limit: at most
    REFUSED from 39 images on; with fewer their largest score is the limit, and it is 1 / (n + 1).
    """
    return 1 - _rank(n) / (n + 1)


def _rank(n: int) -> int:
    # A new score has any of n + 1 ranks with the same chance (Vovk et al. 2005).
    return min(n, math.ceil((n + 1) * (1 - REFUSED) - 1e-9))
