"""The image as the network sees it, and what the network says of such pixels."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from graft.data.decode import Pixels
from graft.features.extraction import infer_float16
from graft.inference.image_input import OneImage, network_pixels
from graft.inference.predictor import FEW, Predictor

Floats = NDArray[np.float64]
Maps = NDArray[np.float32]


def network_input(image: OneImage, predictor: Predictor) -> Pixels:
    """The (H, W, 3) uint8 pixels that the network is fed for an image: resized, and cropped where
    the run crops.

    Raises UsageError for what cannot be read as an image.
    """
    # A copy that may be written to.
    return np.array(network_pixels(image, predictor.backbone.preprocess, whole=True))


def log_probabilities(predictor: Predictor, inputs: Pixels, settle: bool = False) -> Floats:
    """Log probabilities (N, K) of network inputs (N, H, W, 3), by the predictor's own backend.

    With `settle`, close calls are computed again in float32, as `predict` does: the probabilities
    are then those that it would give. Without, a few percent may differ in half precision.
    """
    inputs = np.require(inputs, requirements="W")  # PyTorch warns of what is read-only
    few = len(inputs) <= FEW
    backend = predictor.single if few else predictor.backend

    def batches(rows: Pixels, size: int) -> Iterator[tuple[None, Pixels]]:
        for start in range(0, len(rows), size):
            yield None, rows[start : start + size]

    features = np.concatenate(
        [values for _, values in infer_float16(backend, batches(inputs, backend.batch))]
    )
    if settle and (close := predictor.close_calls(predictor.probabilities(features))):
        exact = infer_float16(predictor.exact, batches(inputs[close], 1))
        features[close] = np.concatenate([values for _, values in exact])
    logits = predictor.logits(features) / predictor.temperature
    # Not the log of the probabilities: one that is 1 but for its last bit has lost its log-odds.
    found: Floats = logits - _log_sum(logits)[:, np.newaxis]
    return found


def log_odds(log_p: Floats, of: int, against: int | None = None) -> Floats:
    """How much speaks for a class, (N,) in nats, from log probabilities (N, K).

    Against another class it is log p(of) - log p(against); otherwise log p - log(1 - p). Unlike a
    probability it does not stand still where the network is nearly sure.
    """
    if against is not None:
        return np.asarray(log_p[:, of] - log_p[:, against])
    return np.asarray(log_p[:, of] - _log_sum(np.delete(log_p, of, axis=1)))


def covered(pixels: Pixels, masks: Maps, under: Pixels) -> Pixels:
    """The image (H, W, 3) with `under` shown where a mask is 1: masks (N, H, W) in 0..1 to
    (N, H, W, 3).
    """
    share = masks[..., np.newaxis]
    mixed = pixels * (1 - share) + under * share
    return np.rint(mixed).astype(np.uint8)


def blurred(pixels: Pixels, share: float = 0.1) -> Pixels:
    """The image under a Gaussian blur whose deviation is that `share` of its shorter side."""
    image = Image.fromarray(pixels)
    return np.asarray(image.filter(ImageFilter.GaussianBlur(share * min(image.size))))


def mean_color(pixels: Pixels) -> Pixels:
    """An image of the same size, of the mean color alone."""
    mean = pixels.reshape(-1, 3).mean(axis=0)
    return np.broadcast_to(np.rint(mean).astype(np.uint8), pixels.shape)


def _log_sum(values: Floats) -> Floats:
    highest = values.max(axis=1)
    found: Floats = highest + np.log(np.exp(values - highest[:, np.newaxis]).sum(axis=1))
    return found
