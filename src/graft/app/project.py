"""A project: a source of images, which is never written to, and what was decided about it."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from threading import RLock
from types import TracebackType

from graft.app import added_images
from graft.app.decided_images import DecidedImages, ProjectImage, decide
from graft.app.image_index import ImageIndex
from graft.app.project_folder import home_of, taken
from graft.app.source_files import listed
from graft.data.sources import load_dataset
from graft.errors import DataError, UsageError
from graft.quality import corrections
from graft.quality.corrections import Decision
from graft.utils.cache_folder import sources_folder
from graft.utils.csv_table import write_table

TABLE_COLUMNS = ("image", "label", "split", "group")


class Project:
    """The images of a folder (or table, archive, named data set), with the decisions about them.

    with graft.Project("photos/") as project:
        project.move(["rose/17.jpg"], "tulip")
        graft.train(project.write_table())

    Everything that changes is in the project folder, `home`, by default FOLDER-graft beside the
    folder: the journal of decisions, images that were added, runs, thumbnails. While it is open the
    project is locked. Without a `source` it is opened by `choose`.

    Raises UsageError for a source that does not exist, a project folder that graft did not make or
    that is open elsewhere; DataError for a source that cannot be listed.
    """

    def __init__(
        self,
        source: str | Path | None = None,
        home: str | Path | None = None,
        address: str = "Python",
    ) -> None:
        self.address = address  # told to a second user
        self.lock = RLock()
        self.revision = 0  # grows with every change that a page may have to show
        self._given_home = Path(home) if home else None
        self._source: str | None = None
        self._home = Path()
        self._descriptor: int | None = None
        self._seen: tuple[object, DecidedImages] | None = None
        if source is not None:
            self.choose(source)

    def __enter__(self) -> "Project":
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
            self.revision += 1

    def decided(self) -> DecidedImages:
        """The images whose digests are read, and the classes, after all decisions."""
        with self.lock:
            state = (self.index.revision, _stamp(self.journal))
            if self._seen is None or self._seen[0] != state:
                files = list(self.index.files)
                self._seen = state, decide(files, corrections.read_journal(self.journal))
            return self._seen[1]

    def images(self) -> tuple[ProjectImage, ...]:
        """The images in view, in the order of the listing."""
        return self.decided().images

    def counts(self) -> dict[str, int]:
        """The classes, sorted, with their images; images without a class are counted under ""."""
        decided = self.decided()
        counted = Counter(image.label for image in decided.images)
        found = {name: counted[name] for name in decided.classes}
        return found | ({"": counted[""]} if counted[""] else {})

    def image(self, sha256: str) -> ProjectImage | None:
        """An image in view with this digest."""
        return next((image for image in self.images() if image.sha256 == sha256), None)

    def file_of(self, sha256: str) -> Path | None:
        """Where the bytes with this digest are, in view or not."""
        found = self.index.by_digest.get(sha256)
        return found.file if found else None

    def record(self, decisions: Iterable[Decision]) -> list[Decision]:
        """Add the lines of one action to the journal."""
        with self.lock:
            made = corrections.append(self.journal, decisions)
            self.changed()
            return made

    def undo(self) -> list[Decision]:
        """Undo the last action; returns its lines, none if there is nothing to undo."""
        with self.lock:
            undone = corrections.undo(self.journal)
            self.changed()
            return undone

    def move(self, paths: Sequence[str], label: str) -> int:
        """Give these images another class; how many had another one before."""
        label = added_images.class_name(label)
        some = [image for image in self._named(paths) if image.label != label]
        self._decide("move", some, label)
        return len(some)

    def delete(self, paths: Sequence[str]) -> int:
        """Take these images out of view, whose files stay; how many."""
        some = self._named(paths)
        self._decide("delete", some)
        return len(some)

    def add_class(self, label: str) -> str:
        """Make a class, without images as yet."""
        label = added_images.class_name(label)
        if label in self.decided().classes:
            raise UsageError(f"there is a class {label!r} already")
        self.record([Decision("class", new=label)])
        return label

    def rename_class(self, label: str, new: str) -> str:
        """Call a class otherwise; with the name of another one, the two become one."""
        new = added_images.class_name(new)
        self._check_class(label)
        if new != label:
            self.record([Decision("rename", old=label, new=new)])
        return new

    def delete_class(self, label: str) -> int:
        """Take a class with all its images out of view; how many images."""
        self._check_class(label)
        some = [image for image in self.images() if image.label == label]
        lines = [Decision("delete", image.sha256, image.path, label) for image in some]
        self.record([*lines, Decision("delete", old=label)])
        return len(some)

    def add(self, label: str, name: str, data: bytes, take: str = "") -> str:
        """Keep a copy of an encoded image in a class; its path.

        `name` is what its owner calls it, for messages. Images of one `take`, recorded in one go,
        stay in one split. Raises DataError if it is no image.
        """
        label = added_images.class_name(label)
        file = added_images.keep(self.added, label, name, data, take)
        with self.lock:
            if all(file.path != other.path for other in self.index.files):
                self.index.add(file)
            self.record([Decision("add", file.sha256, file.path, "", label)])
        return file.path

    def write_table(self) -> Path:
        """Write dataset.csv into the project folder and return its path: the images as they are
        after all decisions, which every verb of graft takes as a source.

        Waits until all digests are read.
        """
        self.index.wait()
        used = [image for image in self.images() if image.label and not image.kept_out]
        rows = [
            (os.path.relpath(image.file, self.home), image.label, image.split, image.group)
            for image in used
        ]
        if not rows:
            raise DataError(f"{self.source}: no image has a class yet; put some into classes first")
        # A column without anything in it would say that there are splits or groups.
        kept = [i for i in range(4) if i < 2 or any(row[i] for row in rows)]
        table = self.home / "dataset.csv"
        header = [TABLE_COLUMNS[i] for i in kept]
        write_table(table, header, [[row[i] for i in kept] for row in rows])
        return table

    def _decide(self, decision: str, images: Sequence[ProjectImage], new: str = "") -> None:
        if images:
            self.record(Decision(decision, i.sha256, i.path, i.label, new) for i in images)

    def _named(self, paths: Sequence[str]) -> list[ProjectImage]:
        wanted = set(paths)
        found = [image for image in self.images() if image.path in wanted]
        if len(found) < len(wanted):
            raise UsageError(
                f"{len(wanted) - len(found)} of {len(wanted)} images are no longer there; reload "
                "the page"
            )
        return found

    def _check_class(self, label: str) -> None:
        if label not in self.decided().classes:
            raise UsageError(f"there is no class {label!r}; it was renamed or deleted")

    def _check_open(self) -> None:
        if self._source is None:
            raise UsageError("no folder of images is open; choose one first")


def _stamp(journal: Path) -> tuple[int, int]:
    try:
        status = journal.stat()
    except FileNotFoundError:
        return 0, 0
    return status.st_size, status.st_mtime_ns
