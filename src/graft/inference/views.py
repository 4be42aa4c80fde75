"""Predictions of images that were decoded elsewhere."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from graft.data.decode import Pixels
from graft.features.extraction import encode_pixels
from graft.inference.policy import Policy
from graft.inference.prediction import Prediction
from graft.inference.predictor import FEW, Features, Predictor


def predict_views(
    predictor: Predictor,
    views: Sequence[Pixels],
    whole: Callable[[int], Pixels],
    policy: Policy,
    names: Sequence[str],
) -> list[Prediction]:
    """The predictions of pixels that `center_view` made of images, as the predictor gives of files.

    `views` are (height, width, 3) uint8 each; `whole(row)` makes those of the image decoded at its
    full size, for close calls. `names` become the paths.
    """

    def exact(rows: list[int]) -> Iterator[Features]:
        return encode_pixels((whole(row) for row in rows), predictor.exact, 1)

    backend = predictor.single if len(views) <= FEW else predictor.backend
    features = np.stack(list(encode_pixels(views, backend, backend.batch)))
    answers = predictor._settled(features, exact)
    return [
        predictor._prediction(name, own, probabilities, policy)
        for name, own, probabilities in zip(names, features, answers, strict=True)
    ]
