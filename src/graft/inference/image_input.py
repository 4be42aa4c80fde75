"""One image or many, in whatever form they come, as the pixels that a network is fed."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from graft.data.decode import (
    Pixels,
    Preprocess,
    UnusableImageError,
    center_view,
    decode,
    read_bytes,
    resized_shorter_side,
    upright_rgb,
)
from graft.data.reader import SMALL, cores
from graft.data.sources import IMAGE_SUFFIXES, find_images
from graft.errors import DataError, UsageError

# A path, an encoded image, an open file of one, a Pillow image, or pixels.
OneImage = str | os.PathLike[str] | bytes | BinaryIO | Image.Image | NDArray[Any] | Tensor

ENCODED = bytes | bytearray | memoryview
# Encoded images that are decoded ahead of the one awaited.
AHEAD = 32

EXPECTED = (
    "expected a path, the bytes or an open file of an image, a Pillow image, or pixels: "
    "(H, W, 3) RGB, (H, W, 4) RGBA or (H, W) gray, whole numbers of 0..255"
)


def path_of(image: object) -> str:
    """The path of an image that is given by its path, else ""."""
    return os.fspath(image) if isinstance(image, str | os.PathLike) else ""


def is_one(images: object) -> TypeGuard[OneImage]:
    """Whether this is one image and not several; nested lists of numbers are pixels."""
    if isinstance(images, str | os.PathLike | Image.Image | ENCODED) or hasattr(images, "read"):
        return True
    if isinstance(images, list | tuple):
        return _depth(images) in (2, 3)
    return getattr(images, "ndim", 0) in (2, 3)


def each_image(images: Any) -> Iterable[OneImage]:
    """The images of a folder (all below it, sorted), of (N, H, W, 3), (N, H, W, 4) or (N, H, W)
    pixels, of a list or of an iterator, which is read as it is needed.

    Raises UsageError for what is one image, or none; DataError for a folder without images.
    """
    if isinstance(images, str | os.PathLike):
        return images_below([images])
    if isinstance(images, np.ndarray | Tensor):
        pixels = not isinstance(images, np.ndarray) or images.dtype.kind not in "OUST"
        grays = images.ndim == 3 and images.shape[2] not in (1, 3, 4)
        if pixels and images.ndim != 4 and not grays:
            raise UsageError(
                f"expected several images: (N, H, W, 3) pixels, got {_described(images)}; "
                "predict(IMAGE) takes one"
            )
        return images
    if is_one(images) or not isinstance(images, Iterable):
        raise UsageError(
            "expected several images: a list or another iterable of them, a folder, or "
            f"(N, H, W, 3) pixels, got {_described(images)}; predict(IMAGE) takes one"
        )
    return images


def images_below(paths: Iterable[str | os.PathLike[str]]) -> Iterator[Path]:
    """Files as they are and, of folders, every image file below; as they are needed.

    Raises UsageError at once for a path that does not exist, and DataError for a folder without
    images when its turn comes.
    """
    places = [Path(path) for path in paths]
    for place in places:
        if not place.exists():
            raise UsageError(f"{place}: no such file or folder")

    def found() -> Iterator[Path]:
        for place in places:
            count = 0
            for count, file in enumerate(find_images(place), 1):  # noqa: B007
                yield file
            if not count:
                raise DataError(
                    f"{place}: no image in this folder; expected files whose names end in "
                    f"{', '.join(sorted(IMAGE_SUFFIXES))}"
                )

    return found()


def upright_image(image: Any, shorter_side: int | None = None) -> Image.Image:
    """An image in any form as upright 8-bit RGB; `shorter_side` as in `decode`.

    The EXIF tag of a file, of bytes and of a Pillow image is heeded; pixels have none.

    Raises UnusableImageError for an image that cannot be used, UsageError for what is none.
    """
    if isinstance(image, str | os.PathLike):
        path = Path(image)
        if path.is_dir():
            raise UnusableImageError(
                "unreadable", "is a folder; predict_batch(FOLDER) takes all images in it"
            )
        return decode(read_bytes(path), shorter_side)
    image = _read(image)
    if isinstance(image, ENCODED):
        if not len(image):
            raise UnusableImageError("empty", "has no bytes in it")
        return decode(bytes(image), shorter_side)
    if isinstance(image, Image.Image):
        # Pillow itself converts these to their siblings only.
        siblings = {"La": "LA", "RGBa": "RGBA"}
        return upright_rgb(image.convert(siblings[image.mode]) if image.mode in siblings else image)
    return _to_rgb(_array(image))


def network_pixels(
    image: Any, preprocess: Preprocess, name: str = "an image in memory", whole: bool = False
) -> Pixels:
    """The (height, width, 3) uint8 pixels that a network is fed for an image; `whole`: of a JPEG
    decoded at its full size.

    Raises UsageError for an image that cannot be used, by its path or else by `name`.
    """
    try:
        side = None if whole else resized_shorter_side(preprocess)
        return center_view(upright_image(image, side), preprocess)
    except UnusableImageError as problem:
        raise UsageError(f"{path_of(image) or name} {problem}") from problem


def whole_pixels(image: Any, pixels: Pixels, preprocess: Preprocess) -> Pixels:
    """What the network is fed for an image decoded at its full size, given its `pixels`."""
    if isinstance(image, str | os.PathLike | ENCODED):
        return network_pixels(image, preprocess, whole=True)
    return pixels


def each_network_pixels(
    images: Iterable[Any], preprocess: Preprocess, least: int
) -> Iterator[tuple[Any, Pixels]]:
    """Each image, an open file as its bytes, with its `network_pixels`, in order; there are at
    least `least`. Files and bytes are decoded on all cores, unless there is only one.

    A bounded number is held: AHEAD encoded images, and one of the others.
    """
    if least <= 1:
        yield from ((image, network_pixels(image, preprocess)) for image in map(_read, images))
        return
    rest = enumerate(map(_read, images), 1)
    with ThreadPoolExecutor(cores(), thread_name_prefix="graft-decode") as pool:

        def begun(number: int, image: Any) -> tuple[Any, Callable[[], Pixels]]:
            work = partial(network_pixels, image, preprocess, f"image {number} in memory")
            # A Pillow image may still be a file that is not read, which one thread only may do.
            if not isinstance(image, str | os.PathLike | ENCODED):
                pixels = work()
                return image, lambda: pixels
            return image, work if _small(image) else pool.submit(work).result

        window = deque(begun(*item) for item in islice(rest, AHEAD))
        try:
            while window:
                image, pixels = window.popleft()
                yield image, pixels()
                window.extend(begun(*item) for item in islice(rest, 1))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _read(image: Any) -> Any:
    """An open file's bytes; any other image as it is."""
    if isinstance(image, Image.Image) or not hasattr(image, "read"):
        return image
    data = image.read()
    if not isinstance(data, bytes):
        raise UsageError(f"{EXPECTED}; got a file that is open for text, open it with 'rb'")
    return data


def _small(image: Any) -> bool:
    """Whether handing it to another thread takes longer than decoding it here (see reader)."""
    if isinstance(image, ENCODED):
        return len(image) < SMALL
    try:
        return Path(image).stat().st_size < SMALL
    except OSError:
        return True  # decoding says what is wrong with it


def _depth(nested: Any) -> int:
    """How many lists lie in one another down to the first number; 0 if there is none."""
    depth = 0
    while isinstance(nested, list | tuple) and nested:
        nested, depth = nested[0], depth + 1
    return depth if isinstance(nested, int | float | np.number | np.bool_) else 0


def _array(image: Any) -> NDArray[Any]:
    if isinstance(image, Tensor):
        image = image.numpy(force=True)
    if isinstance(image, list | tuple):
        try:
            image = np.asarray(image) if _depth(image) else image
        except ValueError as error:
            raise UsageError(f"{EXPECTED}; got lists of unequal lengths") from error
    if not isinstance(image, np.ndarray):
        raise UsageError(f"{EXPECTED}; got {_described(image)}")
    return image


def _to_rgb(array: NDArray[Any]) -> Image.Image:
    shape = array.shape
    if array.ndim == 3 and shape[0] in (1, 3, 4) and shape[2] not in (1, 3, 4):
        raise UsageError(
            f"{EXPECTED}; got {_described(array)}, channels first: move them last, with "
            "array.transpose(1, 2, 0) or tensor.permute(1, 2, 0)"
        )
    if not array.size or not (array.ndim == 2 or (array.ndim == 3 and shape[2] in (1, 3, 4))):
        raise UsageError(f"{EXPECTED}; got {_described(array)}")
    if array.dtype.kind == "f":
        raise UsageError(
            f"{EXPECTED}; got {_described(array)}: fractions have no agreed range, if theirs is "
            "0..1 give (255 * array).round().astype('uint8')"
        )
    if array.dtype.kind not in "uib":
        raise UsageError(f"{EXPECTED}; got {_described(array)}")
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif array.dtype == np.uint16:  # as in a file of 16 bits
        array = np.round(array / 257).astype(np.uint8)
    elif array.min() < 0 or array.max() > 255:
        raise UsageError(
            f"{EXPECTED}; got {_described(array)} with values of {array.min()}..{array.max()}"
        )
    if array.ndim == 3 and shape[2] == 1:
        array = array[..., 0]
    return upright_rgb(Image.fromarray(np.ascontiguousarray(array, np.uint8)))


def _described(came: Any) -> str:
    if isinstance(came, np.ndarray | Tensor):
        return f"{tuple(came.shape)} {came.dtype}"
    return type(came).__name__
