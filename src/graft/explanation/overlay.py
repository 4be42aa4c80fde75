"""A map laid over its image, with Pillow alone: a report needs no network to draw one."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Maps = NDArray[np.float32]

# From where a map is clear to its highest value: yellow, orange, red. Read as brightness, too.
STOPS = (0.0, 0.35, 0.7, 1.0)
COLORS = ((255, 240, 150), (255, 205, 40), (240, 105, 30), (170, 10, 40))
OPACITY = 0.72


def painted(image: Image.Image, values: Maps) -> Image.Image:
    """The image, nearly gray, with a map (h, w) ≥ 0 over all of it; clear where the map is 0."""
    highest = float(values.max())
    scaled = resized(values / highest if highest > 0 else values, image.height, image.width)
    strength = np.clip(scaled, 0, 1)
    gray = np.asarray(image.convert("L").convert("RGB"), np.float32)
    base = 0.3 * np.asarray(image.convert("RGB"), np.float32) + 0.7 * gray
    opacity = np.clip(strength * 1.3, 0, OPACITY)[..., np.newaxis]
    mixed = base * (1 - opacity) + color(strength) * opacity
    return Image.fromarray(np.rint(mixed).clip(0, 255).astype(np.uint8))


def color(strength: Maps) -> Maps:
    """The colors (…, 3), 0..255, of values (…) in 0..1."""
    channels = [np.interp(strength, STOPS, values) for values in zip(*COLORS, strict=True)]
    return np.stack(channels, axis=-1).astype(np.float32)


def gray_map(values: Maps, side: int) -> Image.Image:
    """A map (h, w) of any values as a gray image `side` pixels wide: its lowest value black, its
    highest white, each cell a square.
    """
    low, high = float(values.min()), float(values.max())
    scaled = (values - low) / (high - low) if high > low else np.zeros_like(values)
    image = Image.fromarray(np.rint(scaled * 255).astype(np.uint8))
    tall = max(1, round(side * values.shape[0] / values.shape[1]))
    return image.resize((side, tall), Image.Resampling.NEAREST)


def resized(values: Maps, rows: int, columns: int) -> Maps:
    """A map (h, w) at another size, interpolated between the centers of its cells."""
    image = Image.fromarray(np.ascontiguousarray(values, np.float32))
    return np.asarray(image.resize((columns, rows), Image.Resampling.BILINEAR))
