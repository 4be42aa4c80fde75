"""Images of odd sizes and modes, drawn here: what an export is tried on besides the user's own,
and what may travel with it, since it shows nobody's photos.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_ORIENTATION = 0x0112


def drawing(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """Smooth colors with edges and grain, (height, width, 3): the same for the same seed."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    planes = []
    for _ in range(3):
        down, across, start = random.uniform(0.5, 6, 3)
        wave = np.sin(down * y / max(height, 32) + across * x / max(width, 32) + start)
        planes.append(128 + 90 * wave)
    image = np.stack(planes, axis=2)
    for _ in range(4):  # edges
        top, left = random.uniform(0, height), random.uniform(0, width)
        box = (y > top) & (y < top + height / 3) & (x > left) & (x < left + width / 3)
        image[box] = random.uniform(0, 255, 3)
    image += random.normal(0, 12, image.shape)
    pixels: NDArray[np.uint8] = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return pixels


def write_odd_images(folder: Path) -> list[Path]:
    """Write them into a folder: one pixel high, very wide, turned by EXIF, gray, CMYK, …"""
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {
        "one-pixel": (1, 1),
        "one-row": (1, 300),
        "one-column": (300, 1),
        "tiny": (5, 7),
        "square": (227, 227),
        "very-wide": (60, 3001),
        "very-tall": (3001, 60),
        "tall": (900, 250),
        "elongated": (12, 2000),
    }
    files = []
    for seed, (name, (height, width)) in enumerate(sizes.items()):
        files.append(folder / f"{name}.png")
        Image.fromarray(drawing(height, width, seed)).save(files[-1])
    photo = Image.fromarray(drawing(321, 433, 40))
    exif = Image.Exif()
    for turned in (3, 6):
        exif[_ORIENTATION] = turned
        files.append(folder / f"turned-{turned}.jpg")
        photo.save(files[-1], exif=exif, quality=92)
    modes = {"gray.png": "L", "cmyk.jpg": "CMYK", "palette.gif": "P", "bilevel.png": "1"}
    for name, mode in modes.items():
        files.append(folder / name)
        photo.convert(mode).save(files[-1])
    transparent = photo.convert("RGBA")
    transparent.putalpha(photo.convert("L"))
    files.append(folder / "transparent.png")
    transparent.save(files[-1])
    files.append(folder / "sixteen-bits.png")
    Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 257).save(files[-1])
    return files
