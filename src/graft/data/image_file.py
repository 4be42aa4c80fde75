"""An image file, read and opened: regular files of bounded size, in formats that graft knows."""

import io
import os
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from PIL import Image, UnidentifiedImageError

# Above this an image is taken for a decompression bomb: 2**28 bytes once decoded. A file of more
# bytes than that is not read at all.
MAX_PIXELS = 2**28 // 3
MAX_BYTES = 2**28
# What is smaller needs no place of its own (see Room).
SMALL_PIXELS, SMALL_BYTES = 2**20, 2**20

# Pillow warns at the same size; graft reports the file as a finding instead.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# Cameras write broken EXIF and broken directories of further images: the image itself is whole,
# and is taken to be upright. The numbers of a damaged file may overflow on their way.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"PIL\.")

# Images only: Pillow would hand an EPS file, whatever its name, to Ghostscript to run.
FORMATS = (
    *("JPEG", "PNG", "GIF", "BMP", "DIB"),  # JPEG reads MPO too
    *("WEBP", "TIFF", "PPM", "AVIF", "JPEG2000", "TGA"),
)
# What the extra graft[heic] reads.
HEIC = "HEIF"
# The brands of HEIC files, from byte 8 on (ISO/IEC 23008-12); mif1 and msf1 may be AVIF as well.
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
# A pipe that nobody writes to must not be waited for.
_FLAGS = getattr(os, "O_NONBLOCK", 0)


class UnusableImageError(Exception):
    """An image that cannot be used; `kind` is the kind of finding that says why."""

    def __init__(self, kind: str, reason: str):
        super().__init__(reason)
        self.kind = kind


class Room:
    """What threads may hold at one time of something scarce, such as pixels: `limit` in all.

    One that needs more than is free waits; one that needs more than all of it waits until it is
    alone.
    """

    def __init__(self, limit: int, small: int):
        self.limit, self.small, self.held = limit, small, 0
        self.changed = threading.Condition()

    @contextmanager
    def taken(self, amount: int) -> Iterator[None]:
        """Hold `amount` while the block runs; `small` amounts are not counted."""
        if amount < self.small:
            yield
            return
        with self.changed:
            self.changed.wait_for(lambda: not self.held or self.held + amount <= self.limit)
            self.held += amount
        try:
            yield
        finally:
            with self.changed:
                self.held -= amount
                self.changed.notify_all()


# A decoded pixel takes up to 16 bytes for a moment: with these limits all threads together stay
# below 2 GB, whatever the files hold and however many cores there are.
PIXELS = Room(MAX_PIXELS, SMALL_PIXELS)
BYTES = Room(MAX_BYTES, SMALL_BYTES)


def irregular(mode: int) -> str:
    """What a file of this `st_mode` is, "a named pipe", if it is not a regular file; else ""."""
    return "" if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "no regular file")


def read_bytes(file: Path) -> bytes:
    """The bytes of a regular file, at most MAX_BYTES of them.

    Raises UnusableImageError with kind "unreadable" for a missing one or a pipe, device or folder,
    "oversized" for a larger one, "empty" for one without bytes. None of these is opened.
    """
    try:
        status = os.stat(file)  # noqa: PTH116
        if kind := irregular(status.st_mode):
            raise UnusableImageError("unreadable", f"cannot be read: it is {kind}, not a file")
        if status.st_size > MAX_BYTES:
            raise UnusableImageError(
                "oversized", f"has {status.st_size:,} bytes, more than {MAX_BYTES:,}"
            )
        with open(file, "rb", opener=_without_waiting) as stream:
            data = stream.read(status.st_size)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise UnusableImageError("unreadable", f"cannot be read: {reason}") from error
    if not data:
        raise UnusableImageError("empty", "has no bytes in it")
    return data


def _without_waiting(name: str, flags: int) -> int:
    return os.open(name, flags | _FLAGS)


def open_image(data: bytes) -> Image.Image:
    """The header of an encoded image; its pixels are not decoded yet.

    Raises UnusableImageError with kind "oversized" for more than MAX_PIXELS, "unreadable" for HEIC
    without the package that reads it; and whatever Pillow's readers raise on hostile bytes.
    """
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        if data[4:8] != b"ftyp" or data[8:12] not in _HEIC_BRANDS:
            raise
        _register_heic()
        image = Image.open(io.BytesIO(data), formats=(HEIC,))
    check_size(image)
    return image


def check_size(image: Image.Image) -> None:
    """Raise UnusableImageError for an image of more than MAX_PIXELS."""
    # Decoding JPEG 2000 takes 16 bytes a pixel and more, all others up to 12.
    limit = MAX_PIXELS // 2 if image.format == "JPEG2000" else MAX_PIXELS
    if image.width * image.height > limit:
        raise UnusableImageError(
            "oversized", f"is {image.width} × {image.height} pixels, more than {limit:,}"
        )


@cache
def _register_heic() -> None:
    try:
        import pillow_heif
    except ImportError as error:
        raise UnusableImageError(
            "unreadable", "is a HEIC image, which needs one more package: pip install 'graft[heic]'"
        ) from error
    # The image alone: what else a file holds is not decoded.
    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
