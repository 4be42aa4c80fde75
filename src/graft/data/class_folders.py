"""A folder of class folders, with or without given splits, as a Dataset."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from graft.choices import LabelBy
from graft.data.dataset import Dataset, Example
from graft.data.file_listing import is_image_name, is_unread_picture
from graft.errors import DataError

# The names under which people keep the three splits, whatever the case.
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}

Names = tuple[str, ...]  # of a file's folders, from the source on, and of the file itself


@dataclass(frozen=True)
class _Place:
    """Where the class folders are: below the folders `above`, and below `splits` if there are any.

    `beside` are the folders beside the splits.
    """

    above: Names
    splits: Mapping[str, str]
    beside: Names


def class_folders(
    files: Iterable[tuple[Names, Path]], source: str, label_by: LabelBy | None = None
) -> Dataset:
    """The data set of files, given with their names below the source.

    An image's label is the outermost class folder; with `label_by` "innermost" the folder that it
    lies in, named with those above it ("birds/robin").

    Raises DataError where split folders cannot be told from class folders.
    """
    files = list(files)
    place = _place([names for names, _ in files if _is_picture(names[-1])], source)
    depth = len(place.above)
    examples: list[Example] = []
    left_out: dict[str, list[str]] = {}
    lost: Counter[str] = Counter()
    deeper: dict[str, str] = {}  # folders inside of class folders, and the class of each
    for names, file in files:
        inside = names[:depth] == place.above
        names = names[depth:] if inside else names
        relative = "/".join(names)
        first = bool(place.splits)  # the place of the class among the names
        kind = _kind(names, inside, place)
        label = names[first] if len(names) > first + 1 else ""
        if kind:
            shown = relative.encode(errors="replace").decode()
            left_out.setdefault(kind, []).append(shown)
            unread = kind == "not_an_image" and is_unread_picture(names[-1])
            if unread and inside and label and names[0] not in place.beside:
                lost[label] += 1
            continue
        if len(names) > first + 2:
            folder = "/".join(names[first:-1])
            if label_by == "innermost":
                label = folder
            else:
                deeper.setdefault(folder, label)
        examples.append(Example(relative, file, label, place.splits.get(names[0])))
    # Beside images that are read, a camera's raw files are the same photos once more.
    read = {example.label for example in examples}
    return Dataset(
        source,
        tuple(examples),
        {kind: tuple(paths) for kind, paths in left_out.items()},
        {label: count for label, count in lost.items() if label not in read},
        () if label_by or not deeper else (("subfolders", _told(deeper)),),
    )


def _kind(names: Names, inside: bool, place: _Place) -> str:
    """Why a file is no example, as a kind of finding; "" if it is one."""
    if not _is_text("/".join(names)):
        return "bad_name"
    if not is_image_name(names[-1]):
        return "not_an_image"
    if inside and names[0] in place.beside:
        return "beside_splits"
    if not inside or len(names) < 2 + bool(place.splits):
        return "no_label"
    return ""


def _told(deeper: Mapping[str, str]) -> str:
    folder, label = next(iter(deeper.items()))
    count = f"{len(deeper):,} folders lie" if len(deeper) > 1 else "1 folder lies"
    return (
        f"{count} inside of class folders (first: {folder}, whose images have the label "
        f"{label!r}); --label-by innermost makes each such folder a class, --label-by outermost "
        "says that it is right as it is"
    )


def _place(pictures: list[Names], source: str) -> _Place:
    """Step into a folder that holds everything, as archives often have one, as long as it has
    folders itself: with no folder below it, it is a class.
    """
    above: Names = ()
    while True:
        folders = _folders(pictures, above)
        name = next(iter(folders), "")
        if len(folders) != 1 or name.lower() in SPLIT_NAMES or not folders[name]:
            break
        above = (*above, name)
    splits = _split_folders(folders, source)
    return _Place(above, splits, tuple(name for name in folders if splits and name not in splits))


def _folders(pictures: list[Names], above: Names) -> dict[str, list[str]]:
    """The folders with pictures right below `above`, and the folders with pictures in each."""
    depth = len(above)
    found: dict[str, dict[str, None]] = {}
    for names in pictures:
        if len(names) > depth + 1 and names[:depth] == above:
            inner = found.setdefault(names[depth], {})
            if len(names) > depth + 2:
                inner[names[depth + 1]] = None
    return {name: list(inner) for name, inner in found.items()}


def _split_folders(folders: Mapping[str, list[str]], source: str) -> dict[str, str]:
    """The split of each split folder; empty where the folders are classes.

    Raises DataError where it may be either.
    """
    named = {name: SPLIT_NAMES[name.lower()] for name in folders if name.lower() in SPLIT_NAMES}
    others = [name for name in folders if name not in named]
    divided = [name for name in named if folders[name]]
    several = len(set(named.values())) > 1
    if not others or (several and divided):
        return named
    if not several and not divided:  # a class may be called "test" among others
        return {}
    held = f"folders of images ({_some(folders[divided[0]])})" if divided else "images"
    raise DataError(
        f"{source}: {_some(list(named))} would be {'splits' if several else 'a split'} by name and "
        f"{'hold' if len(named) > 1 else 'holds'} {held}, but {_some(others)} "
        f"{'lie' if len(others) > 1 else 'lies'} beside; expected class folders in each split, or "
        "no folder with the name of a split; rename or move one of them"
    )


def _some(names: list[str]) -> str:
    return ", ".join(f"{name}/" for name in names[:3]) + (" …" if len(names) > 3 else "")


def _is_picture(name: str) -> bool:
    return is_image_name(name) or is_unread_picture(name)


def _is_text(name: str) -> bool:
    # Python replaces bytes that are not UTF-8 by characters that cannot be encoded again.
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
