"""Views of an image: view 0 is the plain evaluation view, the others are seeded augmentations."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from graft.data.decode import Pixels, Preprocess, center_view, resampled

# Random-resized crops (Szegedy et al. 2015, arXiv:1409.4842): the least fraction of the area
# that each preset keeps. All are milder than the 8 % of ImageNet training: a frozen encoder does
# not learn to undo a crop that has lost the object.
MIN_AREA = {"none": 1.0, "light": 0.7, "standard": 0.35, "strong": 0.2}
ASPECT = (3 / 4, 4 / 3)
ATTEMPTS = 10


@dataclass(frozen=True)
class Augmentation:
    """How the views above 0 are made.

    none: nothing, they equal view 0. light, standard and strong: random-resized crops of at least
    70, 35 or 20 % of the area, mirrored half of the time if `flip`, then changed by `distort` if
    there is one.
    """

    preset: str = "standard"
    flip: bool = True
    distort: Callable[[Pixels, np.random.Generator], Pixels] | None = None

    @property
    def key(self) -> str:
        """Names the views of this augmentation in the cache."""
        preset = "" if self.preset == "standard" else f"-{self.preset}"
        return f"{'-flip' if self.flip else ''}{preset}"


def view(
    image: Image.Image,
    number: int,
    preprocess: Preprocess,
    digest: bytes,
    augmentation: Augmentation = Augmentation(),
) -> Pixels:
    """The image as view `number` ≥ 0, (height, width, 3) uint8; view 0 is the plain one.

    The randomness comes from the image's own sha256 and the number, so a view is the same in
    every run, whatever the order of files and the number of threads.
    """
    if number == 0 or augmentation.preset == "none":
        return center_view(image, preprocess)
    random = np.random.default_rng([number, int.from_bytes(digest[:16], "big")])
    # One resampling from the decoded image to the view: twice as fast as a crop, then a resize.
    box = _crop_box(image.width, image.height, MIN_AREA[augmentation.preset], random)
    pixels = resampled(image, preprocess, box)
    mirrored = random.random() < 0.5
    if augmentation.flip and mirrored:
        pixels = np.ascontiguousarray(pixels[:, ::-1])
    return augmentation.distort(pixels, random) if augmentation.distort else pixels


def _crop_box(
    width: int, height: int, min_area: float, random: np.random.Generator
) -> tuple[float, float, float, float]:
    for _ in range(ATTEMPTS):
        area = width * height * random.uniform(min_area, 1)
        aspect = math.exp(random.uniform(math.log(ASPECT[0]), math.log(ASPECT[1])))
        crop_width, crop_height = math.sqrt(area * aspect), math.sqrt(area / aspect)
        if crop_width <= width and crop_height <= height:
            break
    else:  # an image too long for any such crop: the largest square
        crop_width = crop_height = float(min(width, height))
    left = random.uniform(0, width - crop_width)
    top = random.uniform(0, height - crop_height)
    return left, top, left + crop_width, top + crop_height
