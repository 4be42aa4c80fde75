"""The state of a project on disk: its source, its own folder, its images as they were decided."""

import os
from collections import Counter
from functools import cached_property
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Any, Self

from graft.app import added_images
from graft.app.decided_images import ProjectImage, decide
from graft.app.empty_classes import read_classes
from graft.app.image_index import ImageIndex
from graft.app.project_folder import home_of, taken
from graft.app.source_files import listed
from graft.data.remote_address import is_remote, public_address
from graft.data.sources import load_dataset
from graft.errors import UsageError
from graft.quality.corrections import read_journal
from graft.utils.cache_folder import sources_folder


class ProjectState:
    """What a project is; Project says what can be done with it."""

    def __init__(
        self,
        source: str | Path | None = None,
        home: str | Path | None = None,
        address: str = "Python",
    ) -> None:
        self.address = address  # told to a second user
        self.lock = RLock()
        self.review_settings: dict[str, Any] = {}  # of a run, for step 2 alone (graft review RUN)
        self._changes = 0
        self._given_home = Path(home) if home else None
        self._source: str | None = None
        self._home = Path()
        self._descriptor: int | None = None
        self._seen: tuple[object, list[ProjectImage]] | None = None
        if source is not None:
            self.choose(source)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def choose(self, source: str | Path) -> None:
        """Open this source instead of the one before, whose runs go on."""
        if is_remote(source):
            raise UsageError(
                f"{public_address(source)}: the page takes a folder or a table of this machine"
            )
        load_dataset(source, sources_folder())  # before anything is made or left
        home = self._given_home or home_of(source)
        with self.lock:
            if self._source is not None and home == self._home:
                self.read_again()
                return
            descriptor = taken(home, str(source), self.address)
            self.close()
            self._descriptor, self._source, self._home = descriptor, str(source), home
            for folder in (self.added, self.runs, self.thumbnails):
                folder.mkdir(exist_ok=True)
            self.__dict__.pop("index", None)
            self._seen = None
            self.read_again()

    def close(self) -> None:
        """Give the project folder free for others."""
        with self.lock:
            if self._descriptor is not None:
                self.index.stop()
                os.close(self._descriptor)
            self._descriptor = self._source = None

    @property
    def is_open(self) -> bool:
        """Whether a source was chosen."""
        return self._source is not None

    @property
    def source(self) -> str:
        """The source as it was given."""
        self._check_open()
        return self._source or ""

    @property
    def name(self) -> str:
        """The last name of the source."""
        return Path(self.source).absolute().name

    @property
    def home(self) -> Path:
        """The project folder."""
        self._check_open()
        return self._home

    @property
    def journal(self) -> Path:
        """The table of decisions; see graft.quality.corrections."""
        return self.home / "decisions.csv"

    @property
    def added(self) -> Path:
        """The folder of images that were dropped or recorded, by class."""
        return self.home / "added"

    @property
    def runs(self) -> Path:
        """The folder of run folders."""
        return self.home / "runs"

    @property
    def thumbnails(self) -> Path:
        """The folder of thumbnails."""
        return self.home / "thumbnails"

    @cached_property
    def index(self) -> ImageIndex:
        """The files with their digests."""
        return ImageIndex(self.home / "digests.csv")

    def read_again(self) -> None:
        """List the files anew; their digests are read in a thread."""
        with self.lock:
            self.index.begin([*listed(self.source), *added_images.added(self.added)])
            self.changed()

    def changed(self) -> None:
        """Let the pages know that something is new, such as a run."""
        with self.lock:
            self._changes += 1

    @property
    def revision(self) -> str:
        """Another text after every change that a page may have to show."""
        size, moment = _stamp(self.journal) if self.is_open else (0, 0)
        read = self.index.revision if self.is_open else 0
        return f"{self._changes}-{read}-{size}-{moment}"

    def images(self) -> list[ProjectImage]:
        """The images in view whose digests are read, in the order of the listing."""
        with self.lock:
            state = (self.index.revision, _stamp(self.journal))
            if self._seen is None or self._seen[0] != state:
                files, standing = list(self.index.files), read_journal(self.journal).standing
                self._seen = state, decide(files, standing)
            return self._seen[1]

    def counts(self) -> dict[str, int]:
        """The classes, sorted, with their images; images without a class are counted under ""."""
        counted = Counter(image.label for image in self.images())
        names = sorted({*counted, *read_classes(self.home)} - {""})
        return {name: counted[name] for name in names} | ({"": counted[""]} if counted[""] else {})

    def image(self, sha256: str) -> ProjectImage | None:
        """An image in view with this digest."""
        return next((image for image in self.images() if image.sha256 == sha256), None)

    def file_of(self, sha256: str) -> Path | None:
        """Where the bytes with this digest are, in view or not."""
        found = self.index.by_digest.get(sha256)
        return found.file if found else None

    def _check_open(self) -> None:
        if self._source is None:
            raise UsageError("no folder of images is open; choose one first")


def _stamp(journal: Path) -> tuple[int, int]:
    try:
        status = journal.stat()
    except FileNotFoundError:
        return 0, 0
    return status.st_size, status.st_mtime_ns
