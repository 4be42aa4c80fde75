"""The demo's rendered images: where they lie, and which are for what."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from graft.data.named_datasets import materialize
from graft.data.sources import load_dataset
from graft.utils.cache_folder import sources_folder
from graft.utils.csv_table import write_table

NAME = "rendered_objects"
TEST = 30  # images of each class in the test split, the same for every run
SEED = 40


@dataclass(frozen=True)
class RenderedImages:
    """`folder` has a folder for each class; `unseen` the images of a class that is never trained
    on. `order` holds each class's paths below `folder`, the TEST test images first.
    """

    folder: Path
    unseen: tuple[Path, ...]
    order: dict[str, list[str]]

    @property
    def unseen_class(self) -> str:
        """The class that is never trained on."""
        return self.unseen[0].parent.name

    @property
    def most(self) -> int:
        """The images of each class that are not for the test."""
        return min(map(len, self.order.values())) - TEST

    @property
    def test_files(self) -> list[tuple[Path, str]]:
        """Each test image with its class."""
        return [
            (self.folder / path, name)
            for name, paths in self.order.items()
            for path in paths[:TEST]
        ]

    def write_table(self, table: Path, train: int, val: int) -> Path:
        """A table with so many images of each class for training and for validation, and all test
        images. More images always hold the fewer.
        """
        rows: list[tuple[str, str, str]] = []
        for name, paths in self.order.items():
            rows += [(str(self.folder / path), name, "test") for path in paths[:TEST]]
            learned, rest = paths[TEST : TEST + train], paths[len(paths) - val :]
            rows += [(str(self.folder / path), name, "train") for path in learned]
            rows += [(str(self.folder / path), name, "val") for path in rest]
        write_table(table, ["image", "label", "split"], rows)
        return table


def rendered_images() -> RenderedImages:
    """The rendered images that come with graft, unpacked into the cache at the first call."""
    folder = materialize(NAME, sources_folder() / "datasets")
    random = np.random.default_rng(SEED)
    order: dict[str, list[str]] = {}
    for example in load_dataset(folder, sources_folder()).examples:
        order.setdefault(example.label, []).append(example.path)
    for paths in order.values():
        random.shuffle(paths)
    unseen = tuple(sorted((folder.parent / "unseen").glob("*/*")))
    return RenderedImages(folder, unseen, order)
