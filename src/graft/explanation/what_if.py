"""What would change its mind: the image changed in ways that anyone understands, and what the
network says then.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from graft.errors import UsageError
from graft.explanation.network_input import log_probabilities, network_input
from graft.inference.image_input import OneImage
from graft.inference.predictor import Predictor

KEPT = 0.6  # of each side, by the crop
DARK, BLUR = 0.4, 0.03  # the brightness kept; the blur's deviation as a share of the shorter side


class Changed(NamedTuple):
    """An image after a change, as the network sees it, and the probability of each class."""

    name: str
    image: Image.Image
    probabilities: dict[str, float]


def what_if(
    predictor: Predictor, image: OneImage, names: tuple[str, ...] | None = None
) -> list[Changed]:
    """The image as it is and after each change of `CHANGES`, or those of `names`, with the
    probabilities.

    The changes are made to what the network sees of the image. Raises UsageError for an unknown
    change, and for a file that cannot be read as an image.
    """
    chosen = tuple(CHANGES) if names is None else names
    for name in chosen:
        if name not in CHANGES:
            raise UsageError(f"no change {name!r}: expected one of {', '.join(CHANGES)}")
    seen = Image.fromarray(network_input(image, predictor))
    images = [seen, *(CHANGES[name](seen) for name in chosen)]
    inputs = np.stack([np.asarray(each) for each in images])
    found = np.exp(log_probabilities(predictor, inputs, settle=True))
    return [
        Changed(name, each, dict(zip(predictor.classes, row.tolist(), strict=True)))
        for name, each, row in zip(("as it is", *chosen), images, found, strict=True)
    ]


def _crop(image: Image.Image) -> Image.Image:
    width, height = image.size
    left, top = width * (1 - KEPT) / 2, height * (1 - KEPT) / 2
    box = (left, top, width - left, height - top)
    return image.resize(image.size, Image.Resampling.BICUBIC, box=box)


def _turn(image: Image.Image) -> Image.Image:
    turned = image.transpose(Image.Transpose.ROTATE_90)
    return turned if turned.size == image.size else turned.resize(image.size)


def _blur(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(BLUR * min(image.size)))


def _cover(left: float, top: float, right: float, bottom: float) -> Callable[..., Image.Image]:
    """Lay the image's mean color over a part of it, in shares of its sides."""

    def cover(image: Image.Image) -> Image.Image:
        mean = np.asarray(image).reshape(-1, 3).mean(axis=0)
        box = (
            round(left * image.width),
            round(top * image.height),
            round(right * image.width),
            round(bottom * image.height),
        )
        changed = image.copy()
        changed.paste(tuple(int(value) for value in np.rint(mean)), box)
        return changed

    return cover


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "crop to the middle": _crop,
    "turn left": _turn,
    "upside down": lambda image: image.transpose(Image.Transpose.ROTATE_180),
    "mirror": ImageOps.mirror,
    "gray": lambda image: image.convert("L").convert("RGB"),
    "darken": lambda image: ImageEnhance.Brightness(image).enhance(DARK),
    "blur": _blur,
    "cover the left half": _cover(0, 0, 0.5, 1),
    "cover the right half": _cover(0.5, 0, 1, 1),
    "cover the top half": _cover(0, 0, 1, 0.5),
    "cover the bottom half": _cover(0, 0.5, 1, 1),
}
