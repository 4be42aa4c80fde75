"""How well a heat map says where the evidence lies: what the methods were chosen by."""

import numpy as np
from numpy.typing import NDArray

from graft.data.decode import Pixels
from graft.explanation.network_input import (
    Floats,
    Maps,
    blurred,
    covered,
    log_probabilities,
    mean_color,
)
from graft.explanation.overlay import resized
from graft.inference.predictor import Predictor

STEPS = 8  # equal parts of the image that a curve removes or shows, one after the other


def deletion(
    predictor: Predictor, pixels: Pixels, values: Maps, of: int, steps: int = STEPS
) -> Floats:
    """The probability of class `of` while the image (H, W, 3) loses its pixels to its mean color,
    those of the highest map values first: (steps + 1,), from the whole image to none of it.

    A good map makes it fall early (Petsiuk et al. 2018, arXiv:1806.07421).
    """
    masks = _first(values, pixels.shape[:2], steps)
    return _curve(predictor, covered(pixels, masks, mean_color(pixels)), of)


def insertion(
    predictor: Predictor, pixels: Pixels, values: Maps, of: int, steps: int = STEPS
) -> Floats:
    """The same while a blurred image gets its pixels back, those of the highest map values first:
    from none of it to the whole image. A good map makes it rise early.
    """
    masks = _first(values, pixels.shape[:2], steps)
    return _curve(predictor, covered(pixels, 1 - masks, blurred(pixels)), of)


def area(curve: Floats) -> float:
    """The area under a curve over equal steps, 0..1 for probabilities."""
    return float((curve[1:] + curve[:-1]).mean() / 2)


def points_at(values: Maps, mask: NDArray[np.bool_]) -> bool:
    """The pointing game: whether the highest value of a map (h, w) lies on the object, which is
    where `mask` (H, W) is true (Zhang et al. 2016, arXiv:1608.00507).
    """
    large = resized(values, *mask.shape)
    return bool(mask.flat[int(large.argmax())])


def share_on(values: Maps, mask: NDArray[np.bool_]) -> float:
    """How much of a map's sum lies on the object, 0..1; 0 of a map of zeros."""
    large = np.maximum(resized(values, *mask.shape), 0)
    total = float(large.sum())
    return float(large[mask].sum()) / total if total > 0 else 0.0


def _first(values: Maps, shape: tuple[int, ...], steps: int) -> Maps:
    """(steps + 1, H, W): 1 where the first 0, 1, 2… parts of the image by their map value are."""
    large = resized(values, shape[0], shape[1])
    rank = np.empty(large.size)
    rank[np.argsort(-large, axis=None, kind="stable")] = np.arange(large.size) / large.size
    fractions = np.arange(steps + 1)[:, np.newaxis, np.newaxis] / steps
    return (rank.reshape(large.shape) < fractions).astype(np.float32)


def _curve(predictor: Predictor, images: Pixels, of: int) -> Floats:
    return np.asarray(np.exp(log_probabilities(predictor, images))[:, of])
