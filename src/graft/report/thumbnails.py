"""Small images that live inside the page."""

import base64
import io
import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

from PIL import Image, ImageOps

from graft.data.image_file import UnusableImageError, open_image, read_bytes

# What Pillow raises, between its formats, for bytes that are not the image they claim to be.
UNREADABLE = (
    UnusableImageError,
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def link(file: Path, folder: Path) -> str:
    """A file's address seen from a page in `folder`: relative, so right as long as both move
    together.
    """
    return quote(os.path.relpath(file.absolute(), folder.absolute()))


def thumbnail(file: Path | None, side: int) -> str | None:
    """`square` as a JPEG in a data: URI; None if the image cannot be opened."""
    small = square(file, side)
    if small is None:
        return None
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def thumbnails(paths: Sequence[str], files: Mapping[str, Path], side: int) -> dict[str, str | None]:
    """The thumbnail of each path, where `files` says it is; made by all cores."""
    with ThreadPoolExecutor() as pool:
        made = pool.map(lambda path: thumbnail(files.get(path), side), paths)
        return dict(zip(paths, made, strict=True))


def square(file: Path | None, side: int) -> Image.Image | None:
    """The image's middle, `side` pixels a side, RGB; None if it cannot be opened.

    The copy holds pixels alone: place, time and camera stay in the original's metadata.
    """
    if file is None:
        return None
    try:
        with open_image(read_bytes(file)) as opened:
            # A large JPEG is decoded at a half, a quarter or an eighth of its size: far less work.
            opened.draft("RGB", (side, side))
            return ImageOps.fit(
                _rgb(ImageOps.exif_transpose(opened)), (side, side), Image.Resampling.BILINEAR
            )
    except UNREADABLE:
        return None


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "I;16", "I;16B", "I;16L", "F"):
        # Sixteen bits rarely fill their range: stretch what is there so that it can be seen.
        low, high = image.convert("F").getextrema()
        scale = 255 / max(float(high) - float(low), 1e-9)  # type: ignore[arg-type]
        return image.convert("F").point(lambda v: v * scale - low * scale).convert("RGB")  # type: ignore[operator]
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
