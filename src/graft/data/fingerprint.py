"""Fingerprint: an image in four kilobytes, all that the audit needs to know about it."""

import hashlib
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from graft.data.image_file import FORMATS, HEIC, open_image

# Raise when fingerprints hold something else.
FINGERPRINT_FORMAT = 2
SIDE = 64
# Sharpness is measured at this size, so that it means the same for every image.
LOOK = 128
# Colors are averaged over at least so many blocks a side.
BLOCKS = 24
MAKE, MODEL, TAKEN, EXIF = 0x010F, 0x0110, 0x9003, 0x8769
CHANGED = 0x0132

# Their places are the numbers of `format`: a further one comes last.
NUMBERED = (*FORMATS, HEIC)

# One image. gray: luminance, stretched to a square. width, height: pixels of the file, upright
# or not. bytes: of the file. format: a number for each of NUMBERED. mean, border: RGB of all and of
# the outermost tenth, 0..255; spread, border_spread: standard deviations of luminance. sharpness:
# mean square of the Laplacian over the variance of luminance, at LOOK pixels. camera: a hash of
# make and model, 0 for none. taken: seconds since 1970 by the camera's own clock, 0 unknown.
FINGERPRINT = np.dtype(
    [
        ("gray", "u1", (SIDE, SIDE)),
        ("width", "<i4"),
        ("height", "<i4"),
        ("bytes", "<i8"),
        ("format", "<i4"),
        ("mean", "<f4", 3),
        ("border", "<f4", 3),
        ("spread", "<f4"),
        ("border_spread", "<f4"),
        ("sharpness", "<f4"),
        ("camera", "<u4"),
        ("taken", "<i8"),
    ]
)
Fingerprints = NDArray[np.void]  # (N,) of FINGERPRINT


def fingerprint(data: bytes, image: Image.Image) -> NDArray[np.uint8]:
    """The fingerprint of a file's bytes and its decoded image (at any scale), as raw bytes."""
    row = np.zeros((), FINGERPRINT)
    with open_image(data) as header:
        row["width"], row["height"] = header.size
        row["format"] = _format_number(header.format)
        row["camera"], row["taken"] = _camera(header)
    row["bytes"] = len(data)
    luminance = image.convert("L").resize((LOOK, LOOK), Image.Resampling.BOX, reducing_gap=1.5)
    look = np.asarray(luminance).astype(np.int16)
    row["gray"] = np.asarray(luminance.reduce(LOOK // SIDE))
    laplacian = 4 * look[1:-1, 1:-1]
    laplacian -= look[:-2, 1:-1]
    laplacian -= look[2:, 1:-1]
    laplacian -= look[1:-1, :-2]
    laplacian -= look[1:-1, 2:]
    variance = _mean_square(look) - float(look.mean()) ** 2
    row["spread"] = max(variance, 0.0) ** 0.5
    row["sharpness"] = _mean_square(laplacian) / max(variance, 1.0)
    # Averages over whole blocks of pixels: far cheaper than resampling the colors, too.
    blocks = (max(1, image.width // BLOCKS), max(1, image.height // BLOCKS))
    colors = np.asarray(image.reduce(blocks)).astype(np.float64)
    rim = (max(1, colors.shape[0] // 10), max(1, colors.shape[1] // 10))
    inner = colors[rim[0] : -rim[0], rim[1] : -rim[1]]
    # The border is all but the inside: two sums are faster than putting its sides together.
    total, within = _sums(colors), _sums(inner)
    count = colors.size // 3 - inner.size // 3
    row["mean"], row["border"] = total / (colors.size // 3), (total - within) / count
    grays, inner_grays = colors @ np.ones(3), inner @ np.ones(3)
    squares = float(np.vdot(grays, grays)) - float(np.vdot(inner_grays, inner_grays))
    spread = squares / count / 9 - (float((total - within).sum()) / count / 3) ** 2
    row["border_spread"] = max(spread, 0.0) ** 0.5
    return np.frombuffer(row.tobytes(), np.uint8)


def _mean_square(x: NDArray[np.int16]) -> float:
    values = x.astype(np.float32).ravel()  # a dot product needs no copy of the squares
    return float(values @ values) / len(values)


def _sums(colors: NDArray[np.float64]) -> NDArray[np.float64]:
    # (H, W, 3) to (3,): a product is much faster than a sum along rows of three.
    return np.asarray(np.ones(colors.size // 3) @ colors.reshape(-1, 3))


def fingerprints(rows: NDArray[np.uint8]) -> Fingerprints:
    """Raw rows (N, bytes of a FINGERPRINT) as records (N,)."""
    return np.ascontiguousarray(rows).view(FINGERPRINT)[:, 0]


def format_name(number: int) -> str:
    """The name of a fingerprint's `format`."""
    return NUMBERED[number - 1] if 0 < number <= len(NUMBERED) else "another format"


def _format_number(name: str | None) -> int:
    name = {"MPO": "JPEG"}.get(name or "", name or "")
    return NUMBERED.index(name) + 1 if name in NUMBERED else 0


def camera_name(header: Image.Image) -> str:
    """Make and model of the camera that took an opened image, "" if its EXIF says nothing."""
    # Cameras write broken EXIF; an image without a readable one has none.
    try:
        exif = header.getexif()
        names = [str(exif.get(tag, "")).strip("\0 ") for tag in (MAKE, MODEL)]
        # Many a model begins with its make.
        make = "" if names[1].startswith(names[0]) else names[0]
        return f"{make} {names[1]}".strip()
    except Exception:
        return ""


def _camera(header: Image.Image) -> tuple[int, int]:
    name = camera_name(header)
    digest = hashlib.sha256(name.encode(errors="replace")).digest() if name else b""
    try:
        exif = header.getexif()
        taken = exif.get_ifd(EXIF).get(TAKEN) or exif.get(CHANGED) or "" if exif else ""
    except Exception:  # broken EXIF again
        taken = ""
    return int.from_bytes(digest[:4], "little"), _seconds(str(taken))


def _seconds(text: str) -> int:
    try:
        moment = datetime.strptime(text.strip("\0 ")[:19], "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return 0
    return int((moment - datetime(1970, 1, 1)).total_seconds())
