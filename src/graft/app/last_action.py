"""The way back: which action of a project was the last one, and what takes it back."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from graft.app import added_images
from graft.app.added_images import batch_of, last_batch
from graft.app.decided_images import exact_stamp, stamp_of
from graft.app.empty_classes import last_change, names_before, read_classes, take_back_change
from graft.app.image_index import IndexedFile
from graft.app.project_state import ProjectState
from graft.errors import UsageError
from graft.quality import corrections
from graft.quality.correction import REVIEWING, SORTING, Correction
from graft.quality.corrections import read_journal

NEVER = stamp_of("")


@dataclass(frozen=True, slots=True)
class Undone:
    """An action that was taken back: `what` is a decision of the journal, "add", or "make_class",
    "rename_class" or "delete_class" of one without images; `images` are the digests of those that
    it was about, `old` and `new` the classes before it and after it, where there is but one.
    """

    what: str
    images: tuple[str, ...] = ()
    old: str = ""
    new: str = ""


@dataclass(frozen=True, slots=True)
class _Last:
    """What each kind of action did last; the newest of the three was the last action."""

    batch: list[IndexedFile]
    decided: list[Correction]
    standing: Sequence[Correction]
    changed: str  # the moment of a change of classes without images

    @property
    def when(self) -> str:
        return self.decided[-1].when if self.decided else ""

    @property
    def moments(self) -> tuple[str, str, str]:
        added = self.batch[0].added if self.batch else NEVER
        return added, stamp_of(self.changed), stamp_of(self.when)

    @property
    def is_batch(self) -> bool:
        return self.moments[0] > max(self.moments[1:])

    @property
    def is_class_change(self) -> bool:
        # Two actions of a program may fall into one millisecond.
        return exact_stamp(self.changed) >= exact_stamp(self.when)

    @property
    def name(self) -> str:
        if max(self.moments) == NEVER:
            return ""
        if self.is_batch:
            return batch_of(self.batch[0])
        return self.changed if self.is_class_change else self.when


def last_action(project: ProjectState, kinds: Collection[str]) -> str:
    """The name of the action that `undo_last` would take back, "" if there is none: that of a batch
    of added images (see graft.app.added_images), or the moment of a decision or of a change of
    classes.
    """
    return _last(project, kinds).name


def undo_last(project: ProjectState, kinds: Collection[str], only: str = "") -> Undone | None:
    """Take back the last action among decisions of these `kinds` and, where those of step Images
    are among them, added images and changes of classes without images. None if there is nothing to
    take back. With `only`, an action as `last_action` names it, no other one is taken back.

    Raises UsageError for decisions on images about which the other step has decided since, for
    another action than `only`, and as `corrections.undo`.
    """
    last = _last(project, kinds)
    if only and only != last.name:
        raise UsageError(
            "something else was done since, so that is not taken back; Undo takes back the last "
            "action"
        )
    if not last.name:
        return None
    undone = None
    if last.is_batch:
        added_images.remove(last.batch, project.added, project.home / "removed")
        project.index.forget(last.batch)
        labels = [file.label for file in last.batch]
        undone = Undone("add", tuple(file.sha256 for file in last.batch), new=_only(labels))
    else:
        # A class with images is decided about in both places.
        if not last.is_class_change or last.changed == last.when:
            _check_free(last.decided, last.standing)
            corrections.undo(project.journal, len(last.decided), kinds=kinds)
            undone = _decisions(last.decided)
        if last.is_class_change:
            undone = _class_change(project) if undone is None else undone
            take_back_change(project.home)
    project.changed()
    return undone


def _last(project: ProjectState, kinds: Collection[str]) -> _Last:
    sorts = not {*SORTING}.isdisjoint(kinds)
    standing = read_journal(project.journal).standing
    decided = _last_decided([one for one in standing if one.decision in kinds])
    shown = {image.path for image in project.images()} if sorts else set()
    batch = last_batch([file for file in project.index.files if file.path in shown])
    return _Last(batch, decided, standing, last_change(project.home) if sorts else "")


def _last_decided(some: list[Correction]) -> list[Correction]:
    """Of standing decisions those of the last action."""
    if not some:
        return []
    # Moments to the second are not those of `Project.record`: each is an action of its own.
    when = some[-1].when
    return [one for one in some if one.when == when] if "." in when else some[-1:]


def _decisions(decided: Sequence[Correction]) -> Undone:
    old, new = _only([one.old for one in decided]), _only([one.new for one in decided])
    digests = tuple(one.sha256 for one in decided if one.sha256)
    return Undone(decided[-1].decision, digests, old, new)


def _class_change(project: ProjectState) -> Undone:
    now, before = set(read_classes(project.home)), set(names_before(project.home))
    made, gone = _only(sorted(now - before)), _only(sorted(before - now))
    what = "rename_class" if made and gone else "make_class" if made else "delete_class"
    return Undone(what, (), gone, made)


def _only(names: Sequence[str]) -> str:
    return names[0] if len({*names}) == 1 else ""


def _check_free(decided: list[Correction], standing: Collection[Correction]) -> None:
    those, later = {id(one) for one in decided}, dict[str, Correction]()
    begun = False
    for one in standing:
        begun = begun or id(one) in those
        if begun and id(one) not in those:
            later[one.sha256] = one
    again = [later[one.sha256] for one in decided if one.sha256 and one.sha256 in later]
    if again:
        step = "Check" if again[0].decision in REVIEWING else "Images"
        raise UsageError(
            f"{len(again):,} of {len(decided):,} images were decided about again since, in step "
            f"{step}; undo that there first"
        )
