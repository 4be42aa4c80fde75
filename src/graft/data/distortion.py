"""Strong augmentation: changes of color and shape, by torchvision's transforms.v2."""

import math

import numpy as np

from graft.data.augmentation import Augmentation
from graft.data.decode import Pixels

# The fraction of views in which a box is erased, and the box's fraction of the area.
ERASED, ERASED_AREA = 0.25, (0.02, 0.2)


def augmentation(preset: str, flip: bool) -> Augmentation:
    """The augmentation of that name: none, light, standard or strong."""
    return Augmentation(preset, flip, distorted if preset == "strong" else None)


def distorted(pixels: Pixels, random: np.random.Generator) -> Pixels:
    """The view with one change of color or shape, of a random kind and strength, and at times
    an erased box; (H, W, 3) uint8.

    One change per view: TrivialAugment (Müller & Hutter 2021, arXiv:2103.10158). Erasing: Zhong et
    al. 2017, arXiv:1708.04896. The numbers are drawn here and not by the transforms, whose one
    generator for all threads would make a view depend on what the other threads do.
    """
    import torch
    from torchvision.transforms.v2 import functional as v2

    x = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
    strength = random.uniform(0, 1)
    sign = 1 if random.random() < 0.5 else -1
    factor = 1 + 0.7 * sign * strength
    match int(random.integers(0, 11)):
        case 0:
            x = v2.adjust_brightness(x, factor)
        case 1:
            x = v2.adjust_contrast(x, factor)
        case 2:
            x = v2.adjust_saturation(x, factor)
        case 3:
            x = v2.adjust_hue(x, 0.1 * sign * strength)
        case 4:
            x = v2.adjust_sharpness(x, 1 + 0.9 * sign * strength)
        case 5:
            x = v2.rotate(x, 25 * sign * strength)
        case 6:
            x = v2.affine(x, 0.0, [0, 0], 1.0, [15 * sign * strength, 0.0])
        case 7:
            x = v2.posterize(x, 8 - int(4 * strength))
        case 8:
            x = v2.solarize(x, 255 * (1 - 0.6 * strength))
        case 9:
            x = v2.autocontrast(x)
        case _:
            pass
    if random.random() < ERASED:
        height, width = x.shape[1:]
        side = math.sqrt(random.uniform(*ERASED_AREA))
        tall, wide = max(1, round(height * side)), max(1, round(width * side))
        top, left = (int(random.integers(0, n + 1)) for n in (height - tall, width - wide))
        gray = torch.full((3, tall, wide), 128, dtype=torch.uint8)
        x = v2.erase(x, top, left, tall, wide, gray)
    return np.ascontiguousarray(x.permute(1, 2, 0).numpy())
