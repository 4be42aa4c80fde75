"""Real photos with edited copies among them, made without the code under test."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

Edit = Callable[[Image.Image, np.random.Generator], Image.Image]


def _cropped(image: Image.Image, random: np.random.Generator) -> Image.Image:
    width, height = (int(side * 0.8) for side in image.size)
    left = int(random.integers(image.width - width + 1))
    top = int(random.integers(image.height - height + 1))
    return image.crop((left, top, left + width, top + height))


EDITS: dict[str, Edit] = {
    "resized": lambda i, _: i.resize((i.width // 2, i.height // 2), Image.Resampling.LANCZOS),
    "recompressed": lambda i, _: saved(i, 30),
    "cropped": _cropped,
    "mirrored": lambda i, _: ImageOps.mirror(i),
    "turned by 90": lambda i, _: i.rotate(90, expand=True),
    "turned by 7": lambda i, _: i.rotate(7, Image.Resampling.BICUBIC),
    "brightened": lambda i, _: ImageEnhance.Brightness(i).enhance(1.4),
    "gray and paler": lambda i, _: ImageEnhance.Contrast(i.convert("L").convert("RGB")).enhance(
        0.7
    ),
}


def saved(image: Image.Image, quality: int) -> Image.Image:
    """The image as it comes back from a JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")


def planted(
    photos: list[Path], copies: int, seed: int
) -> tuple[list[Image.Image], dict[tuple[int, int], str]]:
    """The photos, then edited copies of some; and which pairs of positions are copies, by edit."""
    random = np.random.default_rng(seed)
    images = [Image.open(photo).convert("RGB") for photo in photos]
    true = {}
    for number, source in enumerate(random.choice(len(photos), copies, replace=False).tolist()):
        name = list(EDITS)[number % len(EDITS)]
        true[source, len(images)] = name
        images.append(saved(EDITS[name](images[source], random), 90))
    return images, true
