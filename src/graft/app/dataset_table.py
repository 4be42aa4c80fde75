"""dataset.csv of a project: what training and all other verbs see."""

import os
from collections.abc import Sequence
from pathlib import Path

from graft.app.decided_images import ProjectImage
from graft.errors import DataError
from graft.utils.csv_table import write_table

COLUMNS = ("image", "label", "split", "group")


def write_dataset_table(
    folder: Path, images: Sequence[ProjectImage], name: str = "dataset.csv"
) -> Path:
    """Write the table into a folder of the project and return its path; paths are relative to
    it, so that both folders may move together.

    Raises DataError where no image has a class.
    """
    rows = [
        (os.path.relpath(image.file, folder), image.label, image.split, image.group)
        for image in images
        if image.label and not image.kept_out
    ]
    if not rows:
        raise DataError("no image has a class yet; put some into classes first")
    # A column without anything in it would say that there are splits or groups.
    kept = [i for i in range(len(COLUMNS)) if i < 2 or any(row[i] for row in rows)]
    table = folder / name
    write_table(table, [COLUMNS[i] for i in kept], [[row[i] for i in kept] for row in rows])
    return table
