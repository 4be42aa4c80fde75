"""Datasets known by name: fetched once, checked, and laid out as folders of labeled images."""

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from graft.data.archive import unpack, written_beside
from graft.errors import DataError, UsageError

if TYPE_CHECKING:
    from graft.data.download import Progress

MIRROR = "GRAFT_MIRROR"  # environment: where the archives are, instead of at their publishers


@dataclass(frozen=True)
class Sample:
    """A dataset that has a name.

    `url` is the publisher's archive, `sha256` its digest (None: the publisher gives none), `size`
    its bytes, `archive_name` its file name here and on a mirror. All are empty for a dataset that
    needs no download. `inside` is the folder in the archive with the class folders.
    """

    name: str
    description: str
    license: str
    url: str = ""
    sha256: str | None = None
    size: int | None = None
    archive_name: str = ""
    inside: str = ""


SAMPLES = {
    sample.name: sample
    for sample in (
        Sample(
            name="digits",
            description="1,797 scanned handwritten digits, 8×8 gray, 10 classes; no download",
            license="BSD-3-Clause, as part of scikit-learn",
        ),
        Sample(
            name="rendered_objects",
            description="384 rendered images of objects, 6 classes, 192×192; no download",
            license="Apache-2.0, as part of graft",
            inside="objects",
        ),
        Sample(
            name="flowers",
            description="3,670 photos of flowers, 5 classes; 229 MB",
            license="CC BY, photo by photo: see LICENSE.txt inside",
            url="https://storage.googleapis.com/download.tensorflow.org/example_images/flower_photos.tgz",
            sha256="4c54ace7911aaffe13a365c34f650e71dd5bf1be0a58b464e5a7183e3e595d9c",
            size=228_813_984,
            archive_name="flower_photos.tgz",
            inside="flower_photos",
        ),
        Sample(
            name="cats_vs_dogs",
            description="3,000 photos of cats and dogs, 2 classes, train and validation; 69 MB",
            license="none stated by the publisher",
            url="https://storage.googleapis.com/mledu-datasets/cats_and_dogs_filtered.zip",
            # The publisher gives no SHA-256 and none was found elsewhere: the size is checked, and
            # the digest of the first fetch is kept for the later ones.
            sha256=None,
            size=68_606_236,
            archive_name="cats_and_dogs_filtered.zip",
            inside="cats_and_dogs_filtered",
        ),
        Sample(
            name="cifar10",
            description="60,000 photos, 32×32 color, 10 classes, train and test; 170 MB",
            license="none stated by the publisher; cite Krizhevsky 2009",
            # The binary version, because the Python version is a pickle.
            url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            size=170_052_171,
            archive_name="cifar-10-binary.tar.gz",
            inside="cifar-10-batches-bin",
        ),
    )
}

# Rendered by the code in renderer/; one of the classes is for showing what was never seen.
RENDERED = Path(__file__).with_name("rendered_objects.zip")
UNSEEN = "table_lamp"

CIFAR10_BATCHES = {
    "train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    "test": ("test_batch.bin",),
}
CIFAR10_RECORDS = 10_000  # in each batch file
CIFAR10_CLASSES = 10
CIFAR10_SHAPE = (3, 32, 32)  # of the pixels in a record, after the byte of its label


def materialize(
    name: str,
    root: Path,
    *,
    on_progress: "Progress | None" = None,
    url: str | None = None,
) -> Path:
    """Lay out the dataset `name` under the cache folder `root`, once, and return its folder.

    The folder holds class folders, or split folders (train, test, validation) with class folders.
    `url`, or else the archive's name below $GRAFT_MIRROR, replaces the publisher's address; the
    checksum stays the same. `on_progress` gets the bytes
    fetched so far and the bytes in all.

    Raises:
        UsageError: no dataset has this name.
        DownloadError: the archive could not be fetched whole.
        DataError: the archive is broken or not laid out as published; `root` cannot be written.

    """
    if name not in SAMPLES:
        close = difflib.get_close_matches(name, SAMPLES, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise UsageError(f"expected one of the datasets {', '.join(SAMPLES)}, got {name!r}{hint}")
    sample = SAMPLES[name]
    folder = root / name
    if not folder.is_dir():
        if name == "digits":
            _make_digits(folder)
        elif name == "rendered_objects":
            _unpack_rendered(folder)
        elif name == "cifar10":
            archive = _fetch(sample, root, on_progress, url)
            with TemporaryDirectory(prefix=".cifar10-", dir=root) as temporary:
                binary = unpack(archive, Path(temporary, "binary")) / sample.inside
                _make_cifar10(binary, folder)
        else:
            unpack(_fetch(sample, root, on_progress, url), folder)
    images = folder if name == "cifar10" else folder / sample.inside
    if not images.is_dir():
        raise DataError(
            f"expected the folder {sample.inside} in {sample.archive_name}, but {folder} lacks it; "
            "delete both and run the same command again"
        )
    return images


def _fetch(sample: Sample, root: Path, on_progress: "Progress | None", url: str | None) -> Path:
    # Here, so that naming the datasets does not load an HTTP client.
    from graft.data.download import fetch

    mirror = os.environ.get(MIRROR)
    if url is None and mirror:
        url = f"{mirror.rstrip('/')}/{sample.archive_name}"
    return fetch(
        url or sample.url,
        root / sample.archive_name,
        sha256=sample.sha256,
        size=sample.size,
        on_progress=on_progress,
        way_out=f"or set {MIRROR} to a place that has it, or use digits, which needs no download",
    )


def _make_digits(folder: Path) -> None:
    """Write scikit-learn's digits as `folder`/CLASS/INDEX.png."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)  # (1797, 8, 8), from 0..16
    with written_beside(folder) as beside:
        for index, (image, label) in enumerate(zip(pixels, digits.target, strict=True)):
            _write_png(image, beside / str(label) / f"{index:04d}.png")


def _unpack_rendered(folder: Path) -> None:
    """Write the embedded images as `folder`/objects/CLASS/INDEX.webp, and those of the class that
    is never trained on as `folder`/unseen/CLASS/INDEX.webp.
    """
    with written_beside(folder) as beside, ZipFile(RENDERED) as images:
        for name in images.namelist():
            kind = "unseen" if name.startswith(f"{UNSEEN}/") else "objects"
            file = beside / kind / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(images.read(name))


def _make_cifar10(binary: Path, folder: Path) -> None:
    """Write the records of the batch files in `binary` as `folder`/SPLIT/CLASS/INDEX.png.

    INDEX is the position of the record in its split, as published.
    """
    names = _cifar10_names(binary / "batches.meta.txt")
    with written_beside(folder) as beside:
        for split, batches in CIFAR10_BATCHES.items():
            for number, batch in enumerate(batches):
                labels, pixels = _cifar10_records(binary / batch)
                for position, (label, image) in enumerate(zip(labels, pixels, strict=True)):
                    index = number * CIFAR10_RECORDS + position
                    _write_png(image, beside / split / names[label] / f"{index:05d}.png")


def _cifar10_names(meta: Path) -> list[str]:
    """The class names, one a line. Raises DataError when they cannot be folder names."""
    _expect_file(meta)
    names = meta.read_text(encoding="utf-8", errors="replace").split()
    if len(set(names)) != CIFAR10_CLASSES or not all(name.isidentifier() for name in names):
        raise DataError(
            f"expected {CIFAR10_CLASSES} different class names in {meta.name}, got {names}; "
            "delete the archive and run the same command again"
        )
    return names


def _cifar10_records(batch: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The labels (N,) and pixels (N, 32, 32, 3) of a batch file, both uint8."""
    _expect_file(batch)
    channels, height, width = CIFAR10_SHAPE
    record = 1 + channels * height * width
    data = np.fromfile(batch, dtype=np.uint8)
    if len(data) != CIFAR10_RECORDS * record:
        raise DataError(
            f"expected {CIFAR10_RECORDS:,} records of {record:,} bytes in {batch.name}, "
            f"got {len(data):,} bytes; delete the archive and run the same command again"
        )
    data = data.reshape(CIFAR10_RECORDS, record)
    labels = data[:, 0]  # (N,)
    if labels.max() >= CIFAR10_CLASSES:
        raise DataError(
            f"expected labels 0 to {CIFAR10_CLASSES - 1} in {batch.name}, got {labels.max()}; "
            "delete the archive and run the same command again"
        )
    pixels = data[:, 1:].reshape(-1, *CIFAR10_SHAPE).transpose(0, 2, 3, 1)  # (N, 32, 32, 3)
    return labels, pixels


def _expect_file(file: Path) -> None:
    if not file.is_file():
        raise DataError(
            f"expected {file.name} in the archive of cifar10, but it is missing; "
            "delete the archive and run the same command again"
        )


def _write_png(pixels: NDArray[np.uint8], file: Path) -> None:
    """Write (H, W) gray or (H, W, 3) color `pixels`, for speed rather than for size."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file, compress_level=1)
