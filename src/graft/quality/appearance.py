"""Findings on how single images look: blank, dark, blurred, tiny, elongated, wrongly named."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import Example
from graft.data.fingerprint import Fingerprints, format_name
from graft.quality.finding import Finding, images, them

# Below this spread of luminance (0..255) an image shows nothing.
BLANK = 4.0
# Below this mean luminance it is as good as black.
DARK = 12.0
# A black image with more spread than this shows something, such as a lamp at night.
DARK_SPREAD = 15.0
# Below this sharpness (FINGERPRINT) it is blurred: of 2,227 photos none lies below 0.028, and of
# copies blurred until no edge is left (a radius of a twenty-eighth of a side) four of five do.
BLURRED = 0.012
# A mean square of the Laplacian (gray levels squared) below this is JPEG's own rounding, blurred
# whatever the contrast: of 607 photos none lies below 123, of their blurred copies 99.7 % do.
NO_DETAIL = 8.0
TINY = 32  # pixels of the shorter side
LONG = 3.0  # times as long as wide

_EXTENSIONS = {
    "JPEG": {"jpg", "jpeg", "jpe", "jfif", "jif", "mpo"},
    "PNG": {"png", "apng"},
    "GIF": {"gif"},
    "BMP": {"bmp", "dib"},
    "DIB": {"bmp", "dib"},
    "WEBP": {"webp"},
    "TIFF": {"tif", "tiff"},
    "PPM": {"ppm", "pgm", "pbm", "pnm", "pfm"},
    "AVIF": {"avif"},
    "HEIF": {"heic", "heif", "hif"},
    "JPEG2000": {"jp2", "j2k", "jpc", "jpf", "jpx"},
    "TGA": {"tga"},
}
_KNOWN = set().union(*_EXTENSIONS.values())


def appearance_findings(examples: Sequence[Example], fingerprints: Fingerprints) -> list[Finding]:
    """The findings of these images, (N,) fingerprints in the same order."""
    findings = []
    for kind, where in _appearance(examples, fingerprints).items():
        rows = np.flatnonzero(where)
        if len(rows):
            first = int(fingerprints["format"][rows[0]])
            paths = tuple(examples[i].path for i in rows.tolist())
            findings.append(Finding(kind, _message(kind, len(rows), first), paths))
    return findings


def _appearance(
    examples: Sequence[Example], fingerprints: Fingerprints
) -> dict[str, NDArray[np.bool_]]:
    """Which images (N,) each kind of finding is about."""
    width, height = fingerprints["width"], fingerprints["height"]
    short, long = np.minimum(width, height), np.maximum(width, height)
    blank = fingerprints["spread"] < BLANK
    dark = (fingerprints["mean"] @ np.array([0.299, 0.587, 0.114]) < DARK) & ~blank
    dark &= fingerprints["spread"] < DARK_SPREAD
    detail = fingerprints["sharpness"] * np.maximum(fingerprints["spread"] ** 2, 1.0)
    blurred = (fingerprints["sharpness"] < BLURRED) | (detail < NO_DETAIL)
    blurred &= ~blank & ~dark & (short >= TINY)
    formats = fingerprints["format"].tolist()
    misnamed = [_misnamed(e.file, n) for e, n in zip(examples, formats, strict=True)]
    return {
        "blank": blank,
        "dark": dark,
        "blurred": blurred,
        "tiny": short < TINY,
        "elongated": long > LONG * short,
        "wrong_extension": np.array(misnamed, bool),
    }


def _message(kind: str, count: int, first_format: int) -> str:
    it, name = them(count), format_name(first_format)
    said = {
        "blank": f"of one color all over; nothing can be learned from {it}; take {it} out",
        "dark": f"nearly black; what is learned from {it} is noise; brighten {it} or take {it} out",
        "blurred": "without a sharp edge; the detail that tells classes apart is lost; "
        f"keep {it} only if the images to be classified are blurred, too",
        "tiny": f"with fewer than {TINY} pixels on the shorter side; enlarged, so few show little; "
        "look for the originals",
        "elongated": f"more than {LONG:g} times as long as wide; the network sees only the middle "
        f"square; crop {it} to the object, or train with --resize squash",
        "wrong_extension": f"with the bytes of another format than the name says (first: {name}); "
        f"graft goes by the bytes, other programs may not; rename {it}",
    }
    return f"{images(count)} {said[kind]}"


def _misnamed(file: Path, number: int) -> bool:
    ending = file.suffix.lower().lstrip(".")
    return number > 0 and ending in _KNOWN and ending not in _EXTENSIONS[format_name(number)]
