"""Where the evidence lies, by covering: the one method that needs no look inside the network.

Smooth windows cover the image one after the other, and each place is worth what the log-odds lose
while it is covered (Zeiler & Fergus 2014, arXiv:1311.2901; smooth windows and a blur beneath them
as in Fong & Vedaldi 2017, arXiv:1704.03296, since a hard gray square is an object of its own).
"""

import numpy as np

from graft.data.decode import Pixels
from graft.explanation.network_input import (
    Floats,
    Maps,
    blurred,
    covered,
    log_odds,
    log_probabilities,
    resized,
)
from graft.inference.predictor import Predictor

# Windows a side and their width as a share of the image's side: large ones find what only
# disappears as a whole, small ones say where (docs/explain.md has what was measured).
WINDOWS = ((7, 0.45), (12, 0.25))
PASSES = sum(count**2 for count, _ in WINDOWS)  # images that go through the network
CHUNK = 64  # covered images in memory at once
ROWS = 56  # rows and columns of a map, or fewer where the network sees fewer pixels


def occlusion_map(
    predictor: Predictor, pixels: Pixels, of: int, against: int | None = None
) -> Maps:
    """How many nats the log-odds of class `of` lose where the image is covered, (rows, columns)
    float32 ≥ 0 over the whole network input (H, W, 3).

    With `against`, the log-odds are those of the one class against the other.
    """
    height, width = pixels.shape[:2]
    under = blurred(pixels)
    masks = np.concatenate([windows(height, width, count, part) for count, part in WINDOWS])
    whole = log_odds(log_probabilities(predictor, pixels[np.newaxis]), of, against)[0]
    scores = np.concatenate(
        [
            log_odds(
                log_probabilities(predictor, covered(pixels, masks[i : i + CHUNK], under)),
                of,
                against,
            )
            for i in range(0, len(masks), CHUNK)
        ]
    )
    rows, columns = min(ROWS, height), min(ROWS, width)
    found = _mean_of_sizes(masks, whole - scores)
    return resized(np.maximum(found, 0), rows, columns)


def windows(height: int, width: int, count: int, part: float) -> Maps:
    """`count` × `count` smooth windows whose centers are spread evenly over the image, each as wide
    as that part of its side, (count², H, W) in 0..1.
    """
    down, across = _bumps(height, count, part), _bumps(width, count, part)
    products = down[:, np.newaxis, :, np.newaxis] * across[np.newaxis, :, np.newaxis, :]
    return products.reshape(-1, height, width)


def _bumps(length: int, count: int, part: float) -> Maps:
    """(count, length): flat in the middle half, down to 0 at the ends like a cosine."""
    places = (np.arange(length) + 0.5) / length
    centers = (np.arange(count) + 0.5) / count
    off = np.abs(places - centers[:, np.newaxis]) / (part / 2)
    edge = 0.5 + 0.5 * np.cos(np.pi * np.clip(2 * off - 1, 0, 1))
    return edge.astype(np.float32)


def _mean_of_sizes(masks: Maps, losses: Floats) -> Maps:
    """For each pixel the mean loss of the windows over it, sizes counting alike, (H, W)."""
    total = np.zeros(masks.shape[1:], np.float64)
    start = 0
    for count, _ in WINDOWS:
        own = slice(start, start + count**2)
        start += count**2
        weights = masks[own].sum(axis=0)
        total += np.tensordot(losses[own], masks[own], 1) / np.maximum(weights, 1e-6)
    return (total / len(WINDOWS)).astype(np.float32)
