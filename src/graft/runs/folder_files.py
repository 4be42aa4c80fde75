"""The images of a source that is a folder, looked up by path: millions of them are not listed."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from graft.data.sources import find_images
from graft.runs.records import source_files, source_of


class FolderFiles(Mapping[str, Path]):
    """The image files below `root`, by their path in it. A path that leads out of it is none."""

    def __init__(self, root: Path):
        self.root, self._real = root, os.path.realpath(root)

    def __getitem__(self, path: str) -> Path:
        file = self.root / path
        try:
            inside = os.path.realpath(file).startswith(self._real.rstrip(os.sep) + os.sep)
            if inside and file.is_file():
                return file
        except (OSError, ValueError):  # a name with a zero byte, or one that is too long
            pass
        raise KeyError(path)

    def __iter__(self) -> Iterator[str]:
        for file in find_images(self.root):
            yield file.relative_to(self.root).as_posix()

    def __len__(self) -> int:
        return sum(1 for _ in self)


def folder_of(config: Mapping[str, Any], run: Path) -> Path | None:
    """The folder that a run's source is, or that its table lies in; None for another source."""
    source = Path(source_of(config, run))
    if not source.name:
        return None
    try:
        if source.is_dir():
            return source
        return source.parent if source.suffix in (".csv", ".tsv") and source.is_file() else None
    except (OSError, ValueError):
        return None


def files_of_large(config: Mapping[str, Any], run: Path) -> Mapping[str, Path]:
    """Where the images of the source of a very large run are, by path; empty if it is gone."""
    root = folder_of(config, run)
    return FolderFiles(root) if root else source_files(config, run)
