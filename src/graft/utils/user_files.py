"""Files that are written where the user said: only what graft itself wrote is overwritten.

Pages, plots, slides and results say that they are graft's, each in the way of its format (OWN).
A format that has none, such as CSV, is never overwritten.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from graft.errors import UsageError
from graft.utils.files import replacing

PAGES = (".html", ".htm")
# By ending, what a file that graft wrote has in it; of a PDF somewhere, of others at the top.
OWN = {
    ".html": b'<meta name="generator" content="graft">',
    ".htm": b'<meta name="generator" content="graft">',
    ".png": b"Software\0graft",
    ".pdf": b"/Creator (graft)",
    ".json": b'{\n "generator": "graft"',
}
TOP = 4096


def check_target(path: Path, endings: Sequence[str], option: str = "") -> None:
    """Raise UsageError unless graft may write `path`: a name that has one of `endings` and that is
    new, or a file that graft wrote. `option` is what the user calls it, such as --html.

    To be asked before long work; `replacing_own` asks again.
    """
    if path.suffix.lower() not in endings:
        said = f"{option} takes the name of" if option else "expected the name of"
        raise UsageError(f"{said} a {' or '.join(endings)} file to write, not {str(path)!r}")
    if path.is_dir():
        raise UsageError(f"{path} is a folder; choose the name of a file")
    if (path.exists() or path.is_symlink()) and not _is_own(path):
        raise UsageError(
            f"{path} is there already and was not written by graft, so it is left as it is; choose "
            "another name"
        )


def check_page(html: str | None) -> None:
    """`check_target` of what the option --html was given, if it was."""
    if html:
        check_target(Path(html), PAGES, "--html")


@contextlib.contextmanager
def replacing_own(path: Path) -> Iterator[Path]:
    """As `replacing`, for a place that the user named; UsageError as in `check_target`."""
    endings = (path.suffix.lower(),)
    check_target(path, endings)
    with replacing(path) as beside:
        yield beside
        check_target(path, endings)  # somebody may have come between


def write_page(page: Path, text: str) -> None:
    """Write a page where the user said, all or nothing; UsageError as in `check_target`."""
    with replacing_own(page) as beside:
        beside.write_text(text, encoding="utf-8", newline="")


def write_result(file: Path, value: Mapping[str, Any]) -> None:
    """Write JSON where the user said, with graft named as its generator, all or nothing; NaN is
    refused, UsageError as in `check_target`.
    """
    said = {"generator": "graft", **value}
    text = json.dumps(said, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_page(file, text)


def _is_own(path: Path) -> bool:
    ending = path.suffix.lower()
    if ending not in OWN or not path.is_file():
        return False
    with path.open("rb") as stream:
        return OWN[ending] in stream.read(-1 if ending == ".pdf" else TOP)
