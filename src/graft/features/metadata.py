"""What images have in common besides their class: size, light, camera, date, group, columns."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from graft.data.fingerprint import Fingerprints, camera_name, format_name
from graft.data.image_file import open_image, read_bytes
from graft.features.table import FeatureTable

Numbers = dict[str, NDArray[np.float64]]
Names = dict[str, list[str | None]]


def metadata_of(table: FeatureTable, rows: NDArray[np.int64]) -> tuple[Numbers, Names]:
    """Quantities (n,), NaN where one is not known, and names (n), None where there is none, of the
    images in these rows: what they look like, their group, camera, file type, the hour and date
    they were taken, and the columns of the user's table.
    """
    examples = [table.dataset.examples[i] for i in rows]
    seen = table.fingerprints(rows)
    taken = np.where(seen["taken"] == 0, np.nan, seen["taken"].astype(np.float64))
    numbers = {
        "size": np.sqrt(seen["width"].astype(np.float64) * seen["height"]),
        "brightness": seen["mean"].mean(1).astype(np.float64),
        "contrast": seen["spread"].astype(np.float64),
        "sharpness": seen["sharpness"].astype(np.float64),
        "date": taken,
        "hour of the day": taken % 86_400,
    }
    names: Names = {
        "group": [example.group for example in examples],
        "camera": _cameras(seen, [example.file for example in examples], table.cameras),
        "file type": [format_name(number) for number in seen["format"].tolist()],
    }
    for column in sorted({name for example in examples for name in example.columns or ()}):
        names[column] = [(example.columns or {}).get(column) or None for example in examples]
    return numbers, names


def _cameras(
    seen: Fingerprints, files: Sequence[Path], told: Mapping[int, str] | None
) -> list[str | None]:
    # A fingerprint holds a number for each camera; one image of each tells the name.
    known: dict[int, str | None] = {0: None} | dict(told or {})
    for number, file in zip(seen["camera"].tolist(), files, strict=True):
        if number not in known:
            known[number] = camera_of(file) if told is None else None
    return [known[number] for number in seen["camera"].tolist()]


def camera_of(file: Path) -> str | None:
    """The name of the camera that took an image, if its file says so."""
    with open_image(read_bytes(file)) as header:
        return camera_name(header) or None
