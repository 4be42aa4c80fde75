"""Views of a picture: view 0 is the plain evaluation view, the others are seeded augmentations."""

import math

import numpy as np
from PIL import Image

from graft.data.decode import Pixels, Preprocess, centre_view, resampled

# Random-resized crops (Szegedy et al. 2015, arXiv:1409.4842), milder than the 8 % of ImageNet
# training: a frozen encoder does not learn to undo a crop that has lost the object.
MIN_AREA = 0.35
ASPECT = (3 / 4, 4 / 3)
ATTEMPTS = 10


def view(
    image: Image.Image, number: int, preprocess: Preprocess, digest: bytes, flip: bool = True
) -> Pixels:
    """The picture as view `number` ≥ 0, (height, width, 3) uint8.

    Views above 0 are random-resized crops, mirrored half of the time if `flip`. The randomness
    comes from the picture's own sha256 and the number, so a view is the same in every run,
    whatever the order of files.
    """
    if number == 0:
        return centre_view(image, preprocess)
    random = np.random.default_rng([number, int.from_bytes(digest[:16], "big")])
    pixels = resampled(image, preprocess, _crop_box(image.width, image.height, random))
    mirrored = random.random() < 0.5
    return np.ascontiguousarray(pixels[:, ::-1]) if flip and mirrored else pixels


def _crop_box(
    width: int, height: int, random: np.random.Generator
) -> tuple[float, float, float, float]:
    for _ in range(ATTEMPTS):
        area = width * height * random.uniform(MIN_AREA, 1)
        aspect = math.exp(random.uniform(math.log(ASPECT[0]), math.log(ASPECT[1])))
        crop_width, crop_height = math.sqrt(area * aspect), math.sqrt(area / aspect)
        if crop_width <= width and crop_height <= height:
            break
    else:  # a picture too long for any such crop: the largest square
        crop_width = crop_height = float(min(width, height))
    left = random.uniform(0, width - crop_width)
    top = random.uniform(0, height - crop_height)
    return left, top, left + crop_width, top + crop_height
