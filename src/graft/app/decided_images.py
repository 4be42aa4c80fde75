"""What the images of a project are after the decisions in its journal."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from graft.app.image_index import IndexedFile
from graft.quality.correction import OUT, TO_CLASS, Correction


@dataclass(frozen=True, slots=True)
class ProjectImage:
    """An image of a project: `label` is its class now ("" for none), `first_label` the one that its
    folder or row gives. `kept_out` images stay in view and are not trained on. `sha256` is
    hexadecimal, "" for a file that cannot be read; `path` is unique within the project.
    """

    sha256: str
    path: str
    file: Path
    label: str
    first_label: str
    split: str = ""
    group: str = ""
    kept_out: bool = False


@dataclass(slots=True)
class _State:
    label: str
    kept_out: bool = False
    gone: bool = False


def decide(files: Sequence[IndexedFile], standing: Iterable[Correction]) -> list[ProjectImage]:
    """The images in view, in the order of `files`, after the decisions that stand, in their order.

    A decision about an image is about its bytes, wherever they lie. Classes that were renamed
    before an image was added are not that image's.
    """
    states = [_State(file.label) for file in files]
    rows_of: dict[str, list[int]] = {}
    for row, file in enumerate(files):
        rows_of.setdefault(file.sha256, []).append(row)
    for one in standing:
        if one.decision == "rename":
            moment = stamp_of(one.when)
            for state, file in zip(states, files, strict=True):
                if state.label == one.old and file.added < moment:
                    state.label = one.new
            continue
        for row in rows_of.get(one.sha256, ()):
            state = states[row]
            if one.decision in TO_CLASS:
                state.label = one.new
            elif one.decision in OUT:
                state.gone, state.kept_out = one.decision == "delete", one.decision != "delete"
    return [
        ProjectImage(
            file.sha256,
            file.path,
            file.file,
            state.label,
            file.label,
            file.split,
            file.group,
            state.kept_out,
        )
        for file, state in zip(files, states, strict=True)
        if not state.gone
    ]


def stamp_of(when: str) -> str:
    """A moment of the journal as digits, to the millisecond, as in the names of added images."""
    return exact_stamp(when)[:17]


def exact_stamp(when: str) -> str:
    """The same to the microsecond."""
    return re.sub(r"\D", "", when.partition("+")[0]).ljust(20, "0")[:20]
