"""What single images look like: blank, dark, blurred, tiny, elongated, wrongly named."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import MATTERS, NOTE, Example, Finding
from graft.data.fingerprint import Fingerprints, format_name

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
    "JPEG2000": {"jp2", "j2k", "jpc", "jpf", "jpx"},
    "TGA": {"tga"},
}
_KNOWN = set().union(*_EXTENSIONS.values())


def look_findings(examples: Sequence[Example], fingerprints: Fingerprints) -> list[Finding]:
    """The findings of these images, (N,) fingerprints in the same order."""
    width, height = fingerprints["width"], fingerprints["height"]
    short, long = np.minimum(width, height), np.maximum(width, height)
    blank = fingerprints["spread"] < BLANK
    dark = (fingerprints["mean"] @ np.array([0.299, 0.587, 0.114]) < DARK) & ~blank
    dark &= fingerprints["spread"] < DARK_SPREAD
    detail = fingerprints["sharpness"] * np.maximum(fingerprints["spread"] ** 2, 1.0)
    blurred = (fingerprints["sharpness"] < BLURRED) | (detail < NO_DETAIL)
    blurred &= ~blank & ~dark & (short >= TINY)
    findings: list[Finding] = []

    def tell(kind: str, severity: str, where: NDArray[np.bool_], say: Callable[[int], str]) -> None:
        rows = np.flatnonzero(where)
        if len(rows):
            paths = tuple(examples[i].path for i in rows.tolist())
            findings.append(Finding(kind, severity, paths, say(len(rows))))

    tell(
        "blank",
        MATTERS,
        blank,
        lambda n: (
            f"{images(n)} of one color all over: nothing can be learned from "
            f"{them(n)}, and whatever is answered for {them(n)} is a guess; take {them(n)} out"
        ),
    )
    tell(
        "dark",
        MATTERS,
        dark,
        lambda n: (
            f"{images(n)} nearly black: what is learned from {them(n)} is noise; brighten "
            f"{them(n)} or take {them(n)} out"
        ),
    )
    tell(
        "blurred",
        NOTE,
        blurred,
        lambda n: (
            f"{images(n)} without a sharp edge: detail that tells classes apart is lost; "
            "keep them only if the images to be classified are blurred, too"
        ),
    )
    tell(
        "tiny",
        NOTE,
        short < TINY,
        lambda n: (
            f"{images(n)} with fewer than {TINY} pixels a side: enlarged they show little; "
            "look for the originals"
        ),
    )
    tell(
        "elongated",
        NOTE,
        long > LONG * short,
        lambda n: (
            f"{images(n)} more than {LONG:g} times as long as wide: the network sees the "
            "middle square alone; crop them to what they show, or train with --resize squash"
        ),
    )
    formats = fingerprints["format"].tolist()
    wrong = np.array([_misnamed(e.file, s) for e, s in zip(examples, formats, strict=True)], bool)
    tell(
        "wrong_extension",
        NOTE,
        wrong,
        lambda n: (
            f"{images(n)} whose name says another format than the bytes (the first is "
            f"{format_name(formats[int(wrong.argmax())])}): graft reads {them(n)} by the "
            "bytes, other programs may not; rename"
        ),
    )
    return findings


def images(count: int) -> str:
    """The count with its noun."""
    return "1 image" if count == 1 else f"{count:,} images"


def some(names: Sequence[str]) -> str:
    """The first three of these names, and how many more there are."""
    shown = [repr(name) for name in names[:3]]
    if len(names) > 3:
        shown.append(f"{len(names) - 3:,} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def them(count: int) -> str:
    """The pronoun of as many."""
    return "it" if count == 1 else "them"


def _misnamed(file: Path, number: int) -> bool:
    ending = file.suffix.lower().lstrip(".")
    return number > 0 and ending in _KNOWN and ending not in _EXTENSIONS[format_name(number)]
