"""A picture in four kilobytes: what the audit needs to know of it, from the one reading pass."""

import hashlib
import io
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from graft.data.decode import FORMATS

# Raise when a sketch comes to hold something else.
SKETCH_FORMAT = 1
SIDE = 64
# Sharpness and edges are looked at in this size, so that they mean the same for every picture.
LOOK = 128
# Blocks a side, at least, that colours are averaged over.
BLOCKS = 24
MAKE, MODEL, TAKEN, EXIF = 0x010F, 0x0110, 0x9003, 0x8769
CHANGED = 0x0132

# One picture. grey: luminance, stretched to a square. width, height: pixels of the file, upright
# or not. bytes: of the file. format: a number for each of FORMATS. mean, border: RGB of all and of
# the outermost tenth, 0..255; spread, border_spread: standard deviations of luminance. sharpness:
# mean square of the Laplacian over the variance of luminance, at LOOK pixels. camera: a hash of
# make and model, 0 for none. taken: seconds since 1970 by the camera's own clock, 0 unknown.
SKETCH = np.dtype(
    [
        ("grey", "u1", (SIDE, SIDE)),
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
Sketches = NDArray[np.void]  # (N,) of SKETCH


def sketch(data: bytes, image: Image.Image) -> NDArray[np.uint8]:
    """The sketch of a file's bytes and its decoded picture (at any scale), as raw bytes."""
    row = np.zeros((), SKETCH)
    with Image.open(io.BytesIO(data), formats=FORMATS) as header:
        row["width"], row["height"] = header.size
        row["format"] = _format_number(header.format)
        row["camera"], row["taken"] = _camera(header)
    row["bytes"] = len(data)
    luminance = image.convert("L").resize((LOOK, LOOK), Image.Resampling.BOX, reducing_gap=1.5)
    look = np.asarray(luminance, np.float32)
    row["grey"] = np.asarray(luminance.reduce(LOOK // SIDE))
    laplacian = (
        4 * look[1:-1, 1:-1] - look[:-2, 1:-1] - look[2:, 1:-1] - look[1:-1, :-2] - look[1:-1, 2:]
    )
    variance = float(look.var())
    row["spread"] = variance**0.5
    row["sharpness"] = float(np.square(laplacian).mean()) / max(variance, 1.0)
    # Averages over whole blocks of pixels: far cheaper than resampling the colours, too.
    blocks = (max(1, image.width // BLOCKS), max(1, image.height // BLOCKS))
    colours = np.asarray(image.reduce(blocks), np.float32)
    row["mean"] = colours.mean((0, 1))
    rim = (max(1, colours.shape[0] // 10), max(1, colours.shape[1] // 10))
    edge = np.concatenate(
        [
            side.reshape(-1, 3)
            for side in (
                colours[: rim[0]],
                colours[-rim[0] :],
                colours[rim[0] : -rim[0], : rim[1]],
                colours[rim[0] : -rim[0], -rim[1] :],
            )
        ]
    )
    row["border"] = edge.mean(0)
    row["border_spread"] = edge.mean(1).std()
    return np.frombuffer(row.tobytes(), np.uint8)


def sketches(rows: NDArray[np.uint8]) -> Sketches:
    """Raw rows (N, bytes of a SKETCH) as records (N,)."""
    return np.ascontiguousarray(rows).view(SKETCH)[:, 0]


def format_name(number: int) -> str:
    """The name of a sketch's `format`."""
    return FORMATS[number - 1] if 0 < number <= len(FORMATS) else "another format"


def _format_number(name: str | None) -> int:
    name = {"MPO": "JPEG"}.get(name or "", name or "")
    return FORMATS.index(name) + 1 if name in FORMATS else 0


def _camera(header: Image.Image) -> tuple[int, int]:
    # Cameras write broken EXIF; a picture without a readable one has none.
    try:
        exif = header.getexif()
        if not exif:
            return 0, 0
        name = f"{exif.get(MAKE, '')}|{exif.get(MODEL, '')}".strip("|\0 ")
        taken = exif.get_ifd(EXIF).get(TAKEN) or exif.get(CHANGED) or ""
    except Exception:
        return 0, 0
    number = int.from_bytes(hashlib.sha256(name.encode(errors="replace")).digest()[:4], "little")
    return (number if name else 0), _seconds(str(taken))


def _seconds(text: str) -> int:
    try:
        moment = datetime.strptime(text.strip("\0 ")[:19], "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return 0
    return int((moment - datetime(1970, 1, 1)).total_seconds())
