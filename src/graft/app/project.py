"""A project: a source of images, which is never written to, and what was decided about it."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from graft.app import added_images
from graft.app.added_images import class_name
from graft.app.dataset_table import write_dataset_table
from graft.app.decided_images import ProjectImage
from graft.app.empty_classes import read_classes, write_classes
from graft.app.last_action import undo_last
from graft.app.project_state import ProjectState
from graft.errors import UsageError
from graft.quality import corrections
from graft.quality.correction import DECISIONS, Correction


class Project(ProjectState):
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

    def record(self, decisions: Sequence[Correction], moment: str = "") -> None:
        """Add decisions to the journal as one action, which is undone as one; `moment` as
        `now` gives it ties it to what else belongs to the action.
        """
        moment = moment or now()
        with self.lock:
            corrections.append(self.journal, [replace(each, when=moment) for each in decisions])
            self.changed()

    def undo(self, kinds: Collection[str] = DECISIONS) -> int | None:
        """Undo the last action, be it decisions, added images or a class that was made, renamed or
        deleted; how many images it was about, None if there is nothing to undo.

        `kinds`, of graft.quality.correction: SORTING for the last action of step Images alone,
        REVIEWING for that of step Check. Raises UsageError where the other step has decided about
        its images since.
        """
        with self.lock:
            undone = undo_last(self, kinds)
            return None if undone is None else len(undone.images)

    def move(self, paths: Sequence[str], label: str) -> int:
        """Give these images another class; how many had another one before."""
        label = class_name(label)
        with self.lock:
            some = [image for image in self._free(paths) if image.label != label]
            self._decide("move", some, label)
            return len(some)

    def delete(self, paths: Sequence[str]) -> int:
        """Take these images out of view, whose files stay; how many."""
        with self.lock:
            some = self._free(paths)
            self._decide("delete", some)
            return len(some)

    def add_class(self, label: str) -> str:
        """Make a class, without images as yet."""
        label = class_name(label)
        with self.lock:
            self._check_new(label)
            self._keep_classes([*read_classes(self.home), label], now())
            return label

    def rename_class(self, label: str, new: str) -> str:
        """Call a class otherwise; with the name of another one, the two become one."""
        new, moment = class_name(new), now()
        with self.lock:
            count = self._check_class(label)
            if new not in self.counts():
                self._check_new(new, label)
            if new != label:
                names = [name for name in read_classes(self.home) if name != label]
                made = [] if count or new in self.counts() else [new]
                self._keep_classes([*names, *made], moment)
                if count:
                    self.record([Correction("rename", "", "", label, new)], moment)
            return new

    def delete_class(self, label: str) -> int:
        """Take a class with all its images out of view; how many images."""
        moment = now()
        with self.lock:
            self._check_class(label)
            some = self._free([image.path for image in self.images() if image.label == label])
            names = [name for name in read_classes(self.home) if name != label]
            self._decide("delete", some, moment=moment)
            self._keep_classes(names, moment)
            return len(some)

    def add(self, label: str, name: str, data: bytes, batch: str = "") -> str:
        """Keep a copy of an encoded image in a class; the path that it then has. Of bytes that are
        here already, the image gets this class.

        `name` is what its owner calls it, for messages; `batch` (see graft.app.added_images) ties
        images that were added together. Raises DataError if it is no image.
        """
        label, digest = class_name(label), hashlib.sha256(data).hexdigest()
        with self.lock:
            label = self._spelled(label) or label
            if digest in self.index.by_digest:
                if self.image(digest) is None:  # it was deleted
                    corrections.undo(self.journal, sha256=digest)
                image = self.image(digest)
                if image is not None:
                    self.move([image.path], label)
                    return image.path
        file = added_images.keep(self.added, label, name, data, batch or added_images.batch_now())
        with self.lock:
            # Of two copies that come at one time the first is kept.
            if file.path not in {each.path for each in self.index.files}:
                self.index.add(file)
                self.changed()
        return file.path

    def write_table(self) -> Path:
        """Write dataset.csv into the project folder and return its path: the images as they are
        after all decisions, which every verb of graft takes as a source.

        Waits until all digests are read. Raises DataError if no image has a class.
        """
        self.index.wait()
        return write_dataset_table(self.home, self.images())

    def _decide(
        self, decision: str, images: Sequence[ProjectImage], new: str = "", moment: str = ""
    ) -> None:
        # Copies of the same bytes share a decision.
        some = {image.sha256: image for image in images}.values()
        if "" in {image.sha256 for image in some}:
            raise UsageError(
                "some of these files cannot be read, so nothing can be decided about them; remove "
                "them from their folder"
            )
        if some:
            lines = [Correction(decision, i.sha256, i.path, i.label, new) for i in some]
            self.record(lines, moment)

    def _free(self, paths: Sequence[str]) -> list[ProjectImage]:
        """The images of these paths, those that were kept out taken back in."""
        wanted = set(paths)
        found = [image for image in self.images() if image.path in wanted]
        if len(found) < len(wanted):
            raise UsageError(
                f"{len(wanted) - len(found)} of {len(wanted)} images are no longer there; reload "
                "the page"
            )
        for digest in {image.sha256 for image in found if image.kept_out}:
            corrections.undo(self.journal, sha256=digest)
        return found

    def _keep_classes(self, names: Sequence[str], moment: str) -> None:
        write_classes(self.home, names, moment)
        self.changed()

    def _spelled(self, label: str, but: str = "") -> str:
        """The class of this name as it is spelled; "" if there is none, or none `but` that one. A
        folder for "Cats" beside one for "cats" is not possible on all systems.
        """
        names = [*filter(None, self.counts())]
        if label in names:
            return label
        alike = (name for name in names if name.casefold() == label.casefold() and name != but)
        return next(alike, "")

    def _check_new(self, label: str, but: str = "") -> None:
        if there := self._spelled(label, but):
            raise UsageError(f"there is a class {there!r} already; choose another name")

    def _check_class(self, label: str) -> int:
        counts = self.counts()
        if label not in counts:
            raise UsageError(f"there is no class {label!r}; it was renamed or deleted")
        return counts[label]


def now() -> str:
    """The moment of an action, to the microsecond, UTC."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
