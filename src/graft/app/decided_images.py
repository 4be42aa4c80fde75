"""What the images of a project are after the decisions in its journal."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from graft.app.image_index import IndexedFile
from graft.quality.corrections import Decision, in_force


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
    added: bool = False
    kept_out: bool = False


@dataclass(frozen=True)
class DecidedImages:
    """The images in view, in the order of the listing, and the classes, sorted."""

    images: tuple[ProjectImage, ...]
    classes: tuple[str, ...]


@dataclass(slots=True)
class _State:
    label: str
    kept_out: bool = False
    gone: bool = False


def decide(files: Sequence[IndexedFile], journal: Iterable[Decision]) -> DecidedImages:
    """Apply the decisions that are in force, in their order.

    A decision about an image is for the file of its path and digest; where that is no longer
    there, for all files of its digest. An added file is in view while its addition is in force.
    """
    states = [_State(file.label, gone=file.added) for file in files]
    places = {(file.sha256, file.path): [i] for i, file in enumerate(files)}
    by_digest: dict[str, list[int]] = {}
    for i, file in enumerate(files):
        if file.sha256:
            by_digest.setdefault(file.sha256, []).append(i)
    made: dict[str, None] = {}  # classes that were named, with or without images
    for each in in_force(journal):
        match each.decision:
            case "rename":
                for state in states:
                    if state.label == each.old:
                        state.label = each.new
                made = {(each.new if name == each.old else name): None for name in made}
            case "class":
                made[each.new] = None
            case "delete" if not each.sha256:
                made.pop(each.old, None)
            case _:
                meant = places.get((each.sha256, each.path)) or by_digest.get(each.sha256, [])
                for i in meant:
                    _apply(each, states[i])
    images = tuple(
        ProjectImage(
            file.sha256,
            file.path,
            file.file,
            state.label,
            file.label,
            file.split,
            file.group,
            file.added,
            state.kept_out,
        )
        for file, state in zip(files, states, strict=True)
        if not state.gone
    )
    return DecidedImages(images, tuple(sorted({*made, *(i.label for i in images if i.label)})))


def _apply(decision: Decision, state: _State) -> None:
    match decision.decision:
        case "relabel" | "move":
            state.label = decision.new
        case "add":
            state.gone, state.label = False, decision.new
        case "delete":
            state.gone = True
        case "keep out":
            state.kept_out = True
        case "keep":
            state.kept_out = False
