"""Which lessons there are, and copying one. The notebooks themselves say what they are."""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from graft.errors import UsageError
from graft.utils.files import replacing

# One place to change when the repository's address is known; the notebooks have it in their first
# cells, and a test compares.
REPOSITORY = "OWNER-OF-GRAFT/graft"
INSTALL = f"git+https://github.com/{REPOSITORY}"
COLAB = f"https://colab.research.google.com/github/{REPOSITORY}/blob/main/notebooks"

COPIED, THERE, KEPT = "copied", "there already", "kept"


@dataclass(frozen=True)
class Lesson:
    """A notebook. `teaches` is one sentence, `minutes` what reading and answering take, `needs`
    what to have or know before.
    """

    number: int
    title: str
    teaches: str
    minutes: int
    needs: str
    file: Path

    @property
    def colab(self) -> str:
        """The address that opens it in Colab."""
        return f"{COLAB}/{self.file.name}"

    def to_json(self) -> dict[str, Any]:
        """For `graft lesson --json`."""
        return asdict(self) | {"file": self.file.name}


def notebooks_folder() -> Path:
    """Where the notebooks are: in an installed package beside this file, in a clone at the top."""
    here = Path(__file__).parent
    installed = here / "notebooks"
    return installed if installed.is_dir() else here.parents[2] / "notebooks"


def lessons() -> list[Lesson]:
    """All lessons, in order."""
    return [_read(file) for file in sorted(notebooks_folder().glob("[0-9][0-9]-*.ipynb"))]


def find_lesson(number: int | str) -> Lesson:
    """The lesson of this number, or of the digits that name it; UsageError if there is none."""
    known = {lesson.number: lesson for lesson in lessons()}
    number = int(number) if str(number).isdecimal() else number
    if number not in known:
        listed = f"{min(known)} to {max(known)}" if known else "none"
        raise UsageError(f"there is no lesson {number}; the lessons are {listed} (graft lesson)")
    return known[int(number)]


def copy_lesson(lesson: Lesson, folder: Path) -> tuple[Path, str]:
    """Copy a lesson into `folder`; the file, and whether it was COPIED, was THERE as it is, or is
    the learner's own changed copy, which is KEPT.
    """
    target, content = folder / lesson.file.name, lesson.file.read_bytes()
    if target.exists():
        return target, THERE if target.read_bytes() == content else KEPT
    with replacing(target) as beside:
        beside.write_bytes(content)
    return target, COPIED


def _read(file: Path) -> Lesson:
    stored = json.loads(file.read_text(encoding="utf-8"))
    about = stored["metadata"]["graft"]
    first = "".join(stored["cells"][0]["source"])
    title = re.search(r"^# (?:\d+ · )?(.+)$", first, re.M)
    return Lesson(
        number=int(file.name[:2]),
        title=title[1] if title else file.stem,
        teaches=about["teaches"],
        minutes=about["minutes"],
        needs=about["needs"],
        file=file,
    )
