"""Which columns of a table hold the image, the label, the split and the group; and its rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from graft.errors import DataError

# What the columns are called here, and elsewhere, whatever the case; of several the first.
NAMES = {
    "image": (
        *("image", "images", "img", "image_path", "image_file", "image_name"),
        *("filename", "file_name", "filepath", "file_path", "file", "path"),
    ),
    "label": ("label", "labels", "class", "class_name", "classname", "category", "target"),
    "split": ("split",),
    "group": ("group",),
}
# Each row of a table takes about 600 bytes of memory.
MAX_ROWS = 2_000_000
# A larger table of text is not read.
MAX_TABLE_BYTES = 2**28


@dataclass(slots=True)
class Row:
    """A row of a table: its number for people, and its texts by column, the columns of NAMES under
    those names. `file` is where the bytes of its image are, if the table itself held them.
    """

    number: int
    texts: dict[str, str]
    file: Path | None = None


@dataclass(frozen=True)
class Columns:
    """The columns of a table, by their own names, and what each is called here."""

    called: dict[str, str]

    def __bool__(self) -> bool:
        return {"image", "label"} <= set(self.called.values())

    def own_name(self, name: str) -> str:
        """What the table itself calls this column of NAMES."""
        return next(own for own, called in self.called.items() if called == name)

    def said(self) -> list[str]:
        """What there is to say where image and label are called otherwise."""
        return [
            f"the {name} is the column {self.own_name(name)!r}"
            for name in ("image", "label")
            if self.own_name(name).strip().lower() != name
        ]


def columns_of(found: Sequence[str]) -> Columns:
    """What each column of a table is called here; false where image or label is missing."""
    called = {name: name for name in found}
    plain = {name.strip().lower(): name for name in reversed(found)}
    for name, others in NAMES.items():
        own = name if name in found else next((plain[o] for o in others if o in plain), None)
        if own is not None:
            # A column of the same name that plays another part keeps its own.
            called = {k: (name if k == own else v) for k, v in called.items()}
    return Columns(called)


def expected_columns(path: Path, found: Sequence[str]) -> DataError:
    """The error of a table without an image or a label column."""
    shown = [repr(name)[:40] for name in found[:12]]
    more = f" and {len(found) - 12:,} more" if len(found) > 12 else ""
    return DataError(
        f"{path}: expected the columns image and label (optional: split, group), "
        f"found {', '.join(shown) or 'none'}{more}"
    )
