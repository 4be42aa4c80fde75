"""File bytes to RGB pixels, the same way for check, train, evaluate and predict."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from graft.choices import RESIZES
from graft.data.image_file import (
    FORMATS,
    PIXELS,
    UnusableImageError,
    check_size,
    open_image,
    read_bytes,
)

__all__ = [
    "FORMATS",
    "OVERSAMPLING",
    "Pixels",
    "Preprocess",
    "UnusableImageError",
    "center_view",
    "decode",
    "decoded",
    "read_bytes",
    "resampled",
    "resized_shorter_side",
    "upright_rgb",
]

Pixels = NDArray[np.uint8]  # (H, W, 3), RGB

# Scaled JPEG decoding stops at this many times the size needed, so that the resampling that
# follows still averages over several decoded pixels (measured in tests/data/test_augmentation.py).
OVERSAMPLING = 2

# Pixels that are converted to RGB at one time.
STRIP = 2**22

# An image this many times longer than wide is resampled only where the center crop lies.
ELONGATED = 32

_RESAMPLE = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True, slots=True)
class Preprocess:
    """The input that a network expects, from the config of its weights and saved with the model.

    `height`, `width`: input size in pixels. `resize`: crop keeps the aspect ratio, so a long image
    loses its ends to the center crop; squash brings all of it to the input's shape. `crop`: the
    fraction of the resized image that the center crop keeps, in (0, 1]. `interpolation`: a key of
    Pillow's filters. `mean`, `std`: per channel, for pixels scaled to 0..1.
    """

    height: int
    width: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bicubic"
    crop: float = 1.0
    resize: str = "crop"

    def __post_init__(self) -> None:
        if self.interpolation not in _RESAMPLE:
            raise ValueError(
                f"interpolation is one of {', '.join(_RESAMPLE)}, not {self.interpolation!r}"
            )
        if self.resize not in RESIZES:
            raise ValueError(f"resize is one of {', '.join(RESIZES)}, not {self.resize!r}")
        if not (0 < self.crop <= 1 and self.height > 0 and self.width > 0):
            raise ValueError(f"crop lies in (0, 1] and the size is positive, not {self}")

    @property
    def resample(self) -> Image.Resampling:
        """Pillow's filter of that name."""
        return _RESAMPLE[self.interpolation]

    def to_json(self) -> dict[str, Any]:
        """As stored in model.json."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "Preprocess":
        """The inverse of to_json."""
        return cls(**stored | {"mean": tuple(stored["mean"]), "std": tuple(stored["std"])})


def decode(data: bytes, shorter_side: int | None = None) -> Image.Image:
    """Decode an encoded image to upright 8-bit RGB.

    `shorter_side`: the size that will be needed of the shorter side; JPEGs far larger than that
    are decoded at 1/2, 1/4 or 1/8 of their size, never below OVERSAMPLING times what is needed.
    Animated images give their first frame. Transparency is laid over white.

    Raises UnusableImageError with kind "oversized", "truncated" or "unreadable".
    """
    with decoded(data, shorter_side) as image:
        return image


@contextmanager
def decoded(data: bytes, shorter_side: int | None = None) -> Iterator[Image.Image]:
    """As `decode`; while the block runs, other threads wait with what would not fit beside it."""
    with ExitStack() as held:
        with _named_problems():
            # A call of its own, so that what came before the upright image is freed; and no name
            # for it here, so that the block alone says how long it lives.
            upright = [_decoded(data, shorter_side, held)]
        yield upright.pop()


def _decoded(data: bytes, shorter_side: int | None, held: ExitStack) -> Image.Image:
    scaled = None
    image = open_image(data)
    if shorter_side is not None and image.format == "JPEG":
        needed = shorter_side * OVERSAMPLING
        drafted = image.draft(None, (needed, needed))
        scaled = drafted[1] if drafted else None  # (0, 0, width, height), not whole numbers
    held.enter_context(PIXELS.taken(image.width * image.height))
    image.load()
    rgb = _to_rgb(image)
    if scaled is not None and scaled[2:] != rgb.size:
        # 2,269 rows at a quarter are 567.25, and the decoder gives 568: without this the
        # image would be shrunk by a fraction of a pixel more than one decoded whole.
        size = (max(1, round(scaled[2])), max(1, round(scaled[3])))
        rgb = rgb.resize(size, Image.Resampling.LANCZOS, box=scaled)
    # The tag is read off the file's own image: conversions drop it.
    return _upright(rgb, image)


def upright_rgb(image: Image.Image) -> Image.Image:
    """A Pillow image as `decode` gives that of a file: upright by its EXIF tag, 8-bit RGB over
    white, its first frame if it is animated. The image itself is left as it was.

    Raises UnusableImageError as `decode`.
    """
    with _named_problems():
        check_size(image)
        image.load()
        return _upright(_to_rgb(image), image)


@contextmanager
def _named_problems() -> Iterator[None]:
    try:
        yield
    except UnusableImageError:
        raise
    # The warning comes as an exception where a program makes errors of warnings.
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnusableImageError("oversized", str(error)) from error
    except UnidentifiedImageError as error:  # its own words name an address in memory
        raise UnusableImageError(
            "unreadable",
            "cannot be decoded: its bytes are no image format that Pillow knows",
        ) from error
    # Pillow's readers raise many types on hostile bytes (SyntaxError, struct.error, KeyError…);
    # whichever it is, the image is named and left out.
    except Exception as error:
        reason = str(error) or type(error).__name__
        truncated = "truncated" in reason.lower() or "not processed" in reason.lower()
        raise UnusableImageError(
            "truncated" if truncated else "unreadable", f"cannot be decoded: {reason}"
        ) from error


def _upright(rgb: Image.Image, original: Image.Image) -> Image.Image:
    if original.getexif().get(0x0112, 1) == 1:
        return rgb
    if rgb is original:  # the caller's own
        rgb = original.copy()
    if "exif" not in rgb.info and "exif" in original.info:
        rgb.info["exif"] = original.info["exif"]
    rgb.getexif()[0x0112] = original.getexif()[0x0112]
    return ImageOps.exif_transpose(rgb)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.width * image.height <= STRIP:
        return _converted(image)
    # In strips, because a conversion takes up to 32 bytes a pixel in between.
    rgb, rows = Image.new("RGB", image.size), max(1, STRIP // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        rgb.paste(_converted(strip), (0, top))
    return rgb


def _converted(image: Image.Image) -> Image.Image:
    mode = image.mode
    if mode.startswith("I;16") or mode == "I":
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise UnusableImageError(
                "unreadable", "has 32-bit integer pixels beyond 0..65535, save it with 8 or 16 bits"
            )
        # 16 bits scaled to 8, not clipped: 65535 / 257 = 255.
        return Image.fromarray(np.round(values / 257).astype(np.uint8)).convert("RGB")
    if mode == "F":
        raise UnusableImageError(
            "unreadable", "has floating-point pixels of no agreed range, save it with 8 or 16 bits"
        )
    if mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


def resized_shorter_side(preprocess: Preprocess) -> int:
    """The length that the shorter side is resized to before the center crop."""
    return int(max(preprocess.height, preprocess.width) / preprocess.crop)


def center_view(image: Image.Image, preprocess: Preprocess) -> Pixels:
    """View 0: resize the shorter side (squash: both), then crop the center; (height, width, 3)
    uint8.

    The very pixels of torchvision's Resize + CenterCrop on a Pillow image (what timm evaluates
    with). Resampling only what is kept would save a third of the time, but the
    size of the whole decides whether Pillow takes rows or columns first, and it rounds in between.
    """
    width, height = image.size
    side = resized_shorter_side(preprocess)
    if preprocess.resize == "squash":
        new_width = int(preprocess.width / preprocess.crop)
        new_height = int(preprocess.height / preprocess.crop)
    elif width <= height:
        new_width, new_height = side, max(side, int(side * height / width))
    else:
        new_width, new_height = max(side, int(side * width / height)), side
    left = round((new_width - preprocess.width) / 2)
    top = round((new_height - preprocess.height) / 2)
    right, bottom = left + preprocess.width, top + preprocess.height
    if max(new_width, new_height) <= ELONGATED * side:
        resized = image.resize((new_width, new_height), preprocess.resample)
        return np.asarray(resized.crop((left, top, right, bottom)))
    scale_x, scale_y = width / new_width, height / new_height
    box = (left * scale_x, top * scale_y, right * scale_x, bottom * scale_y)
    return resampled(image, preprocess, box)


def resampled(
    image: Image.Image, preprocess: Preprocess, box: tuple[float, float, float, float]
) -> Pixels:
    """The box (left, top, right, bottom, in pixels) at the network's input size."""
    # Rounding may put the box a hair outside the image, which Pillow refuses.
    left, top, right, bottom = box
    inside = (max(left, 0.0), max(top, 0.0), min(right, image.width), min(bottom, image.height))
    size = (preprocess.width, preprocess.height)
    return np.asarray(image.resize(size, preprocess.resample, box=inside))
