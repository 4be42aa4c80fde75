"""Thumbnails of a project, made once and kept by digest, and images as any browser shows them."""

import io
from pathlib import Path

from PIL import Image

from graft.data.decode import decoded
from graft.data.image_file import BYTES, read_bytes
from graft.utils.files import replacing

SIDE = 256  # pixels of a thumbnail's longer side
LARGE = 1600  # of an image that is looked at alone


def thumbnail_file(folder: Path, sha256: str) -> Path:
    """Where the thumbnail of these bytes lies, or will lie."""
    return folder / sha256[:2] / f"{sha256}.jpg"


def make_thumbnail(file: Path, place: Path) -> None:
    """Write the thumbnail of an image file; raises UnusableImageError."""
    data = as_jpeg(file, SIDE)
    with replacing(place) as beside:
        beside.write_bytes(data)


def as_jpeg(file: Path, side: int = LARGE) -> bytes:
    """An image file, decoded as graft does, at most `side` pixels a side, as a JPEG without
    metadata; raises UnusableImageError. Large images wait for each other, so memory stays bounded.
    """
    size = file.stat().st_size if file.is_file() else 0
    with BYTES.taken(size):
        data = read_bytes(file)
        # A JPEG that is decoded at a half, a quarter or an eighth of its size takes far less time.
        with decoded(data, side // 2) as image:
            image.thumbnail((side, side), Image.Resampling.BILINEAR)
            small = io.BytesIO()
            image.save(small, "JPEG", quality=82)
            return small.getvalue()
